"""What people do with alerts: look at them, take them in hand, and silence them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field, field_validator

from aetherlink.alerts.episode import Acknowledgement, Episode, Mute, State
from aetherlink.alerts.silence import LONGEST, Silence, SilenceDraft
from aetherlink.kernel.errors import (
    ConflictError,
    Flaw,
    InvalidError,
    NotFoundError,
    UnprocessableError,
)
from aetherlink.kernel.ids import new_tenant_bound, tenant_of
from aetherlink.kernel.paging import decode_cursor, encode_cursor
from aetherlink.kernel.shape import Given
from aetherlink.kernel.tenancy import SYSTEM, Caller, TenantId
from aetherlink.kernel.time import parse_instant

if TYPE_CHECKING:
    from collections.abc import Callable

# Pages of a filter that fits nothing end after so many episodes, with a cursor.
EXAMINED = 1_000
_PAGE = 200


class Episodes(Protocol):
    def get(self, tenant_id: TenantId, episode_id: str) -> Episode | None: ...
    def open_of(self, tenant_id: TenantId) -> list[Episode]: ...
    def open_page(
        self, view: TenantId | None, *, after: str, limit: int
    ) -> tuple[list[Episode], str | None]: ...
    def past_page(
        self, view: TenantId | None, *, before: str, limit: int
    ) -> tuple[list[Episode], str | None]: ...
    def acknowledge(self, episode: Episode, given: Acknowledgement | None) -> bool: ...


class Silences(Protocol):
    def put(self, silence: Silence) -> None: ...
    def get(self, tenant_id: TenantId, silence_id: str) -> Silence | None: ...
    def delete(self, silence: Silence) -> None: ...
    def of(self, tenant_id: TenantId) -> list[Silence]: ...
    def all(self) -> list[Silence]: ...


class AckDraft(Given):
    """The body of POST /alerts/{id}/ack; may be empty."""

    note: str = Field(default="", max_length=1000)
    until: datetime | None = Field(default=None, description="Absent: until it is resolved")
    expires_in_seconds: int | None = Field(default=None, gt=0, le=30 * 86_400)

    @field_validator("until", mode="before")
    @classmethod
    def _instant(cls, given: object) -> object:
        return parse_instant(given) if isinstance(given, str) else given


@dataclass(frozen=True)
class Filters:
    state: Literal["pending", "firing", "resolved"] | None = None
    rule_id: str | None = None
    severity: str | None = None
    acknowledged: bool | None = None

    def admit(self, episode: Episode) -> bool:
        return (
            self.state in (None, str(episode.state))
            and self.rule_id in (None, episode.rule_id)
            and self.severity in (None, str(episode.severity))
            and self.acknowledged in (None, episode.acknowledged is not None)
        )


class People:
    def __init__(
        self,
        episodes: Episodes,
        silences: Silences,
        *,
        why_muted: Callable[[Episode], Mute | None],
        alarm: Callable[[datetime], None],
        now: Callable[[], datetime],
    ) -> None:
        self._episodes = episodes
        self._silences = silences
        self.why_muted = why_muted
        self._alarm = alarm
        self._now = now

    # ---- alerts

    def alerts(
        self, view: TenantId | None, filters: Filters, *, limit: int, cursor: str | None
    ) -> dict[str, Any]:
        """A page of alerts: the open ones first, then what is over, newest first."""
        question = ("alerts", view or "*", repr(filters))
        position = decode_cursor(cursor, *question) if cursor else "open:"
        phase, colon, key = position.partition(":")
        if phase not in ("open", "past") or not colon:
            raise InvalidError("This cursor is none of this list; start without one")
        found: list[Episode] = []
        examined, end = 0, position
        while end and len(found) < limit and examined < EXAMINED:
            phase, _, key = end.partition(":")
            size = min(_PAGE, limit - len(found))
            episodes, last = self._page(phase, view, filters, key, size)
            examined += max(len(episodes), 1)
            found += [e for e in episodes if filters.admit(e)]
            end = f"{phase}:{last}" if last else ("past:" if phase == "open" else "")
        cursor = encode_cursor(end, *question) if end else None
        shown = [episode.shown() for episode in found]
        return {"status": "ok", "count": len(shown), "alerts": shown, "next_cursor": cursor}

    def _page(
        self, phase: str, view: TenantId | None, filters: Filters, key: str, size: int
    ) -> tuple[list[Episode], str | None]:
        if phase == "open":
            if filters.state == "resolved":
                return [], None
            return self._episodes.open_page(view, after=key, limit=size)
        if filters.state in ("pending", "firing"):
            return [], None
        episodes, last = self._episodes.past_page(view, before=key, limit=size)
        # A tenant's own history has the open ones too, which were shown already.
        return [e for e in episodes if e.state is State.RESOLVED], last

    def alert(self, caller: Caller, alert_id: str) -> dict[str, Any]:
        """One alert, with what mutes it at this moment."""
        episode = self._episode(caller, alert_id)
        mute = self.why_muted(episode) if episode.state is State.FIRING else None
        return {
            **episode.shown(),
            "muted_now": mute and {"kind": mute.kind, "by": mute.by, "reason": mute.reason},
        }

    def acknowledge(self, caller: Caller, alert_id: str, draft: AckDraft) -> dict[str, Any]:
        """Somebody takes it in hand. Again, or by another: the latest counts."""
        episode, now = self._episode(caller, alert_id), self._now()
        until = draft.until
        if draft.expires_in_seconds:
            until = now + timedelta(seconds=draft.expires_in_seconds)
        if until and until <= now:
            raise UnprocessableError((Flaw("/until", "must be in the future"),))
        given = Acknowledgement(by=caller.subject, at=now, until=until, note=draft.note)
        return self._acknowledged(caller, episode, given)

    def release(self, caller: Caller, alert_id: str) -> dict[str, Any]:
        """Nobody has it in hand any more."""
        return self._acknowledged(caller, self._episode(caller, alert_id), None)

    def _acknowledged(
        self, caller: Caller, episode: Episode, given: Acknowledgement | None
    ) -> dict[str, Any]:
        caller.writes(episode.tenant_id if episode.tenant_id != caller.tenant_id else None)
        if not self._episodes.acknowledge(episode, given):
            raise ConflictError(f"Alert {episode.id} is resolved; there is nothing to take in hand")
        changed = episode.model_copy(update={"acknowledged": given})
        caller.trail.changed(
            f"alert/{episode.id}",
            before={"acknowledged": episode.shown()["acknowledged"]},
            after={"acknowledged": changed.shown()["acknowledged"]},
        )
        return changed.shown()

    def _episode(self, caller: Caller, alert_id: str) -> Episode:
        tenant = tenant_of(alert_id)
        if tenant and caller.may_act_for(tenant):
            episode = self._episodes.get(tenant, alert_id)
            if episode:
                return episode
        raise NotFoundError(f"Alert {alert_id[:128]} not found")

    # ---- silences

    def silence(self, caller: Caller, draft: SilenceDraft) -> dict[str, Any]:
        tenant, now = caller.writes(draft.tenant_id), self._now()
        silence = self._drawn_up(caller, draft, new_tenant_bound(tenant), tenant, now)
        self._silences.put(silence)
        caller.trail.changed(f"silence/{silence.id}", after=silence.shown(now))
        return silence.shown(now)

    def change_silence(
        self, caller: Caller, silence_id: str, draft: SilenceDraft
    ) -> dict[str, Any]:
        earlier, now = self._silence(caller, silence_id), self._now()
        changed = self._drawn_up(caller, draft, earlier.id, earlier.tenant_id, now)
        changed = changed.model_copy(
            update={"created_by": earlier.created_by, "created_at": earlier.created_at}
        )
        self._silences.put(changed)
        self._alarm(now)
        caller.trail.changed(
            f"silence/{earlier.id}", before=earlier.shown(now), after=changed.shown(now)
        )
        return changed.shown(now)

    def lift(self, caller: Caller, silence_id: str) -> str:
        """End a silence: whoever it kept from hearing hears now."""
        silence, now = self._silence(caller, silence_id), self._now()
        self._silences.delete(silence)
        self._alarm(now)
        caller.trail.changed(f"silence/{silence.id}", before=silence.shown(now))
        return silence.id

    def silences(self, view: TenantId | None, *, expired: bool) -> list[dict[str, Any]]:
        """Those of the view and of the platform, the soonest to end first."""
        now = self._now()
        found = (
            self._silences.all()
            if view is None
            else [s for owner in dict.fromkeys((view, SYSTEM)) for s in self._silences.of(owner)]
        )
        kept = [s for s in found if expired or s.state(now) != "expired"]
        return [
            s.shown(now) for s in sorted(kept, key=lambda silence: (silence.ends_at, silence.id))
        ]

    def one_silence(self, caller: Caller, silence_id: str) -> dict[str, Any]:
        silence, now = self._silence(caller, silence_id, reading=True), self._now()
        return {**silence.shown(now), "mutes": self._muted_by(caller, silence)}

    def preview(self, caller: Caller, draft: SilenceDraft) -> dict[str, Any]:
        """What a silence would mute at this moment, without making it."""
        tenant = caller.writes(draft.tenant_id)
        now = self._now()
        silence = self._drawn_up(caller, draft, "preview", tenant, now)
        muted = self._muted_by(caller, silence)
        return {"active_now": silence.is_active(now), "count": len(muted), "alerts": muted}

    def _muted_by(self, caller: Caller, silence: Silence) -> list[dict[str, Any]]:
        if silence.tenant_id != SYSTEM:
            episodes = self._episodes.open_of(silence.tenant_id)
        elif caller.cross_tenant:
            episodes = self._episodes.open_page(None, after="", limit=_PAGE)[0]
        else:
            # The platform's silences mute every tenant's alerts; each sees its own among them.
            episodes = self._episodes.open_of(caller.home)
        return [e.shown() for e in episodes if silence.covers(e)]

    def _silence(self, caller: Caller, silence_id: str, *, reading: bool = False) -> Silence:
        tenant = tenant_of(silence_id)
        may_see = tenant is not None and (
            caller.may_act_for(tenant) or (reading and tenant == SYSTEM)
        )
        silence = self._silences.get(tenant, silence_id) if tenant and may_see else None
        if silence is None:
            raise NotFoundError(f"Silence {silence_id[:128]} not found")
        if not reading:
            caller.writes(silence.tenant_id if silence.tenant_id != caller.tenant_id else None)
        return silence

    def _drawn_up(
        self,
        caller: Caller,
        draft: SilenceDraft,
        silence_id: str,
        tenant: TenantId,
        now: datetime,
    ) -> Silence:
        starts = draft.starts_at or now
        if draft.ends_at <= max(now, starts):
            raise UnprocessableError((Flaw("/ends_at", "must be in the future, after starts_at"),))
        if draft.ends_at - starts > LONGEST:
            raise UnprocessableError(
                (Flaw("/ends_at", f"may be {LONGEST.days} days after the start at most"),)
            )
        if all(m.op in ("!=", "not like") or not m.value.strip("*") for m in draft.matchers):
            # A silence of everything is how real alerts get lost.
            raise UnprocessableError(
                (Flaw("/matchers", "one of them must say what is meant, with = or like"),)
            )
        return Silence(
            **draft.model_dump(exclude={"tenant_id", "starts_at"}),
            id=silence_id,
            tenant_id=tenant,
            starts_at=starts,
            created_by=caller.subject,
            created_at=now,
        )
