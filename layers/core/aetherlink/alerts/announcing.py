"""Telling people: once an alert begins, and once it ends; or not, and then why.

The relay asks when it meets `ops.alert.raised|resolved` on the stream; the sweep asks again for what
was muted. What nobody was told of needs no all-clear: who got the trigger gets the resolve, and
nobody else does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from aetherlink.alerts.episode import Episode, Mute, State
from aetherlink.alerts.silence import Silence, first_cover
from aetherlink.events.model import Event, Severity, announce
from aetherlink.kernel.ids import tenant_of, token_of
from aetherlink.kernel.tenancy import SYSTEM, TenantId
from aetherlink.kernel.time import to_text
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

SOURCE = "aether-command-center"
# How long an alert about a service waits for one about something that it depends on.
DEPENDENCY_WAIT = timedelta(seconds=10)
_RANKS = {Severity.INFO: 0, Severity.WARNING: 1, Severity.ERROR: 2, Severity.CRITICAL: 3}
# A silence, then what explains it, then the waiting for that.
SILENCE, INHIBITION, HELD = "silence", "inhibition", "held"


class Episodes(Protocol):
    def get(self, tenant_id: TenantId, episode_id: str) -> Episode | None: ...
    def open_of(self, tenant_id: TenantId) -> list[Episode]: ...
    def mute(self, episode: Episode, mute: Mute) -> None: ...
    def tell(self, episode: Episode, at: datetime) -> None: ...
    def forget_mute(self, episode_id: str) -> None: ...
    def muted(self) -> list[str]: ...


class Silences(Protocol):
    def of(self, tenant_id: TenantId) -> list[Silence]: ...
    def ending(self, now: datetime) -> Iterable[Silence]: ...
    def notice(self, silence: Silence, announcing: Event) -> None: ...


class Dependencies(Protocol):
    """What a tenant's services depend on, by the name of the service."""

    def __call__(self, tenant_id: TenantId) -> Mapping[str, Sequence[str]]: ...


class Stored(Protocol):
    def find(self, tenant_id: TenantId, event_id: str, source: str) -> Event | None: ...


