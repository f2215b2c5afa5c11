"""AetherLink: an ops control plane that a team owns."""

__version__ = "1.21.0"
