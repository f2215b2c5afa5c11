"""What was registered at some time, from what is registered now and the events since. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aetherlink.kernel.time import from_text
from aetherlink.registry.model import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from aetherlink.events.model import Event
    from aetherlink.registry.model import Service

REGISTERED, UNREGISTERED = "service.registered", "service.unregistered"


def there_at(
    instant: datetime, now_there: Iterable[Service], removed_since: Iterable[Event]
) -> dict[tuple[str, str], Entry]:
    """The services that were there, by tenant and name: those that still are, and those removed since.
    What they said of themselves then is not known yet."""
    found: dict[tuple[str, str], Entry] = {
        (service.tenant_id, service.name): Entry(
            **service.model_dump(
                include={"name", "tenant_id", "url", "version", "tags", "registered_at"}
            ),
            is_exact=service.registered_at == service.last_registered_at,
        )
        for service in now_there
        if service.registered_at <= instant
    }
    for event in removed_since:
        entry = _removed(event)
        if entry and event.timestamp > instant >= entry.registered_at:
            found[entry.tenant_id, entry.name] = entry
    return found


def _removed(event: Event) -> Entry | None:
    """None of an event from before they said what was removed."""
    given: Mapping[str, Any] = event.payload
    if not {"registered_at", "url"} <= given.keys():
        return None
    return Entry(
        name=str(given["service"]),
        tenant_id=event.tenant_id,
        url=str(given["url"]),
        version=given.get("version"),
        tags=list(given.get("tags", ())),
        registered_at=from_text(str(given["registered_at"])),
        is_exact=False,
    )


def told(
    there: dict[tuple[str, str], Entry], said: Iterable[Event], instant: datetime
) -> dict[tuple[str, str], Entry]:
    """With what each said of itself last before that time; `said` are registrations, the newest first."""
    known = dict(there)
    heard: set[tuple[str, str]] = set()
    for event in said:
        key = (event.tenant_id, str(event.payload.get("service")))
        if key not in known or key in heard or event.timestamp > instant:
            continue
        heard.add(key)
        given = event.payload
        known[key] = known[key].model_copy(
            update={
                "url": str(given.get("url") or known[key].url),
                "version": given.get("version"),
                "tags": list(given.get("tags", ())),
                "is_exact": True,
            }
        )
    return known
