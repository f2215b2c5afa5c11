"""Rules, watches and episodes in the control table, hits and steps in the projections table.

control      pk  <owner>#rules                         sk  <rule id>                kind  rule
             pk  <owner>#watches                       sk  <rule id>#<fingerprint>  kind  alert-due
             pk  <tenant>#episodes                     sk  <token of the id>        kind  episode-open,
                                                                                          episode
projections  pk  <owner>#hits#<rule id>#<fingerprint>  sk  <counted at>#<digest of the event>
             pk  <owner>#steps#<rule id>#<fingerprint> sk  <end of the step>

The owner is the rule's tenant, or `system` for a global rule. A watch that time alone will change
has kind_key <due>#…: the sweep reads those whose due has come, over all tenants, and nothing else.
An episode's token sorts by when it began; its tenant is whose alert it is.

A hit is its event: written twice it is one. A step is a sum, so it grows in the same transaction that
writes the hits which are new to it.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.alerts.condition import Part, Point, Span, added, step_end
from aetherlink.alerts.episode import Episode, State, Told
from aetherlink.alerts.machine import Watch
from aetherlink.alerts.model import MAX_DISTINCT, Group, Rule, RuleId, fingerprint
from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.ids import digest, tenant_of, token_of
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import (
    ConditionFailedError,
    ContendedError,
    Item,
    Table,
    transact,
)
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore

# Hits outlive their window by this much, for records that come late.
LATENESS = timedelta(hours=1)
_BATCH_GET = 100
# Of a transaction's 25 items some are for the steps.
_HITS_PER_TRANSACTION = 16
_ATTEMPTS = 8
# Resolved episodes are kept for as long.
KEPT = timedelta(days=90)


class RuleStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def put(self, rule: Rule) -> None:
        self._table.put(_rule_item(rule))

    def get(self, owner: TenantId, rule_id: str) -> Rule | None:
        item = self._table.get(f"{owner}#rules", rule_id)
        return _to_rule(item) if item else None

    def delete(self, rule: Rule) -> bool:
        """False if it was gone already."""
        request = self._table.delete_request(
            f"{rule.owner}#rules", rule.id, only_if="attribute_exists(pk)"
        )
        try:
            transact([request])
        except ConditionFailedError:
            return False
        return True

    def of(self, owner: TenantId) -> list[Rule]:
        return _readable(self._table.query_all("pk = :pk", pk=f"{owner}#rules"))

    def all(self) -> list[Rule]:
        """Every tenant's rules; a moment behind on AWS (an index)."""
        found = self._table.query_all("kind = :kind", index="by_kind", kind="rule")
        return _readable(found)


class WatchStore:
    def __init__(self, table: Table, events: EventStore, now: Callable[[], datetime]) -> None:
        self._table = table
        self._events = events
        self._now = now

    def get(self, rule: Rule, group: Group) -> Watch:
        item = self._table.get(f"{rule.owner}#watches", f"{rule.id}#{fingerprint(group)}")
        return _to_watch(item) if item else Watch(group=group)

    def of(self, rule: Rule) -> list[Watch]:
        found = self._table.query_all(
            "pk = :pk AND begins_with(sk, :rule)", pk=f"{rule.owner}#watches", rule=f"{rule.id}#"
        )
        return [_to_watch(item) for item in found]

    def due(self, now: datetime) -> list[tuple[TenantId, RuleId, Watch]]:
        """The watches that time alone changes by now, oldest first, over all tenants."""
        found = self._table.query_all(
            "kind = :kind AND kind_key <= :now",
            index="by_kind",
            kind="alert-due",
            now=to_text(now) + "~",
        )
        return [(_owner(item), RuleId(item["rule_id"]), _to_watch(item)) for item in found]

    def commit(
        self,
        rule: Rule,
        earlier: Watch,
        watch: Watch,
        due: datetime | None,
        told: Sequence[Told],
    ) -> bool:
        """Store the watch with its episodes and what they announce, unless somebody else moved it
        meanwhile (False)."""
        is_first = earlier.version == 0
        current = "attribute_not_exists(pk)" if is_first else "version = :version"
        values = {} if is_first else {"version": earlier.version}
        put = self._table.put_request(
            _watch_item(rule, watch, due, self._now()), only_if=current, **values
        )
        events = [self._events.add_request(t.event) for t in told if t.event]
        try:
            transact([put, *episode_requests(self._table, told), *events])
        except ConditionFailedError:
            return False
        return True

    def drop(
        self,
        owner: TenantId,
        rule_id: RuleId,
        watch: Watch,
        announcing: list[Event],
        at: datetime,
    ) -> None:
        """Forget the watch of a rule that is no more; what it had open is over."""
        key = f"{rule_id}#{fingerprint(watch.group)}"
        gone = [self._table.delete_request(f"{owner}#watches", key)]
        tenant = tenant_of(watch.episode_id or "")
        if tenant and watch.episode_id:
            episode = f"{tenant}#episodes", token_of(watch.episode_id)
            gone.append(
                self._table.set_request(*episode, _over(watch.episode_id, at))
                if watch.raised_at
                else self._table.delete_request(*episode)
            )
        transact([*gone, *(self._events.put_request(e) for e in announcing)])


class HitStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, hits: Sequence[tuple[Rule, str, Event, Part]]) -> None:
        """Note that rules count events, under (rule, fingerprint). The same hit twice is one."""
        single = [_hit_item(rule, key, e) for rule, key, e, _ in hits if rule.step is None]
        self._table.put_many({(i["pk"], i["sk"]): i for i in single}.values())
        stepped: dict[tuple[str, str], list[tuple[Rule, str, Event, Part]]] = {}
        for hit in hits:
            if hit[0].step:
                stepped.setdefault((hit[0].id, hit[1]), []).append(hit)
        for found in stepped.values():
            for start in range(0, len(found), _HITS_PER_TRANSACTION):
                self._add_up(found[start : start + _HITS_PER_TRANSACTION])

    def add_missing(self, hits: Sequence[tuple[Rule, str, Event, Part]]) -> None:
        """The same for hits of which most are there already: reading costs less than writing."""
        self.add(self._missing(hits))

    def _missing(
        self, hits: Sequence[tuple[Rule, str, Event, Part]]
    ) -> list[tuple[Rule, str, Event, Part]]:
        by_key = {}
        for hit in hits:
            item = _hit_item(*hit[:3])
            by_key[item["pk"], item["sk"]] = hit
        keys = list(by_key)
        for start in range(0, len(keys), _BATCH_GET):
            for found in self._table.get_many(keys[start : start + _BATCH_GET]):
                by_key.pop((found["pk"], found["sk"]), None)
        return list(by_key.values())

    def _add_up(self, hits: Sequence[tuple[Rule, str, Event, Part]]) -> None:
        """Hits of one rule and group, and what they add to its steps: all or nothing."""
        waiting = hits
        for _ in range(_ATTEMPTS):
            # A redelivered record fails the whole transaction; then what is new is told apart.
            waiting = self._missing(waiting)
            if not waiting:
                return
            try:
                transact(self._adding(waiting))
            except (ConditionFailedError, ContendedError):
                continue
            return
        raise UnavailableError("Too many add to the same step; try again")

    def _adding(self, hits: Sequence[tuple[Rule, str, Event, Part]]) -> list[Item]:
        requests: dict[str, Item] = {}
        steps: dict[datetime, tuple[Rule, str, Part]] = {}
        newest = max(event.received_at for _, _, event, _ in hits)
        for rule, key, event, part in hits:
            item = _hit_item(rule, key, event)
            if item["sk"] in requests:
                continue
            requests[item["sk"]] = self._table.put_request(item, only_if="attribute_not_exists(pk)")
            at = step_end(event.counted_at, rule.step or timedelta(seconds=1))
            steps[at] = (rule, key, added(steps[at][2], part) if at in steps else part)
        return [
            *requests.values(),
            *(
                self._step_request(rule, key, at, part, newest)
                for at, (rule, key, part) in steps.items()
            ),
        ]

    def _step_request(
        self, rule: Rule, key: str, at: datetime, part: Part, received_at: datetime
    ) -> Item:
        # What comes late is kept as long as its hits are: they say that it was added.
        kept_until = int((max(at + rule.window, received_at) + 2 * LATENESS).timestamp())
        # A number of values beyond what any threshold asks for says no more.
        values = sorted(part.values)[:MAX_DISTINCT]
        return self._table.add_request(
            f"{rule.owner}#steps#{rule.id}#{key}",
            to_text(at),
            {"n": part.n, "total": part.total, "sum": part.sum}
            | ({"distinct": set(values)} if values else {}),
            setting={"expires_at": kept_until},
        )

    def steps(
        self, rule: Rule, group_fingerprint: str, *, since: datetime, until: datetime
    ) -> list[Point]:
        """The steps that end in (since, until], in order. Strongly consistent."""
        items = self._table.query_all(
            "pk = :pk AND sk BETWEEN :since AND :until",
            pk=f"{rule.owner}#steps#{rule.id}#{group_fingerprint}",
            since=to_text(since) + "~",
            until=to_text(until),
        )
        return [
            Point(
                from_text(item["sk"]),
                Part(
                    item["n"],
                    item["total"],
                    float(item["sum"]),
                    frozenset(item.get("distinct", ())),
                ),
            )
            for item in items
        ]

    def newest(
        self, rule: Rule, group_fingerprint: str, *, since: datetime, until: datetime, limit: int
    ) -> list[datetime]:
        """When the newest hits in (since, until] were, newest first. Strongly consistent."""
        items = self._table.query(
            "pk = :pk AND sk BETWEEN :since AND :until",
            limit=limit,
            newest_first=True,
            pk=f"{rule.owner}#hits#{rule.id}#{group_fingerprint}",
            # "~" is above any digest: an instant itself is excluded below and included above.
            since=to_text(since) + "~",
            until=to_text(until) + "~",
        )
        return [from_text(str(item["sk"]).partition("#")[0]) for item in items]


