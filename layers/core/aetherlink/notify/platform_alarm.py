"""CloudWatch's alarms on the platform itself, as events: whoever is told of alerts is told of these.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetherlink.kernel.ids import digest
from aetherlink.kernel.tenancy import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping

PLATFORM_ALARM = "ops.platform.alarm"


def is_alarm(message: Mapping[str, Any]) -> bool:
    """Whether a message of the topic is CloudWatch's rather than ours."""
    return "AlarmName" in message and "NewStateValue" in message


def event_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """The alarm's change as a flat event of `system`; the same message is the same event."""
    name, state = str(message["AlarmName"]), str(message["NewStateValue"])
    at = str(message.get("StateChangeTime", ""))
    is_bad = state != "OK"
    # CloudWatch writes +0000 at the end; times here have a Z.
    instant = at.replace("+0000", "Z")
    return {
        "event_id": f"cloudwatch-{digest(name, state, at)}",
        "event_type": PLATFORM_ALARM,
        "source": "cloudwatch",
        "tenant_id": str(SYSTEM),
        "severity": "critical" if is_bad else "info",
        "timestamp": instant,
        "payload": {
            "message": f"{name} is {state}",
            "alarm": name,
            "state": state,
            "description": str(message.get("AlarmDescription") or ""),
            "reason": str(message.get("NewStateReason") or ""),
        },
    }
