"""The log of deliveries: looked at, counted, and sent again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from aetherlink.kernel.errors import ConflictError, InvalidError, NotFoundError
from aetherlink.kernel.ids import tenant_of
from aetherlink.kernel.paging import decode_cursor, encode_cursor
from aetherlink.kernel.shape import Given
from aetherlink.kernel.tenancy import SYSTEM, Caller, TenantId
from aetherlink.kernel.time import to_text
from aetherlink.notify.model import GIVEN_UP, Delivery, State, revive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Pages of a filter that fits little end after so many deliveries, with a cursor.
EXAMINED = 1_000
_PAGE = 200
# A replay that meets the dispatcher's own writes reads again so often.
_RACES = 3
# Sent again by one request; with more, it says where to go on.
REPLAYED = 100
_OUTCOMES = tuple(str(state) for state in State if state is not State.PENDING)
_TROUBLES = ("transient", "permanent", "rate_limited", "unknown")


class Kept(Protocol):
    def get(self, delivery_id: str) -> Delivery | None: ...
    def save(self, earlier: Delivery, changed: Delivery) -> Delivery | None: ...
    def page(
        self, tenant: TenantId, *, before: str, limit: int
    ) -> tuple[list[Delivery], str | None]: ...
    def numbers(
        self, tenant: TenantId, since: str, until: str
    ) -> Iterator[tuple[str, str, Mapping[str, Any]]]: ...


@dataclass(frozen=True)
class Filters:
    """Each absent one fits everything. `error_class` is that of the last attempt."""

    state: State | None = None
    endpoint_id: str | None = None
    event_type: str | None = None
    episode_id: str | None = None
    error_class: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fit(self, delivery: Delivery) -> bool:
        last = delivery.attempts[-1].trouble if delivery.attempts else None
        pairs = (
            (self.state, delivery.state),
            (self.endpoint_id, delivery.endpoint_id),
            (self.event_type, delivery.event.get("event_type")),
            (self.episode_id, delivery.episode_id),
            (self.error_class, last and str(last)),
        )
        return all(wanted is None or wanted == found for wanted, found in pairs)

    def question(self, tenant: TenantId) -> tuple[str, ...]:
        return (tenant, *(str(value) for value in vars(self).values()))


class ReplayDraft(Given):
    """The body of POST /notifications/deliveries/replay: which of them are sent again."""

    state: State = Field(default=State.DEAD_LETTER, description="failed or dead_letter")
    endpoint_id: str | None = None
    event_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    cursor: str | None = None
    tenant_id: str | None = Field(default=None, description="Whose, for who may name another")


class Log:
    """`send` has the dispatcher look at a delivery, `look_again` ends an endpoint's rest."""

    def __init__(
        self,
        kept: Kept,
        send: Callable[[str], None],
        look_again: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self._kept = kept
        self._send = send
        self._look_again = look_again
        self._now = now

    def page(
        self, view: TenantId | None, filters: Filters, *, limit: int, cursor: str | None
    ) -> dict[str, Any]:
        """Deliveries of a tenant's endpoints (of nobody in particular: of `system`'s), the newest
        first."""
        tenant = view or SYSTEM
        found, after = self._found(tenant, filters, limit, cursor)
        return {"deliveries": [delivery.shown() for delivery in found], "next_cursor": after}

    def get(self, caller: Caller, delivery_id: str) -> Delivery:
        tenant = tenant_of(delivery_id)
        found = self._kept.get(delivery_id) if tenant and caller.may_act_for(tenant) else None
        if found is None:
            raise NotFoundError(f"Delivery {delivery_id} not found")
        return found

    def replay(self, caller: Caller, delivery_id: str) -> dict[str, Any]:
        """Send one now, from the first attempt on; what was tried stays on record.

        One that is being sent at this moment is shown as it stands: what was asked is under way."""
        for _ in range(_RACES):
            delivery = self.get(caller, delivery_id)
            if delivery.state is State.DIGESTED:
                raise ConflictError(
                    f"Delivery {delivery_id} was told within digest {delivery.digest_id}; "
                    "replay that"
                )
            if delivery.leased_until and delivery.leased_until > self._now():
                return delivery.shown()
            self._look_again(delivery.endpoint_id)
            revived = self._again(delivery)
            if revived:
                caller.trail.tenant_id = delivery.tenant_id
                caller.trail.changed(
                    f"deliveries/{delivery.id}",
                    before={"state": str(delivery.state)},
                    after={"state": str(revived.state)},
                )
                return revived.shown()
        raise ConflictError("The delivery changed meanwhile; read it again")

    def replay_all(self, caller: Caller, wanted: ReplayDraft) -> dict[str, Any]:
        """Send again what was given up and fits, at most REPLAYED at a time."""
        if wanted.state not in GIVEN_UP:
            raise InvalidError(
                f"state must be failed or dead_letter, got {wanted.state}; replay others one by one"
            )
        tenant = caller.writes(wanted.tenant_id)
        given = wanted.model_dump(exclude={"cursor", "tenant_id"})
        found, after = self._found(tenant, Filters(**given), REPLAYED, wanted.cursor)
        for endpoint_id in dict.fromkeys(delivery.endpoint_id for delivery in found):
            self._look_again(endpoint_id)
        revived = [delivery.id for delivery in found if self._again(delivery)]
        caller.trail.tenant_id = tenant
        caller.trail.changed(f"deliveries/{tenant}", after={"replayed": len(revived)})
        return {"replayed": len(revived), "delivery_ids": revived, "next_cursor": after}

    def statistics(self, view: TenantId | None, days: int) -> dict[str, Any]:
        """How deliveries of the last days fared, as a whole and by endpoint and day."""
        now = self._now()
        first = to_text(now - timedelta(days=days - 1))[:10]
        total: Counter[str] = Counter()
        endpoints: dict[str, Counter[str]] = {}
        by_day: dict[str, Counter[str]] = {}
        for day, endpoint_id, item in self._kept.numbers(view or SYSTEM, first, to_text(now)[:10]):
            numbers = Counter({n: v for n, v in item.items() if isinstance(v, int)})
            for sums in (
                total,
                endpoints.setdefault(endpoint_id, Counter()),
                by_day.setdefault(day, Counter()),
            ):
                sums.update(numbers)
        return {
            "since": f"{first}T00:00:00Z",
            "days": days,
            **_summed(total),
            "endpoints": [
                {"endpoint_id": name, **_summed(sums)} for name, sums in sorted(endpoints.items())
            ],
            "by_day": [{"day": day, **_summed(sums)} for day, sums in sorted(by_day.items())],
        }

    def _again(self, delivery: Delivery) -> Delivery | None:
        revived = self._kept.save(delivery, revive(delivery, self._now()))
        if revived:
            self._send(revived.id)
        return revived

    def _found(
        self, tenant: TenantId, filters: Filters, limit: int, cursor: str | None
    ) -> tuple[list[Delivery], str | None]:
        question = filters.question(tenant)
        before = decode_cursor(cursor, *question) if cursor else ""
        if not before and filters.until:
            before = to_text(filters.until)
        floor = to_text(filters.since) if filters.since else ""
        found: list[Delivery] = []
        examined = 0
        while examined < EXAMINED:
            page, after = self._kept.page(tenant, before=before, limit=_PAGE)
            for delivery in page:
                examined += 1
                place = f"{to_text(delivery.created_at)}#{delivery.id}"
                if place < floor:
                    return found, None
                if filters.fit(delivery):
                    found.append(delivery)
                    if len(found) == limit:
                        return found, encode_cursor(place, *question)
            if after is None:
                return found, None
            before = after
        return found, encode_cursor(before, *question)


def _summed(sums: Counter[str]) -> dict[str, Any]:
    attempts = sums["attempts"]
    settled = sum(sums[state] for state in _OUTCOMES)
    told = sums["delivered"] + sums["digested"]
    judged = told + sums["failed"] + sums["dead_letter"]
    return {
        "total": sums["opened"],
        "pending": max(sums["opened"] - settled, 0),
        **{state: sums[state] for state in _OUTCOMES},
        "success_rate": round(told / judged, 4) if judged else None,
        "attempts": attempts,
        "mean_attempt_ms": round(sums["ms"] / attempts) if attempts else None,
        "failed_attempts": {name: sums[f"attempts_{name}"] for name in _TROUBLES},
    }