def episode_requests(table: Table, told: Sequence[Told]) -> list[Item]:
    """One write for each episode, however many of its transitions are stored at once."""
    changes: dict[str, tuple[Episode, Item]] = {}
    for each in told:
        known = changes.get(each.episode.id)
        changes[each.episode.id] = (
            each.episode,
            {**(known[1] if known else {}), **_episode_values(each)},
        )
    requests = []
    for episode, values in changes.values():
        key = f"{episode.tenant_id}#episodes", token_of(episode.id)
        if values.pop("is_dropped", False):
            requests.append(table.delete_request(*key))
        else:
            requests.append(table.set_request(*key, values))
    return requests


def _hit_item(rule: Rule, group_fingerprint: str, event: Event) -> Item:
    name = digest(event.tenant_id, event.event_id, event.source)
    kept_until = event.counted_at + rule.window + LATENESS
    return {
        "pk": f"{rule.owner}#hits#{rule.id}#{group_fingerprint}",
        "sk": f"{to_text(event.counted_at)}#{name}",
        "expires_at": int(max(kept_until, event.received_at + LATENESS).timestamp()),
    }


def _rule_item(rule: Rule) -> Item:
    return {
        "pk": f"{rule.owner}#rules",
        "sk": rule.id,
        "kind": "rule",
        "kind_key": f"{rule.owner}#{rule.id}",
        "rule": rule.model_dump_json(),
    }


def _readable(items: Iterable[Item]) -> list[Rule]:
    """The rules in `items`. One that is damaged is reported, and the others count on."""
    rules = []
    for item in items:
        try:
            rules.append(_to_rule(item))
        except (KeyError, ValueError) as error:
            logger.error("damaged rule", rule_id=item.get("sk"), error=type(error).__name__)
    return rules


def _to_rule(item: Item) -> Rule:
    return Rule.model_validate_json(item["rule"])


def _watch_item(rule: Rule, watch: Watch, due: datetime | None, now: datetime) -> Item:
    key = f"{rule.id}#{fingerprint(watch.group)}"
    item: dict[str, Any] = {
        "pk": f"{rule.owner}#watches",
        "sk": key,
        "rule_id": rule.id,
        "group": watch.group,
        "version": watch.version,
        "start": _text(watch.span.start if watch.span else None),
        "end": _text(watch.span.end if watch.span else None),
        "episode_id": watch.episode_id,
        "raised_at": _text(watch.raised_at),
        "settled_until": _text(watch.settled_until),
    }
    if due:
        item |= {"kind": "alert-due", "kind_key": f"{to_text(due)}#{key}"}
    elif watch.settled_until:
        # Nothing is open, and by then no window can reach back over what was settled. Of a back-dated
        # episode that was long ago; its records may still come again.
        settled = max(watch.settled_until, now)
        item["expires_at"] = int((settled + rule.window + 2 * LATENESS).timestamp())
    return item


