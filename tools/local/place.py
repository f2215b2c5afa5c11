"""Where things are in the checkout, and the environment in which AWS tools run against emulators."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
LOGS = LOCAL / "logs"
STACK_FILE = LOCAL / "stack.json"

STACK = "aetherlink"
STAGE = "local"
REGION = "us-east-1"

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def architecture() -> str:
    """Lambda's name for this machine's processor."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"


def emulator_environment(endpoint: str) -> dict[str, str]:
    """The environment for AWS tools: the emulator's endpoint and made-up credentials.

    The person's own profile and credentials are out of reach, so that nothing here can ever touch a
    real account.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
        "PYTHONPATH": str(ROOT),
    }
