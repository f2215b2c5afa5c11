"""What the orchestrator says: events for the timeline, for rules and for whoever pays. Pure.

They are the record of every attempt: provider, milliseconds, class of error, tokens, cost. None has a
prompt or an answer in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetherlink.ai.model import MICROS
from aetherlink.events.model import Severity, announce
from aetherlink.kernel.ids import uuid7

if TYPE_CHECKING:
    from datetime import datetime

    from aetherlink.ai.model import Routed
    from aetherlink.events.model import Event
    from aetherlink.kernel.tenancy import TenantId

SOURCE = "aether-ai-orchestrator"


def events(
    routed: Routed,
    intent: str,
    tenant: TenantId,
    now: datetime,
    *,
    by: str,
    trace_id: str,
    summary: bool,
) -> list[Event]:
    """Those of one call: one where the first that was asked answered, two where another did."""

    def say(event_type: str, payload: dict[str, Any], severity: Severity = Severity.INFO) -> Event:
        return announce(
            event_type,
            source=SOURCE,
            tenant_id=tenant,
            payload=payload,
            now=now,
            event_id=uuid7(now),
            severity=severity,
            trace_id=trace_id,
        )

    attempts = [attempt.shown() for attempt in routed.attempts]
    common = {"intent": intent, "latency_ms": routed.latency_ms, "caller": by, "attempts": attempts}
    if not routed.provider:
        errors = [{"provider": a.provider, "error": a.said} for a in routed.attempts]
        payload = {"provider_chain": list(routed.order), "errors": errors, **common}
        return [say("ai.fallback.failed", payload, Severity.ERROR)]
    used = {
        "provider": routed.provider,
        "model": routed.model,
        "degraded": routed.degraded,
        "input_tokens": routed.input_tokens,
        "output_tokens": routed.output_tokens,
        "cost_usd": routed.cost_micros / MICROS,
    }
    said = [say("ai.provider.used", {**used, **common})]
    if routed.unlucky:
        payload = {
            "successful_provider": routed.provider,
            "failed_providers": [attempt.provider for attempt in routed.unlucky],
            "intent": intent,
            "latency_ms": routed.latency_ms,
            "degraded": routed.degraded,
        }
        said.append(say("ai.fallback.used", payload, Severity.WARNING))
    if summary:
        made = {"intent": intent, "provider": routed.provider, "degraded": routed.degraded}
        said.append(say("ai.summary.created", made))
    return said
