"""AI work as callers ask for it: intents, chats, and what providers and tenants come to."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from aetherlink.ai import checks, telling
from aetherlink.ai.budget import Budget
from aetherlink.ai.descriptor import Check
from aetherlink.ai.model import MICROS, Judged, Prompt, Said, Speaker, Trouble
from aetherlink.ai.router import Task, earliest
from aetherlink.ai.rules import RULES
from aetherlink.kernel.errors import (
    Flaw,
    InvalidError,
    NotFoundError,
    TooManyRequestsError,
    UnavailableError,
    UnprocessableError,
    UpstreamError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aetherlink.ai.breaker import Breaker
    from aetherlink.ai.cache import Cache
    from aetherlink.ai.descriptor import Capability, Descriptor, Provider, Ranks
    from aetherlink.ai.draft import ChatDraft, LeadText, OrchestrateDraft
    from aetherlink.ai.model import Attempt, Routed
    from aetherlink.ai.purse import Purse
    from aetherlink.ai.router import Router
    from aetherlink.events.model import Event
    from aetherlink.events.schemas import Validator
    from aetherlink.kernel.tenancy import Caller, TenantId

CHAT = "chat"
LEAD = "extract-lead"
# A payload may hold lists; its text as a whole has this limit.
MAX_PAYLOAD_BYTES = 60_000


class Standing(Protocol):
    @property
    def ai_usd_per_day(self) -> float | None: ...
    @property
    def ai_cache_seconds(self) -> int: ...
    @property
    def is_known(self) -> bool: ...


class Kept(Protocol):
    """The breakers, for who looks at them."""

    def read(self, names: list[str]) -> dict[str, Breaker]: ...
    def reset(self, name: str) -> Breaker: ...


class Events(Protocol):
    def add(self, event: Event) -> Event | None: ...


class AllFailedError(UpstreamError):
    """Every provider that could be asked failed."""

    title = "All AI providers failed"

    def __init__(self, routed: Routed, intent: str) -> None:
        super().__init__("; ".join(f"{a.provider}: {a.said}" for a in routed.attempts))
        self._routed = routed
        self._intent = intent

    @property
    def extensions(self) -> dict[str, Any]:
        return _told(self._routed, self._intent)


class AllOpenError(UnavailableError):
    """Nobody was asked, since everybody is left alone at the moment."""

    title = "All AI providers are left alone"

    def __init__(self, routed: Routed, intent: str) -> None:
        seconds = int(earliest(routed.attempts) / timedelta(seconds=1))
        said = "; ".join(f"{a.provider}: {a.said}" for a in routed.attempts)
        super().__init__(f"Try again in {seconds} s. {said}", seconds)
        self._routed = routed
        self._intent = intent

    @property
    def extensions(self) -> dict[str, Any]:
        return _told(self._routed, self._intent)


class Orchestrator:
    def __init__(
        self,
        descriptor: Descriptor,
        ranks: Ranks,
        router: Router,
        *,
        purse: Purse,
        cache: Cache,
        events: Events,
        breakers: Kept,
        standing_of: Callable[[str], Standing],
        validator: Callable[[Mapping[str, Any]], Validator],
        daily_budget_usd: float,
        now: Callable[[], datetime],
    ) -> None:
        self._descriptor = descriptor
        self._ranks = ranks
        self._router = router
        self._purse = purse
        self._cache = cache
        self._events = events
        self._breakers = breakers
        self._standing_of = standing_of
        self._validator = validator
        self._daily_budget_usd = daily_budget_usd
        self._now = now

    # ---- work

    def orchestrate(self, caller: Caller, draft: OrchestrateDraft) -> dict[str, Any]:
        """Do what `intent` names, by whoever of the providers can."""
        tenant = caller.writes(draft.tenant_id)
        capability = self._descriptor.intent(draft.intent)
        if capability is None or not capability.input:
            known = ", ".join(n for n, c in self._descriptor.capabilities.items() if c.input)
            raise InvalidError(f"Unknown intent: {draft.intent}. Known are {known}")
        return self._answer(caller, tenant, capability, draft.payload)

    def extract_lead(self, caller: Caller, draft: LeadText) -> dict[str, Any]:
        """The lead in a text; every field always there, null where the text does not say."""
        tenant = caller.writes(draft.tenant_id)
        capability = self._descriptor.capabilities[LEAD]
        answer = self._answer(caller, tenant, capability, {"raw_text": draft.raw_text})
        return {
            **answer["result"],
            "provider": answer["provider"],
            "degraded": answer["degraded"],
        }

    def chat(self, caller: Caller, draft: ChatDraft) -> dict[str, Any]:
        """A conversation's next turn, in OpenAI's words."""
        tenant = caller.writes()
        system = [m.text for m in draft.messages if m.role in ("system", "developer")]
        turns = [
            Said(Speaker.ASSISTANT if m.role == "assistant" else Speaker.USER, m.text)
            for m in draft.messages
            if m.role in ("user", "assistant")
        ]
        stop = [draft.stop] if isinstance(draft.stop, str) else draft.stop or []
        capability = self._descriptor.capabilities[CHAT]
        prompt = Prompt(
            system="\n\n".join(system),
            turns=tuple(turns),
            max_tokens=draft.max_completion_tokens or draft.max_tokens or capability.max_tokens,
            temperature=draft.temperature,
            top_p=draft.top_p,
            stop=tuple(stop),
        )
        wanted = next((p for p in self._providers() if draft.model in (p.name, p.model)), None)
        task = Task(
            tenant,
            self._purse.day(),
            CHAT,
            prompt,
            judge=lambda text: checks.judge(Check.NONE, None, {}, text),
            first=wanted.name if wanted else "",
        )
        routed = self._run(caller, capability, task)
        completion = routed.completion
        now = self._now()
        return {
            "id": f"chatcmpl-{caller.trace_id or int(now.timestamp() * 1000)}",
            "object": "chat.completion",
            "created": int(now.timestamp()),
            "model": routed.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": routed.result, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "length" if completion and completion.is_cut else "stop",
                }
            ],
            "usage": {
                "prompt_tokens": routed.input_tokens,
                "completion_tokens": routed.output_tokens,
                "total_tokens": routed.input_tokens + routed.output_tokens,
            },
            "provider": routed.provider,
            "attempts": [attempt.shown() for attempt in routed.attempts],
        }

    def models(self) -> list[dict[str, Any]]:
        """What a chat may name, in OpenAI's words."""
        return [
            {
                "id": p.name,
                "object": "model",
                "created": 0,
                "owned_by": str(p.type),
                "model": p.model,
            }
            for p in self._providers()
            if p.can(CHAT)
        ]

    def _answer(
        self, caller: Caller, tenant: TenantId, capability: Capability, payload: Mapping[str, Any]
    ) -> dict[str, Any]:
        self._check_input(capability, payload)
        standing = self._standing_of(tenant)
        key = ""
        if standing.ai_cache_seconds:
            from aetherlink.ai.cache import key_of  # noqa: PLC0415 - few tenants want it

            key = key_of(capability, payload)
            known = self._cache.get(tenant, key)
            if known:
                self._purse.count_cached(tenant, capability.name)
                return {**known, "cached": True, "latency_ms": 0, "attempts": []}
        output = self._validator(capability.output) if capability.output else None
        rules = RULES.get(capability.name)
        task = Task(
            tenant,
            self._purse.day(),
            capability.name,
            _prompt(capability, payload),
            judge=lambda text: _judged(capability.check, output, payload, text),
            by_rule=(lambda: checks.ruled(capability.check, payload, rules(payload)))
            if rules
            else None,
        )
        routed = self._run(caller, capability, task)
        answer = {
            "status": "ok",
            "intent": capability.name,
            "provider": routed.provider,
            "used_provider": routed.provider,
            "model": routed.model,
            "latency_ms": routed.latency_ms,
            "result": routed.result,
            "attempts": [attempt.shown() for attempt in routed.attempts],
            "degraded": routed.degraded,
            "cached": False,
        }
        if key and not routed.degraded:
            self._cache.put(tenant, key, answer, standing.ai_cache_seconds)
        return answer

    def _run(self, caller: Caller, capability: Capability, task: Task) -> Routed:
        """Route it, count it, say so; raises where nobody answered."""
        if not self._router.able(capability.name):
            raise UnavailableError(
                f"No AI provider is set up for {capability.name}: parameter ProviderOrder names them",
                60,
            )
        budget = self._budget(task.tenant)
        routed, owed = self._router.run(task, budget)
        self._purse.settle(task.tenant, task.day, capability.name, routed, committed=owed)
        said = telling.events(
            routed,
            capability.name,
            task.tenant,
            self._now(),
            by=caller.subject,
            trace_id=caller.trace_id,
            summary=capability.summarises,
        )
        for event in said:
            self._events.add(event)
        if routed.provider:
            return routed
        troubles = {attempt.trouble for attempt in routed.attempts} - {Trouble.UNCONFIGURED}
        if troubles and troubles <= {Trouble.OPEN, Trouble.DEADLINE}:
            raise AllOpenError(routed, capability.name)
        if Trouble.BUDGET in troubles and troubles <= {Trouble.BUDGET, Trouble.OPEN}:
            raise self._spent(task.tenant, budget)
        raise AllFailedError(routed, capability.name)

    def _spent(self, tenant: TenantId, budget: Budget) -> TooManyRequestsError:
        now = self._now()
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        limit = (budget.limit_micros or 0) / MICROS
        return TooManyRequestsError(
            f"Tenant '{tenant}' may spend {limit:g} USD a day on AI work, and this call does not fit into "
            "what is left of today's; PUT /tenants/{tenant_id} changes it (limits.ai_usd_per_day)",
            int((midnight - now).total_seconds()) + 1,
        )

    def _budget(self, tenant: TenantId) -> Budget:
        """Raises UnavailableError where nobody knows what may be spent: then nothing is."""
        standing = self._standing_of(tenant)
        if not standing.is_known:
            raise UnavailableError("The tenant's AI budget could not be read; try again", 5)
        own = standing.ai_usd_per_day
        if own is None:
            usd = self._daily_budget_usd
            return Budget(round(usd * MICROS) if usd > 0 else None)
        return Budget(round(own * MICROS))

    def _check_input(self, capability: Capability, payload: Mapping[str, Any]) -> None:
        flaws = self._validator(capability.input).flaws(payload)
        if flaws:
            raise UnprocessableError(flaws)
        size = len(json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace"))
        if size > MAX_PAYLOAD_BYTES:
            raise UnprocessableError(
                (Flaw("/payload", f"may have {MAX_PAYLOAD_BYTES:,} bytes, has {size:,}"),)
            )

    # ---- providers and tenants

    def health(self) -> dict[str, Any]:
        """How each provider of the order fares, for all tenants together."""
        names = [provider.name for provider in self._providers()]
        kept, now = self._breakers.read(names), self._now()
        shown = {}
        for provider in self._providers():
            shown[provider.name] = {
                **kept[provider.name].shown(now),
                "type": str(provider.type),
                "model": provider.model or None,
            }
        return shown

    def reset(self, caller: Caller, name: str) -> dict[str, Any]:
        """Close a provider's breaker: it is asked again at once."""
        if name not in {provider.name for provider in self._providers()}:
            raise NotFoundError(f"Provider '{name[:64]}' not found")
        before = self._breakers.read([name])[name].shown(self._now())
        after = self._breakers.reset(name).shown(self._now())
        caller.trail.changed(
            f"providers/{name}",
            before={"state": before["state"]},
            after={"state": after["state"]},
        )
        return {"provider": name, **after}

    def usage(self, tenant: TenantId, days: int) -> dict[str, Any]:
        return self._purse.usage(tenant, days, self._budget(tenant))

    def _providers(self) -> list[Provider]:
        return [provider for rank in self._ranks for provider in rank]


def _judged(
    check: Check, output: Validator | None, payload: Mapping[str, Any], text: str
) -> Judged:
    return checks.judge(check, output, payload, text)


def _prompt(capability: Capability, payload: Mapping[str, Any]) -> Prompt:
    """Instructions in one place, data in another: what people wrote is quoted as JSON within marks that
    it cannot contain."""
    data = json.dumps(payload, ensure_ascii=False).replace("<", "\\u003c")
    system = capability.system.strip()
    if capability.output:
        schema = json.dumps(capability.output, ensure_ascii=False, separators=(",", ":"))
        system += f"\n\nAnswer with one JSON object of this JSON Schema and nothing else:\n{schema}"
    return Prompt(
        system=system,
        turns=(Said(Speaker.USER, f"<data>\n{data}\n</data>"),),
        max_tokens=capability.max_tokens,
        schema=capability.output,
    )


def _told(routed: Routed, intent: str) -> dict[str, Any]:
    return {
        "errors": [_error(attempt) for attempt in routed.attempts],
        "provider_order": list(routed.order),
        "latency_ms": routed.latency_ms,
        "intent": intent,
        "attempts": [attempt.shown() for attempt in routed.attempts],
    }


def _error(attempt: Attempt) -> dict[str, Any]:
    return {
        "provider": attempt.provider,
        "error": attempt.said,
        "error_class": str(attempt.trouble) if attempt.trouble else None,
        "status": attempt.status,
    }
