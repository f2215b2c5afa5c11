"""Taking in what other systems say is wrong: each incident one alert, opened once and closed once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from aetherlink.alerts.episode import Acknowledgement
from aetherlink.ingest.incident import Incident, Signal, completed, decide, heard, told
from aetherlink.kernel.errors import UnavailableError
from aetherlink.kernel.ids import digest
from aetherlink.platform.boundary import spread
from aetherlink.platform.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from typing import Any

    from aetherlink.alerts.episode import Episode, Told
    from aetherlink.events.model import Event
    from aetherlink.kernel.tenancy import TenantId

_ATTEMPTS = 8
# One webhook of Alertmanager may bring hundreds of alerts, and has 29 seconds for its answer.
_WORKERS = 8


class Incidents(Protocol):
    def get(self, tenant: TenantId, name: str) -> Incident | None: ...
    def commit(
        self,
        earlier: Incident | None,
        changed: Incident,
        told: Sequence[Told],
        heard: Event | None,
        also: Sequence[dict[str, Any]] = (),
    ) -> bool: ...


class Episodes(Protocol):
    def get(self, tenant_id: TenantId, episode_id: str) -> Episode | None: ...
    def acknowledge(self, episode: Episode, given: Acknowledgement | None) -> bool: ...


class Intake:
    def __init__(
        self, incidents: Incidents, episodes: Episodes, now: Callable[[], datetime]
    ) -> None:
        self._incidents = incidents
        self._episodes = episodes
        self._now = now

    def take_all(self, tenant: TenantId, signals: Iterable[Signal]) -> Counter[str]:
        """What came of the signals, by what `take` says of each; all of them, or an error and the
        sender tries again: what was done already is done once."""
        return Counter(spread(lambda each: self.take(tenant, each), signals, workers=_WORKERS))

    def take(self, tenant: TenantId, signal: Signal) -> str:
        """`opened`, `closed` or `acknowledged`; `unknown` for the end of what never began; else
        `known`. Raises UnavailableError if the incident changes under every attempt."""
        for _ in range(_ATTEMPTS):
            done = self.attempt(tenant, signal)
            if done:
                return done
        raise UnavailableError("Too many signals of the same incident at once; send it again")

    def attempt(
        self, tenant: TenantId, signal: Signal, also: Sequence[dict[str, Any]] = ()
    ) -> str | None:
        """The same, once: None if somebody was faster. `also` are writes that are done with the
        change, or not at all."""
        now = self._now()
        name = digest(signal.sender, signal.key, length=32)
        earlier = self._incidents.get(tenant, name)
        if signal.action == "acknowledged":
            return self._acknowledged(earlier, signal, now)
        changed = decide(earlier, tenant, signal, now)
        if changed is None and also:
            changed = earlier
        if changed is None:
            return "known"
        episode = self._episode(earlier) if signal.action == "resolved" else None
        whole = completed(signal, episode)
        is_change = changed is not earlier
        stored = self._incidents.commit(
            earlier,
            changed,
            told(changed, whole, episode, now) if is_change else [],
            heard(changed, whole, now) if is_change and changed.episode_id else None,
            also,
        )
        return _word(signal, changed, is_change=is_change) if stored else None

    def _acknowledged(self, incident: Incident | None, signal: Signal, now: datetime) -> str | None:
        episode = self._episode(incident) if incident and incident.is_open else None
        if episode is None:
            return "unknown"
        if episode.acknowledged is None:
            given = Acknowledgement(by=signal.by or signal.sender, at=now, note=signal.reason)
            self._episodes.acknowledge(episode, given)
        return "acknowledged"

    def _episode(self, incident: Incident | None) -> Episode | None:
        if incident is None or incident.episode_id is None:
            return None
        return self._episodes.get(incident.tenant_id, incident.episode_id)


def _word(signal: Signal, incident: Incident, *, is_change: bool) -> str:
    if not is_change:
        return "known"
    if signal.action == "firing":
        return "opened"
    if incident.episode_id is None:
        logger.info("the end of an incident that never began", sender=signal.sender)
        return "unknown"
    return "closed"
