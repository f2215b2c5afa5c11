"""What tenants use, by day, and what of it is reserved.

    control    pk  <tenant>#ai    sk  usage#<day>
               committed      reserved and spent, millionths of a USD; what a budget is held against
               cost, calls, failed, degraded, cached, input_tokens, output_tokens
               p:<provider>:<calls|failed|cost|tokens>, i:<intent>
               expires_at     a year and a bit later

A reservation is made before a provider is asked and settled afterwards. A function that dies between
the two leaves its reservation standing for the rest of the day: rather too little is spent than too much.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.ai.model import MICROS
from aetherlink.kernel.time import to_text
from aetherlink.platform.dynamo import ConditionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aetherlink.ai.budget import Budget
    from aetherlink.ai.model import Routed
    from aetherlink.kernel.tenancy import TenantId
    from aetherlink.platform.dynamo import Table

KEPT_FOR = timedelta(days=400)


class Purse:
    def __init__(self, table: Table, now: Callable[[], datetime]) -> None:
        self._table = table
        self._now = now

    def reserve(self, tenant: TenantId, day: str, micros: int, budget: Budget) -> bool:
        """Take `micros` out of a day's budget; False where they do not fit.

        Without a budget, or for nothing, nothing is written. Raises StorageError: who cannot tell
        what was spent spends nothing."""
        room = budget.room_before(micros)
        if room is None or micros == 0:
            return True
        if room < 0:
            return False
        try:
            self._table.add(
                _pk(tenant),
                _sk(day),
                {"committed": micros},
                setting={"expires_at": self._until()},
                only_if="attribute_not_exists(committed) OR committed <= :room",
                room=room,
            )
        except ConditionFailedError:
            return False
        return True

    def settle(
        self, tenant: TenantId, day: str, intent: str, routed: Routed, *, committed: int
    ) -> None:
        """Count what a call came to. `committed` is what changes of the reserved sum."""
        numbers: dict[str, int] = {
            "calls": 1,
            "committed": committed,
            "cost": routed.cost_micros,
            "input_tokens": routed.input_tokens,
            "output_tokens": routed.output_tokens,
            "failed": int(not routed.provider),
            "degraded": int(routed.degraded),
            f"i:{intent}": 1,
        }
        for attempt in routed.attempts:
            if attempt.was_skipped:
                continue
            for name, number in (
                ("calls", 1),
                ("failed", int(attempt.trouble is not None)),
                ("cost", attempt.cost_micros),
                ("tokens", attempt.input_tokens + attempt.output_tokens),
            ):
                key = f"p:{attempt.provider}:{name}"
                numbers[key] = numbers.get(key, 0) + number
        self._add(tenant, day, {name: number for name, number in numbers.items() if number})

    def count_cached(self, tenant: TenantId, intent: str) -> None:
        self._add(tenant, self.day(), {"calls": 1, "cached": 1, f"i:{intent}": 1})

    def usage(self, tenant: TenantId, days: int, budget: Budget) -> dict[str, Any]:
        """What a tenant used in the last `days` days, today's included."""
        today = self._now()
        first = to_text(today - timedelta(days=days - 1))[:10]
        found = self._table.query_all(
            "pk = :pk AND sk BETWEEN :a AND :b", pk=_pk(tenant), a=_sk(first), b=_sk(self.day())
        )
        by_day = [_shown(item["sk"].removeprefix("usage#"), item) for item in found]
        committed = next((d.pop("_committed") for d in by_day if d["day"] == self.day()), 0)
        for shown in by_day:
            shown.pop("_committed", None)
        names = ("calls", "failed", "degraded", "cached", "input_tokens", "output_tokens")
        limit = budget.limit_micros
        return {
            "tenant_id": tenant,
            "days": days,
            "total": {
                **{name: sum(shown[name] for shown in by_day) for name in names},
                "cost_usd": round(sum(shown["cost_usd"] for shown in by_day), 6),
            },
            "budget": {
                "limit_usd": None if limit is None else limit / MICROS,
                "committed_usd": committed / MICROS,
                "left_usd": None if limit is None else max(0, limit - committed) / MICROS,
            },
            "by_day": by_day,
        }

    def day(self) -> str:
        """Today (UTC)."""
        return to_text(self._now())[:10]

    def _add(self, tenant: TenantId, day: str, numbers: dict[str, int]) -> None:
        self._table.add(_pk(tenant), _sk(day), numbers, setting={"expires_at": self._until()})

    def _until(self) -> int:
        return int((self._now() + KEPT_FOR).timestamp())


def _pk(tenant: TenantId) -> str:
    return f"{tenant}#ai"


def _sk(day: str) -> str:
    return f"usage#{day}"


def _shown(day: str, item: dict[str, Any]) -> dict[str, Any]:
    providers: dict[str, dict[str, Any]] = {}
    intents: dict[str, int] = {}
    for name, value in item.items():
        group, _, rest = name.partition(":")
        if group == "p":
            provider, _, what = rest.rpartition(":")
            numbers = providers.setdefault(
                provider, {"calls": 0, "failed": 0, "tokens": 0, "cost_usd": 0.0}
            )
            numbers["cost_usd" if what == "cost" else what] = (
                value / MICROS if what == "cost" else value
            )
        elif group == "i":
            intents[rest] = value
    counted = ("calls", "failed", "degraded", "cached", "input_tokens", "output_tokens")
    return {
        "day": day,
        **{name: item.get(name, 0) for name in counted},
        "cost_usd": item.get("cost", 0) / MICROS,
        "by_provider": dict(sorted(providers.items())),
        "by_intent": dict(sorted(intents.items())),
        "_committed": item.get("committed", 0),
    }
