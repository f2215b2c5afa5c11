"""What people do with notification rules: look at them, replace them, and try them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.kernel.errors import Flaw, UnprocessableError

if TYPE_CHECKING:
    from aetherlink.kernel.tenancy import Caller, TenantId
    from aetherlink.notify.rules import RuleSet


class Kept(Protocol):
    def of(self, tenant: TenantId) -> RuleSet: ...
    def put(self, tenant: TenantId, rules: RuleSet) -> None: ...
    def delete(self, tenant: TenantId) -> None: ...


class Ruling:
    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def shown(self, caller: Caller, named: str | None) -> dict[str, Any]:
        return _shown(self._kept.of(caller.reads(named) or caller.home))

    def replace(self, caller: Caller, named: str | None, wanted: RuleSet) -> dict[str, Any]:
        tenant = caller.writes(named)
        before = self._kept.of(tenant)
        self._kept.put(tenant, wanted)
        caller.trail.changed("notification-rules", before=_shown(before), after=_shown(wanted))
        return _shown(wanted)

    def reset(self, caller: Caller, named: str | None) -> dict[str, Any]:
        """Back to the shipped ones."""
        tenant = caller.writes(named)
        before = self._kept.of(tenant)
        self._kept.delete(tenant)
        after = self._kept.of(tenant)
        caller.trail.changed("notification-rules", before=_shown(before), after=_shown(after))
        return _shown(after)

    def test(self, caller: Caller, event: dict[str, Any]) -> dict[str, Any]:
        """What people would be told of an event; nobody is."""
        event_type, named = event.get("event_type"), event.get("tenant_id")
        if not isinstance(event_type, str) or not event_type:
            raise UnprocessableError((Flaw("/event_type", "is required, such as lead.created"),))
        if named is not None and not isinstance(named, str):
            raise UnprocessableError((Flaw("/tenant_id", f"must be a text, got {named!r:.60}"),))
        tenant = caller.reads(named) or caller.home
        whole = {**event, "tenant_id": str(tenant)}
        rules = self._kept.of(tenant)
        rule, message = rules.rule_for(whole), rules.message(whole)
        if message is None:
            by = rule.model_dump(mode="json") if rule else rules.default.model_dump(mode="json")
            which = "a rule says" if rule else "the default says"
            return {
                "suppressed": True,
                "rule": by,
                "message": f"Nobody is told of {event_type[:128]}: {which} notify false",
            }
        return {
            "event_type": event_type,
            "tenant_id": str(tenant),
            "title": f"{event_type} ({tenant})",
            "message": message,
            "channel": rule and rule.channel,
            "raw": event,
        }


def _shown(rules: RuleSet) -> dict[str, Any]:
    return rules.model_dump(mode="json")
