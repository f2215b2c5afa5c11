"""Rules and watches in the control table, hits in the projections table.

control      pk  <owner>#rules                        sk  <rule id>                kind  rule
             pk  <owner>#watches                      sk  <rule id>#<fingerprint>  kind  alert-due
projections  pk  <owner>#hits#<rule id>#<fingerprint> sk  <counted at>#<digest of the event>

The owner is the rule's tenant, or `system` for a global rule. A watch that time alone will change
has kind_key <due>#…: the sweep reads those whose due has come, over all tenants, and nothing else.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aetherlink.alerts.model import Group, Rule, RuleId, Span, Watch, fingerprint
from aetherlink.kernel.ids import digest
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import from_text, to_text
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore

# Hits outlive their window by this much, for records that come late.
LATENESS = timedelta(hours=1)
_BATCH_GET = 100


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
    def __init__(self, table: Table, events: EventStore) -> None:
        self._table = table
        self._events = events

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
        announcing: list[Event],
    ) -> bool:
        """Store the watch and its announcements together, unless somebody else moved it meanwhile
        (False)."""
        is_first = earlier.version == 0
        current = "attribute_not_exists(pk)" if is_first else "version = :version"
        values = {} if is_first else {"version": earlier.version}
        put = self._table.put_request(_watch_item(rule, watch, due), only_if=current, **values)
        try:
            transact([put, *(self._events.add_request(e) for e in announcing)])
        except ConditionFailedError:
            return False
        return True

    def drop(self, owner: TenantId, rule_id: RuleId, watch: Watch, announcing: list[Event]) -> None:
        """Forget the watch of a rule that is no more."""
        key = f"{rule_id}#{fingerprint(watch.group)}"
        gone = self._table.delete_request(f"{owner}#watches", key)
        transact([gone, *(self._events.put_request(e) for e in announcing)])


class HitStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, hits: Iterable[tuple[Rule, str, Event]]) -> None:
        """Note that rules count events, under (rule, fingerprint). The same hit twice is one."""
        items = {(item["pk"], item["sk"]): item for item in (_hit_item(*hit) for hit in hits)}
        self._table.put_many(items.values())

    def add_missing(self, hits: Sequence[tuple[Rule, str, Event]]) -> None:
        """The same for hits of which most are there already: reading costs less than writing."""
        items = {(item["pk"], item["sk"]): item for item in (_hit_item(*hit) for hit in hits)}
        keys = list(items)
        for start in range(0, len(keys), _BATCH_GET):
            for found in self._table.get_many(keys[start : start + _BATCH_GET]):
                del items[found["pk"], found["sk"]]
        self._table.put_many(items.values())

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


def _watch_item(rule: Rule, watch: Watch, due: datetime | None) -> Item:
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
        # Nothing is open, and by then no window can reach back over what was settled.
        item["expires_at"] = int((watch.settled_until + rule.window + 2 * LATENESS).timestamp())
    return item


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
