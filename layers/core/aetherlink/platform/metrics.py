"""Metrics, written to the log in CloudWatch's embedded metric format."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def measure(name: str, value: float, *, stage: str, now: datetime, unit: str = "None") -> None:
    """Write one metric, whatever the log level is."""
    metric = {
        "_aws": {
            "Timestamp": int(now.timestamp() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": "AetherLink",
                    "Dimensions": [["Stage"]],
                    "Metrics": [{"Name": name, "Unit": unit}],
                }
            ],
        },
        "Stage": stage,
        name: value,
    }
    sys.stdout.write(json.dumps(metric) + "\n")
