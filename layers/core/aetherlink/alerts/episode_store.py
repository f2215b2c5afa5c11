"""Episodes and silences in the control table, as people read and change them.

    pk  <tenant>#episodes   sk  <token of the id>   kind  episode-open | episode
    pk  <tenant>#muted      sk  <token of the id>   kind  alert-muted       nobody was told yet
    pk  <tenant>#silences   sk  <token of the id>   kind  silence

alerts/store.py writes what the machine says of an episode; here is what people, and the announcing,
say of it. They are different attributes, so neither overwrites the other.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from aetherlink.alerts.silence import Silence
from aetherlink.alerts.store import to_episode
from aetherlink.kernel.ids import tenant_of, token_of
from aetherlink.kernel.time import to_text
from aetherlink.platform.dynamo import ConditionFailedError, Item, Table, transact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from aetherlink.alerts.episode import Acknowledgement, Episode, Mute
    from aetherlink.events.model import Event
    from aetherlink.events.store import EventStore
    from aetherlink.kernel.tenancy import TenantId


class EpisodeStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, tenant_id: TenantId, episode_id: str) -> Episode | None:
        item = self._table.get(f"{tenant_id}#episodes", token_of(episode_id))
        return to_episode(item) if item and item.get("episode_id") == episode_id else None

    def open_of(self, tenant_id: TenantId) -> list[Episode]:
        """A tenant's pending and firing ones; a moment behind on AWS (an index)."""
        found = self._table.query_all(
            "kind = :kind AND begins_with(kind_key, :tenant)",
            index="by_kind",
            kind="episode-open",
            tenant=f"{tenant_id}#",
        )
        return [to_episode(item) for item in found]

    def open_page(
        self, view: TenantId | None, *, after: str, limit: int
    ) -> tuple[list[Episode], str | None]:
        """Open ones, by tenant and then oldest first; and where the next page begins."""
        if view is None:
            condition, values = "kind = :kind AND kind_key > :after", {"after": after or " "}
        else:
            condition = "kind = :kind AND kind_key BETWEEN :after AND :last"
            # Whoever makes a cursor up must not begin before its own tenant's.
            values = {"after": max(after, f"{view}#") + "\x00", "last": f"{view}#~"}
        items, more = self._table.query_up(
            condition, index="by_kind", limit=limit, kind="episode-open", **values
        )
        end = str(items[-1]["kind_key"]) if more and items else None
        return [to_episode(item) for item in items], end

    def past_page(
        self, view: TenantId | None, *, before: str, limit: int
    ) -> tuple[list[Episode], str | None]:
        """Those that are over, and of one tenant the open ones too, newest first."""
        top = before or "~"
        if view is None:
            items, more = self._table.query_down(
                "kind = :kind AND kind_key < :top",
                index="by_kind",
                limit=limit,
                kind="episode",
                top=top,
            )
            end = str(items[-1]["kind_key"]) if more and items else None
        else:
            items, more = self._table.query_down(
                "pk = :pk AND sk < :top", limit=limit, pk=f"{view}#episodes", top=top
            )
            end = str(items[-1]["sk"]) if more and items else None
        return [to_episode(item) for item in items], end

    def acknowledge(self, episode: Episode, given: Acknowledgement | None) -> bool:
        """Put a name on it, or take it off (None). False if it is over or gone."""
        kept = (
            {
                "by": given.by,
                "at": to_text(given.at),
                **({"until": to_text(given.until)} if given.until else {}),
                **({"note": given.note} if given.note else {}),
            }
            if given
            else {"by": ""}
        )
        try:
            self._table.set(
                *_key(episode),
                {"acknowledged": json.dumps(kept)},
                only_if="attribute_exists(pk) AND #state <> :over",
                over="resolved",
            )
        except ConditionFailedError:
            return False
        return True

    def mute(self, episode: Episode, mute: Mute) -> None:
        """Note that nobody is told for now; the sweep asks again."""
        token = token_of(episode.id)
        marker = {
            "pk": f"{episode.tenant_id}#muted",
            "sk": token,
            "episode_id": episode.id,
            "kind": "alert-muted",
            "kind_key": f"{episode.tenant_id}#{token}",
        }
        text = json.dumps({**mute.model_dump(exclude={"since"}), "since": to_text(mute.since)})
        transact(
            [
                self._table.put_request(marker),
                self._table.set_request(*_key(episode), {"muted": text}),
            ]
        )

    def tell(self, episode: Episode, at: datetime) -> None:
        """Note that people are told of it."""
        self._table.set(*_key(episode), {"notified_at": to_text(at)})

    def forget_mute(self, episode_id: str) -> None:
        self._table.delete(*_marker(episode_id))

    def muted(self) -> list[str]:
        """The ids of all that nobody was told of, over all tenants."""
        found = self._table.query_all("kind = :kind", index="by_kind", kind="alert-muted")
        return [str(item["episode_id"]) for item in found]


class SilenceStore:
    def __init__(self, table: Table, events: EventStore) -> None:
        self._table = table
        self._events = events

    def put(self, silence: Silence) -> None:
        self._table.put(_silence_item(silence))

    def notice(self, silence: Silence, announcing: Event) -> None:
        """Keep that its end was announced, with the event that did; nothing if it was lifted, changed
        or announced since it was read (from an index)."""
        earlier = silence.model_copy(update={"noticed_at": None}).model_dump_json()
        put = self._table.put_request(
            _silence_item(silence), only_if="silence = :earlier", earlier=earlier
        )
        with suppress(ConditionFailedError):
            transact([put, self._events.add_request(announcing)])

    def get(self, tenant_id: TenantId, silence_id: str) -> Silence | None:
        item = self._table.get(f"{tenant_id}#silences", token_of(silence_id))
        return _to_silence(item) if item else None

    def delete(self, silence: Silence) -> None:
        self._table.delete(f"{silence.tenant_id}#silences", token_of(silence.id))

    def of(self, tenant_id: TenantId) -> list[Silence]:
        found = self._table.query_all("pk = :pk", pk=f"{tenant_id}#silences")
        return [_to_silence(item) for item in found]

    def all(self) -> list[Silence]:
        found = self._table.query_all("kind = :kind", index="by_kind", kind="silence")
        return [_to_silence(item) for item in found]

    def ending(self, now: datetime) -> Iterator[Silence]:
        """Those whose notice may be due, over all tenants."""
        return (silence for silence in self.all() if silence.wants_notice(now))


def _silence_item(silence: Silence) -> Item:
    token = token_of(silence.id)
    return {
        "pk": f"{silence.tenant_id}#silences",
        "sk": token,
        "kind": "silence",
        "kind_key": f"{silence.tenant_id}#{token}",
        "silence": silence.model_dump_json(),
        # A month after its end it is history, which the audit keeps.
        "expires_at": int(silence.ends_at.timestamp()) + 30 * 86_400,
    }


def _to_silence(item: Item) -> Silence:
    return Silence.model_validate_json(item["silence"])


def _key(episode: Episode) -> tuple[str, str]:
    return f"{episode.tenant_id}#episodes", token_of(episode.id)


def _marker(episode_id: str) -> tuple[str, str]:
    return f"{tenant_of(episode_id)}#muted", token_of(episode_id)
