"""One run of the healer: look at services, decide, act, and look again at those that are on the move.

A service that fails is looked at again within the same run, so that being sure does not take minutes;
one that was acted on is watched until it is well, as far as the run's time goes. What is left over the next
run finds in the table.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.heal import telling
from aetherlink.heal.health import Probe, State
from aetherlink.heal.model import (
    Pending,
    Target,
    Watched,
    begun,
    ended,
    is_news,
    looked_at,
    settled_down,
)
from aetherlink.heal.policy import (
    AT_ONCE,
    BLAST_MINIMUM,
    BLAST_SHARE,
    Around,
    Decision,
    Outcome,
    Verdict,
    decide,
    is_blast,
)
from aetherlink.heal.record import Approval, Heal, Ledger, Maintenance, Report
from aetherlink.kernel.ids import new_tenant_bound
from aetherlink.platform.boundary import spread
from aetherlink.platform.telemetry import logger
from aetherlink.registry.graph import upstream
from aetherlink.registry.model import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aetherlink.events.model import Event
    from aetherlink.heal.actions import Actions, Done
    from aetherlink.heal.health import Change
    from aetherlink.heal.prober import Prober
    from aetherlink.heal.store import HealStore
    from aetherlink.ingest.incident import Signal
    from aetherlink.ingest.service import Intake
    from aetherlink.kernel.tenancy import TenantId

    Key = tuple[str, str]

# From the beginning of one look at a service to that of the next, if it is over by then.
PAUSE = timedelta(seconds=2)
# Of so many tenants or more, most in trouble at once: it is ours.
_TENANTS = 3
_ACTING = 16


class Run:
    """`until` is when the last round begins at the latest. A dry run writes nothing, and does nothing.

    `heals` are the attempts that ended in this run, `failures` what broke on the way.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        stored: Iterable[Watched],
        windows: Iterable[Maintenance],
        *,
        kept: HealStore,
        prober: Prober,
        actions: Actions,
        intake: Intake,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        until: datetime,
        dry: bool = False,
    ) -> None:
        self._targets = {target.key: target for target in targets}
        known = {watched.key: watched for watched in stored}
        self._stored: dict[Key, Watched | None] = {key: known.get(key) for key in self._targets}
        self._watched = {
            key: known.get(key) or Watched(target.tenant_id, target.name)
            for key, target in self._targets.items()
        }
        self._windows = list(windows)
        self._kept = kept
        self._prober = prober
        self._actions = actions
        self._intake = intake
        self._now = now
        self._sleep = sleep
        self._until = until
        self._dry = dry
        self._ledgers: dict[TenantId, Ledger] = {}
        self._decisions: dict[Key, Decision] = {}
        self._lost: set[Key] = set()
        self.heals: list[Heal] = []
        self.failures: list[Exception] = []
        self._begun: set[Key] = set()
        self._by_tenant: dict[TenantId, list[Target]] = defaultdict(list)
        for target in targets:
            self._by_tenant[target.tenant_id].append(target)
        self._upstream = self._edges()

    # ---- the rounds

    def go(self) -> None:
        looking = list(self._targets.values())
        while looking:
            began = self._now()
            self._round(looking)
            looking = [target for target in looking if self._is_on_the_move(target)]
            if not looking or self._now() + PAUSE >= self._until:
                break
            # Less what the round took: one that hangs must not slow down everybody else's healing.
            self._sleep(max((PAUSE - (self._now() - began)).total_seconds(), 0))
        if not self._dry:
            self._keep_the_rest()

    def _round(self, looking: Sequence[Target]) -> None:
        changes: dict[Key, Change | None] = {}
        for target, probe in zip(looking, self._look(looking), strict=True):
            key = target.key
            self._watched[key], changes[key] = looked_at(
                self._watched[key], probe, target.thresholds
            )
        # Only now: what stands around a service counts as it is after everybody was looked at.
        in_trouble = self._in_trouble()
        for tenant, targets in self._by_tenant.items():
            self._mind_blast(tenant, targets, elsewhere=in_trouble)
        self._read_ledgers(looking)
        claimed = [
            target
            for target in self._in_order(looking)
            if target.key not in self._lost
            and self._turned(target, changes[target.key], elsewhere=in_trouble)
        ]
        self._act(claimed)

    def _look(self, looking: Sequence[Target]) -> list[Probe]:
        called = [target for target in looking if not _is_leased(target)]
        found = dict(zip((t.key for t in called), self._prober.look(called), strict=True))
        now = self._now()
        for target in looking:
            if _is_leased(target):
                is_well = target.name not in self._standing(target.tenant_id, now).expired
                error = None if is_well else "its heartbeat stopped, and its lease has run out"
                found[target.key] = Probe(now, is_well, 0, error=error)
        return [found[target.key] for target in looking]

    def _standing(self, tenant: TenantId, now: datetime) -> Standing:
        services = [target.service for target in self._by_tenant[tenant] if target.service]
        return Standing(services, now)

    def _in_order(self, looking: Sequence[Target]) -> list[Target]:
        """What others depend on first; then by name."""
        return sorted(looking, key=lambda t: (t.tenant_id, len(self._upstream[t.key]), t.name))

    def _is_on_the_move(self, target: Target) -> bool:
        """Whether another look within this run may find something to do."""
        key = target.key
        if key in self._lost:
            return False
        watched, decision = self._watched[key], self._decisions.get(key)
        if watched.pending or watched.health.is_wavering(target.thresholds):
            return True
        if decision is None or not target.is_healable:
            return False
        if decision.verdict is Verdict.HEAL:
            # Its action was refused: it is to be decided anew.
            return not self._dry
        if decision.verdict is not Verdict.WAIT:
            return False
        return decision.not_before is None or decision.not_before < self._until

    # ---- one service

    def _turned(self, target: Target, change: Change | None, *, elsewhere: bool) -> bool:
        """The same as `_turn`; one that breaks holds up no other, and the next run finds it as it was."""
        try:
            return self._turn(target, change, elsewhere=elsewhere)
        except Exception as error:  # noqa: BLE001 - one service of many; raised when the others are done
            logger.exception(
                "a service could not be dealt with",
                tenant=target.tenant_id,
                service_name=target.name,
            )
            self._lost.add(target.key)
            self.failures.append(error)
            return False

    def _turn(self, target: Target, change: Change | None, *, elsewhere: bool) -> bool:
        """What follows of a look; whether an attempt was claimed."""
        now, before = self._now(), self._watched[target.key]
        watched = before
        events: list[Event] = []
        heal: Heal | None = None
        if change == "failed":
            events.append(telling.went_down(target, watched, self._maintenance(target, now), now))
        elif change == "recovered":
            events.append(telling.came_back(target, self._stored[target.key] or watched, now))
        if watched.pending:
            heal = _outcome(target, watched, now)
        if heal:
            watched = ended(watched, Outcome.SUCCEEDED if heal.success else Outcome.FAILED)
            events.append(
                telling.healed(target, heal) if heal.success else telling.not_healed(target, heal)
            )
        watched = self._quieted(target, settled_down(watched, now), now)
        decision = self._decided(target, watched, now, elsewhere=elsewhere)
        self._decisions[target.key] = decision
        approval: Approval | None = None
        if decision.verdict is Verdict.GIVE_UP and watched.alert != "gave_up":
            self._call(target.tenant_id, telling.gave_up(target, decision.because, now))
            watched = replace(watched, alert="gave_up")
        elif decision.verdict is Verdict.ASK and watched.approval_id is None:
            approval = _request(target, decision, now)
            signal = telling.wants_approval(target, approval.id, approval.action, now)
            self._call(target.tenant_id, signal)
            watched = replace(watched, approval_id=approval.id, alert=watched.alert or "approval")
        is_claimed = decision.verdict is Verdict.HEAL and not self._dry
        if is_claimed:
            watched = begun(watched, _pending(target, _reason(watched, decision), now))
            events.append(telling.attempted(target, watched, now))
        self._watched[target.key] = watched
        if self._dry:
            return False
        if events or heal or approval:
            stored = self._store(target, heal=heal, approval=approval, events=events)
            if stored and heal:
                self.heals.append(heal)
            is_claimed = is_claimed and stored
            if is_claimed:
                self._begun.add(target.key)
        return is_claimed

    def _decided(
        self, target: Target, watched: Watched, now: datetime, *, elsewhere: bool
    ) -> Decision:
        if not watched.health.is_down:
            return decide(watched.health, (), target.limits, Around(), now)
        around = self._around(target, watched, now, elsewhere=elsewhere)
        decision = decide(watched.health, watched.attempts, target.limits, around, now)
        if decision.verdict in (Verdict.BLAST, Verdict.HELD):
            return decision
        if not target.is_healable:
            return Decision(Verdict.HELD, "it has no action to heal it by")
        if decision.verdict in (Verdict.HEAL, Verdict.ASK):
            why_not = self._actions.why_not(target)
            if why_not:
                return Decision(Verdict.HELD, why_not)
        return decision

    def _around(
        self, target: Target, watched: Watched, now: datetime, *, elsewhere: bool
    ) -> Around:
        tenant = target.tenant_id
        failing = self._failing(self._by_tenant[tenant])
        at_once, of = self._at_once(self._by_tenant[tenant], now)
        pause = watched.pause
        return Around(
            services=of,
            failing=at_once,
            healing=len(self._ledger(tenant).healing - {target.name}),
            upstream_down=tuple(sorted(self._upstream[target.key] & failing)),
            is_paused=pause is not None and pause.holds_at(now),
            paused_until=pause.until if pause else None,
            maintenance=self._maintenance(target, now),
            is_approved=watched.is_approved(now),
            elsewhere=elsewhere,
            gave_up=watched.alert == "gave_up",
        )

    def _quieted(self, target: Target, watched: Watched, now: datetime) -> Watched:
        """Without the alert that has no reason any more."""
        before = self._stored[target.key]
        alert = before.alert if before else None
        is_well = watched.health.state is State.UP
        if is_well and watched.alert == "approval":
            watched = replace(watched, alert=None)
        if is_well and watched.approval_id:
            watched = replace(watched, approval_id=None, approved_until=None)
        if alert and watched.alert is None:
            self._call(target.tenant_id, telling.over(target.name, "it is well again", now))
        return watched

    def _act(self, claimed: Sequence[Target]) -> None:
        """Do what was claimed, at the same time; what was refused has failed at once."""

        def act(target: Target) -> tuple[Target, Done]:
            pending = self._watched[target.key].pending
            if pending is None:
                raise AssertionError("claimed without an attempt")
            return target, self._actions.act(target, pending)

        for target, done in spread(act, claimed, workers=_ACTING):
            watched = self._watched[target.key]
            if watched.pending is None:
                continue
            logger.info(
                "acted",
                tenant=target.tenant_id,
                service_name=target.name,
                action=watched.pending.action,
                is_taken=done.is_taken,
                said=done.said,
            )
            watched = replace(watched, pending=replace(watched.pending, said=done.said))
            self._watched[target.key] = watched
            if not done.is_taken:
                now = self._now()
                heal = _heal(target, watched, now, success=False, msg=done.said)
                self._watched[target.key] = ended(watched, Outcome.FAILED)
                if self._store(target, heal=heal, events=[telling.not_healed(target, heal)]):
                    self.heals.append(heal)

    # ---- around it

    def _failing(self, targets: Iterable[Target]) -> set[str]:
        """Whose last look was bad. A lease that ran out counts, an old finding does too."""
        return {t.name for t in targets if _is_failing(self._watched[t.key])}

    def _at_once(self, targets: Sequence[Target], now: datetime) -> tuple[int, int]:
        """How many went down at once, and of how many that may still do so. What is left alone for that
        goes on counting while it is down."""
        failing = [w for t in targets if _is_failing(w := self._watched[t.key])]
        old = sum(not w.is_blast and not _is_new(w, now) for w in failing)
        return len(failing) - old, len(targets) - old

    def _in_trouble(self) -> bool:
        """Whether most tenants are. Only what is new counts: else tenants that somebody has left behind
        would keep everybody else's services from being healed."""
        now = self._now()
        shares = []
        for targets in self._by_tenant.values():
            failing = [w for t in targets if _is_failing(w := self._watched[t.key])]
            fresh = sum(_is_new(w, now) for w in failing)
            shares.append(fresh > BLAST_SHARE * (len(targets) - len(failing) + fresh))
        return len(shares) >= _TENANTS and sum(shares) > BLAST_SHARE * len(shares)

    def _mind_blast(self, tenant: TenantId, targets: Sequence[Target], *, elsewhere: bool) -> None:
        """Too many of a tenant's services down at once is one alert, and its end another message."""
        now = self._now()
        failing, of = self._at_once(targets, now)
        down = [t for t in targets if self._watched[t.key].health.is_down]
        flagged = [t for t in targets if self._watched[t.key].is_blast]
        is_on = bool(down) and (elsewhere or is_blast(failing, of))
        if is_on:
            if not flagged:
                because = (
                    "Services of most tenants are down at once"
                    if elsewhere
                    else f"{failing} of {of} services are down at once"
                )
                self._call(tenant, telling.blast(because, [t.name for t in down], now))
            for target in down:
                if _is_new(self._watched[target.key], now):
                    self._watched[target.key] = replace(self._watched[target.key], is_blast=True)
        # Not at the very edge, else it would be told again and again.
        elif flagged and (failing < BLAST_MINIMUM or failing <= BLAST_SHARE / 2 * of):
            self._call(tenant, telling.blast_over(now))
            for target in flagged:
                self._watched[target.key] = replace(self._watched[target.key], is_blast=False)

    def _maintenance(self, target: Target, now: datetime) -> str | None:
        for window in self._windows:
            is_meant = window.tenant_id == target.tenant_id and window.is_on(now)
            if is_meant and window.covers(target.name, target.service):
                return window.reason
        return None

    def _edges(self) -> dict[Key, set[str]]:
        """What each depends on, near and far."""
        found: dict[Key, set[str]] = {}
        for targets in self._by_tenant.values():
            edges = {t.name: t.service.depends_on for t in targets if t.service}
            for target in targets:
                found[target.key] = (
                    upstream(target.name, edges) if edges.get(target.name) else set()
                )
        return found

    def _read_ledgers(self, looking: Sequence[Target]) -> None:
        """Of all tenants that will need theirs, in one call."""
        tenants = {t.tenant_id for t in looking if self._watched[t.key].health.is_down}
        wanted = sorted(tenants - self._ledgers.keys())
        if len(wanted) > 1:
            self._ledgers |= self._kept.ledgers(wanted)

    def _ledger(self, tenant: TenantId) -> Ledger:
        if tenant not in self._ledgers:
            self._ledgers[tenant] = self._kept.ledger(tenant)
        return self._ledgers[tenant]

    # ---- kept

    def _store(
        self,
        target: Target,
        *,
        heal: Heal | None = None,
        approval: Approval | None = None,
        events: Sequence[Event] = (),
    ) -> bool:
        """False if somebody was faster: then this run leaves the service to them."""
        key, tenant = target.key, target.tenant_id
        watched, entry = self._watched[key], self._entry(target)
        writes = self._kept.requests(
            self._stored[key],
            watched,
            ledger=entry,
            heal=heal,
            approval=approval,
            events=telling.in_order(events),
        )
        if not self._kept.commit(writes):
            logger.info("another healer has it", tenant=tenant, service_name=target.name)
            self._lost.add(key)
            self._ledgers.pop(tenant, None)
            return False
        self._watched[key] = self._stored[key] = replace(watched, version=watched.version + 1)
        if entry:
            self._ledgers[tenant] = replace(entry[1], version=entry[0].version + 1)
        return True

    def _entry(self, target: Target) -> tuple[Ledger, Ledger] | None:
        """The ledger as the change leaves it, where it does change."""
        before, watched = self._stored[target.key], self._watched[target.key]
        if bool(before and before.pending) == bool(watched.pending):
            return None
        ledger, name = self._ledger(target.tenant_id), target.name
        return ledger, ledger.with_(name) if watched.pending else ledger.without(name)

    def _keep_the_rest(self) -> None:
        for target in self._targets.values():
            key = target.key
            stored = self._stored[key] or Watched(target.tenant_id, target.name)
            if key in self._lost or not is_news(stored, self._watched[key], target.thresholds):
                continue
            self._store(target)

    def _call(self, tenant: TenantId, signal: Signal) -> None:
        if not self._dry:
            self._intake.take(tenant, signal)

    # ---- told

    def watches(self, key: Key) -> bool:
        return key in self._targets

    def is_blast(self, tenant: TenantId) -> bool:
        return any(self._watched[target.key].is_blast for target in self._by_tenant[tenant])

    def reports(self, began: datetime) -> list[Report]:
        """Of each tenant that was looked at."""
        now = self._now()
        return [
            Report(
                tenant_id=tenant,
                last_run=now,
                took_ms=round((now - began).total_seconds() * 1000),
                services=len(targets),
                down=sum(self._watched[t.key].health.is_down for t in targets),
            )
            for tenant, targets in self._by_tenant.items()
        ]

    def found(self) -> list[dict[str, Any]]:
        """Of each service, how it is and what is done about it, or why nothing."""
        return [self._finding(target) for _, target in sorted(self._targets.items())]

    def _finding(self, target: Target) -> dict[str, Any]:
        watched, decision = self._watched[target.key], self._decisions.get(target.key)
        last = watched.health.last
        return {
            "service": target.name,
            "tenant_id": target.tenant_id,
            "state": str(watched.health.state),
            "error": last.error if last else None,
            "verdict": str(decision.verdict) if decision else None,
            "because": decision.because if decision else "somebody else has it in hand",
            "action": str(target.plan.action) if target.plan and target.plan.action else None,
            "attempted": target.key in self._begun,
        }