class Announcer:
    def __init__(
        self,
        *,
        episodes: Episodes,
        silences: Silences,
        dependencies: Dependencies,
        events: Stored,
        publish: Callable[[Event], None],
        alarm: Callable[[datetime], None],
        now: Callable[[], datetime],
    ) -> None:
        self._episodes = episodes
        self._silences = silences
        self._dependencies = dependencies
        self._events = events
        self._publish = publish
        self._alarm = alarm
        self._now = now

    def __call__(self, event: Event) -> None:
        """Tell people of an alert's event, if they are to know now. May be called any number of times
        for the same event: what was told is told again, and the delivery drops it."""
        episode_id = str(event.payload.get("episode_id", ""))
        tenant = tenant_of(episode_id)
        episode = self._episodes.get(tenant, episode_id) if tenant else None
        if episode is None:
            # One of an earlier release, or erased meanwhile.
            self._publish(event)
        elif event.event_type == "ops.alert.raised":
            self._raised(event, episode)
        elif episode.notified_at:
            self._publish(event)
        else:
            self._episodes.forget_mute(episode.id)
            logger.info("nobody knew of this alert", episode_id=episode.id)

    def revisit(self) -> int:
        """Ask again for everything that is muted, and give notice of silences that end; how many."""
        muted = self._episodes.muted()
        for episode_id in muted:
            self._reconsider(episode_id)
        for silence in self._silences.ending(self._now()):
            self._give_notice(silence)
        return len(muted)

    def why_muted(self, episode: Episode) -> Mute | None:
        """Why people are not to hear of it now; None if they are."""
        now = self._now()
        known = [
            silence
            for owner in dict.fromkeys((episode.tenant_id, SYSTEM))
            for silence in self._silences.of(owner)
        ]
        silence = first_cover(known, episode, now)
        if silence:
            return Mute(kind=SILENCE, by=silence.id, reason=silence.reason, since=now)
        return self._explained(episode, now)

    def _raised(self, event: Event, episode: Episode) -> bool:
        """Whether people are told of it, now or before."""
        if episode.notified_at is None:
            if episode.muted and episode.state is State.RESOLVED:
                # Nobody heard of it while it fired, and nobody is to hear of it now.
                return False
            mute = self.why_muted(episode)
            if mute:
                self._keep_quiet(episode, mute)
                return False
            # First noted, then told: a crash in between tells it when the record comes again.
            self._episodes.tell(episode, self._now())
            # From here on the record of its end finds that it was told; one before did not.
            episode = self._episodes.get(episode.tenant_id, episode.id) or episode
        self._publish(event)
        if episode.state is State.RESOLVED:
            # That record may have come first: shards of a stream keep no order between them.
            end = self._events.find(episode.tenant_id, f"{episode.id}.resolved", SOURCE)
            if end:
                self._publish(end)
        return True

    def _keep_quiet(self, episode: Episode, mute: Mute) -> None:
        if episode.muted and (episode.muted.kind, episode.muted.by) == (mute.kind, mute.by):
            return
        self._episodes.mute(episode, mute)
        if mute.kind == HELD:
            self._alarm(mute.since + DEPENDENCY_WAIT)

    def _reconsider(self, episode_id: str) -> None:
        tenant = tenant_of(episode_id)
        episode = self._episodes.get(tenant, episode_id) if tenant else None
        if episode is None or episode.state is not State.FIRING:
            self._episodes.forget_mute(episode_id)
            return
        event = self._events.find(episode.tenant_id, f"{episode.id}.raised", SOURCE)
        if event and self._raised(event, episode):
            # Not before it is published: no record will come again that could tell it.
            self._episodes.forget_mute(episode_id)

    def _explained(self, episode: Episode, now: datetime) -> Mute | None:
        """By an alert about something that its service depends on, of at least its severity."""
        if not episode.service:
            return None
        depends_on = self._dependencies(episode.tenant_id)
        # Services in a circle explain nothing to each other: else each would silence the next.
        upstream = {
            name
            for name in beneath(depends_on, episode.service)
            if episode.service not in beneath(depends_on, name)
        }
        if not upstream:
            return None
        # Of a chain of causes the one that people heard of says most.
        others = sorted(
            self._episodes.open_of(episode.tenant_id), key=lambda other: other.notified_at is None
        )
        for other in others:
            is_worse = _RANKS[other.severity] >= _RANKS[episode.severity]
            is_cause = other.state is State.FIRING and other.service in upstream and is_worse
            if is_cause and other.id != episode.id:
                reason = (
                    f"{episode.service} depends on {other.service}, whose alert "
                    f"'{other.rule_name}' is firing"
                )
                return Mute(kind=INHIBITION, by=other.id, reason=reason, since=now)
        held = episode.muted if episode.muted and episode.muted.kind == HELD else None
        since = held.since if held else now
        if episode.notified_at or now - since >= DEPENDENCY_WAIT:
            return None
        reason = (
            f"waiting {DEPENDENCY_WAIT.seconds} s whether something that {episode.service} depends "
            "on fails too"
        )
        return Mute(kind=HELD, by="", reason=reason, since=since)

    def _give_notice(self, silence: Silence) -> None:
        now = self._now()
        muted = [e for e in self._episodes.open_of(silence.tenant_id) if silence.covers(e)]
        event = announce(
            "ops.alert.silence.ending",
            source=SOURCE,
            tenant_id=silence.tenant_id,
            payload={
                "silence_id": silence.id,
                "reason": silence.reason,
                "created_by": silence.created_by,
                "ends_at": to_text(silence.ends_at),
                "alerts_muted": len(muted),
            },
            now=now,
            # One that is prolonged ends anew.
            event_id=f"{token_of(silence.id)}.{int(silence.ends_at.timestamp())}.ending",
            severity=Severity.WARNING,
        )
        self._silences.notice(silence.model_copy(update={"noticed_at": now}), event)


class Topic(Protocol):
    def publish(self, message: str, *, subject: str, attributes: dict[str, str]) -> None: ...


def beneath(depends_on: Mapping[str, Sequence[str]], service: str) -> frozenset[str]:
    """Everything that a service depends on, however far down. A circle ends where it began."""
    found: set[str] = set()
    waiting = list(depends_on.get(service, ()))
    while waiting:
        name = waiting.pop()
        if name not in found and name != service:
            found.add(name)
            waiting += depends_on.get(name, ())
    return frozenset(found)
