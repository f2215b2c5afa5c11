"""The sweep over many watches, of which one is damaged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherlink.alerts.condition import Span
from aetherlink.alerts.judge import Judge
from aetherlink.alerts.machine import Watch
from aetherlink.alerts.model import Rule, RuleDraft, RuleId, draw_up
from aetherlink.kernel.tenancy import TenantId

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACME = TenantId("acme")
RULE = draw_up(
    RuleDraft.model_validate({"name": "r", "window_seconds": 60, "threshold": 1}), "ok", ACME, NOON
)
OPEN = Watch(
    group={},
    version=1,
    span=Span(NOON - timedelta(seconds=90), NOON),
    episode_id="e",
    raised_at=NOON,
)


class World:
    """Two watches that are due; the rule of the first cannot be read."""

    def __init__(self) -> None:
        self.announced: list[str] = []

    def due(self, now: datetime) -> list[tuple[TenantId, RuleId, Watch]]:
        return [(ACME, RuleId("damaged"), OPEN), (ACME, RuleId("ok"), OPEN)]

    def get(self, *key: Any) -> Any:
        if key[1] == "damaged":
            raise ValueError("damaged rule")
        return OPEN if isinstance(key[0], Rule) else RULE

    def newest(self, *_: Any, **__: Any) -> list[datetime]:
        return []

    def commit(self, rule: Rule, earlier: Watch, watch: Watch, due: Any, told: Any) -> bool:
        self.announced += [each.event.event_type for each in told if each.event]
        return True


def test_a_damaged_watch_holds_up_no_other_and_is_not_passed_over_in_silence() -> None:
    world: Any = World()

    with pytest.raises(ValueError, match="damaged rule"):
        Judge(world, world, world, lambda: NOON).sweep()

    assert world.announced == ["ops.alert.resolved"]