def _is_leased(target: Target) -> bool:
    return target.probe is not None and target.probe.kind == "heartbeat"


def _is_failing(watched: Watched) -> bool:
    last = watched.health.last
    return watched.health.is_down or (last is not None and not last.is_well)


def _is_new(watched: Watched, now: datetime) -> bool:
    since = watched.health.since
    return since is None or now - since <= AT_ONCE


def _pending(target: Target, reason: str, now: datetime) -> Pending:
    plan = target.plan
    if plan is None or plan.action is None:
        raise AssertionError("nothing to act by")
    until = now + timedelta(seconds=plan.settle_seconds)
    name = new_tenant_bound(target.tenant_id)
    return Pending(name, now, str(plan.action), until, reason=reason)


def _reason(watched: Watched, decision: Decision) -> str:
    last = watched.health.last
    error = last.error if last and last.error else decision.because
    return f"{watched.health.failures} failures in a row: {error}"


def _request(target: Target, decision: Decision, now: datetime) -> Approval:
    plan = target.plan
    action = str(plan.action) if plan and plan.action else ""
    if plan and plan.target:
        action = plan.target
    return Approval(
        new_tenant_bound(target.tenant_id),
        target.tenant_id,
        target.name,
        action,
        decision.because,
        now,
    )


def _outcome(target: Target, watched: Watched, now: datetime) -> Heal | None:
    """What came of its attempt; None while that is open. Well again is the only success there is."""
    pending = watched.pending
    if pending is None:
        return None
    said = f"{pending.said}; " if pending.said else ""
    seconds = round((now - pending.at).total_seconds())
    if watched.health.state is State.UP:
        return _heal(target, watched, now, success=True, msg=f"{said}healthy after {seconds} s")
    if now < pending.until:
        return None
    last = watched.health.last
    error = last.error if last and last.error else f"it is {watched.health.state}"
    msg = f"{said}not healthy after {seconds} s: {error}"
    return _heal(target, watched, now, success=False, msg=msg)


def _heal(target: Target, watched: Watched, now: datetime, *, success: bool, msg: str) -> Heal:
    pending = watched.pending
    if pending is None:
        raise AssertionError("no attempt to end")
    return Heal(
        id=pending.id,
        tenant_id=target.tenant_id,
        service=target.name,
        action=pending.action,
        success=success,
        msg=msg[:500],
        reason=pending.reason,
        began_at=pending.at,
        at=now,
    )