def _episode_values(told: Told) -> Item:
    """What a transition writes of its episode; what people wrote on it stays."""
    episode, kind = told.episode, told.transition.kind
    token = token_of(episode.id)
    values: Item = {
        "episode_id": episode.id,
        "rule_id": episode.rule_id,
        "rule_name": episode.rule_name,
        "state": str(episode.state),
        "severity": str(episode.severity),
        "group": episode.group,
        "labels": episode.labels,
        "annotations": episode.annotations,
        "source": episode.source or "",
        "event_type": episode.event_type or "",
        "threshold": episode.threshold,
        "window_seconds": episode.window_seconds,
    }
    if kind in ("pending", "raised"):
        values |= {"kind": "episode-open", "kind_key": f"{episode.tenant_id}#{token}"}
        values["matched"] = episode.matched
    if kind == "pending":
        values["started_at"] = to_text(told.transition.at)
    if kind == "raised":
        values["raised_at"] = to_text(told.transition.at)
    if kind in ("resolved", "dropped"):
        values |= {**_over(episode.id, told.transition.at), "reason": episode.reason}
    if kind == "dropped":
        # It was never an alert.
        values["is_dropped"] = True
    # What is not said is not stored: some emulators take no empty texts.
    return {name: value for name, value in values.items() if value not in (None, "")}


def _over(episode_id: str, at: datetime) -> Item:
    return {
        "state": str(State.RESOLVED),
        "kind": "episode",
        "kind_key": f"{token_of(episode_id)}#{tenant_of(episode_id)}",
        "resolved_at": to_text(at),
        "expires_at": int((at + KEPT).timestamp()),
    }


def to_episode(item: Item) -> Episode:
    started = item.get("started_at") or item.get("raised_at") or item["resolved_at"]
    times = {
        name: from_text(item[name]) if item.get(name) else None
        for name in ("raised_at", "resolved_at", "notified_at")
    }
    return Episode.model_validate(
        {
            "matched": 0,
            **{name: item[name] for name in _EPISODE_FIELDS if name in item},
            **times,
            **_said_by_people(item),
            "id": item["episode_id"],
            "tenant_id": str(item["pk"]).partition("#")[0],
            "source": item.get("source") or None,
            "event_type": item.get("event_type") or None,
            "started_at": from_text(started),
        }
    )


_EPISODE_FIELDS = (
    "rule_id", "rule_name", "state", "severity", "group", "labels", "annotations", "matched",
    "threshold", "window_seconds", "reason",
)  # fmt: skip


def _said_by_people(item: Item) -> dict[str, Any]:
    said = json.loads(item.get("acknowledged", "{}"))
    acknowledged = {**said, **_instants(said, "at", "until")} if said.get("by") else None
    mute = json.loads(item.get("muted", "null"))
    # It was told in the end.
    is_muted = mute is not None and "notified_at" not in item
    return {
        "acknowledged": acknowledged,
        "muted": {**mute, **_instants(mute, "since")} if is_muted else None,
    }


def _instants(said: dict[str, str], *names: str) -> dict[str, datetime]:
    return {name: from_text(said[name]) for name in names if name in said}


def _to_watch(item: Item) -> Watch:
    start, end, raised, settled = (
        from_text(item[name]) if name in item else None
        for name in ("start", "end", "raised_at", "settled_until")
    )
    return Watch(
        group=item["group"],
        version=item["version"],
        span=Span(start, end) if start and end else None,
        episode_id=item.get("episode_id"),
        raised_at=raised,
        settled_until=settled,
    )


def _owner(item: Item) -> TenantId:
    return TenantId(str(item["pk"]).partition("#")[0] or SYSTEM)


def _text(instant: datetime | None) -> str | None:
    return to_text(instant) if instant else None
