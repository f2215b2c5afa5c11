"""AI providers played on this machine: for tests, for the local stack, and to see what happens when they
fail. `python -m tools.mock_ai` runs them where the local stack looks for them (docs/ai.md)."""

PORT = 8097
