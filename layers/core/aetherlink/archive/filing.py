"""One hour into the archive: what it does not have yet, as parts of bounded size, then the manifest.

A part is checked where it lies before the manifest names it, and each part is committed by itself:
an hour that is too large for one run goes on in the next. Doing an hour again adds nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aetherlink.archive.model import (
    DamagedError,
    Known,
    Manifest,
    Pack,
    Part,
    end_of,
    event_in,
    lines,
    part_of,
    start_of,
)
from aetherlink.kernel.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from datetime import datetime

    from aetherlink.events.model import Event
    from aetherlink.kernel.tenancy import TenantId

PART_TYPE = "application/gzip"
MANIFEST_TYPE = "application/json"


class Stored(Protocol):
    """What the storage says of an object."""

    @property
    def bytes(self) -> int: ...
    @property
    def sha256(self) -> str | None: ...


class Objects(Protocol):
    @property
    def name(self) -> str: ...
    def put(self, key: str, body: bytes, *, content_type: str) -> None: ...
    def get(self, key: str) -> bytes | None: ...
    def head(self, key: str) -> Stored | None: ...


class Manifests(Protocol):
    def get(self, tenant_id: TenantId, hour: str) -> Manifest | None: ...
    def save(self, earlier: Manifest, changed: Manifest) -> None: ...


class Source(Protocol):
    def stored_between(
        self,
        tenant_id: TenantId,
        since: datetime,
        until: datetime,
        *,
        leaving_out: Container[str] = (),
    ) -> Iterator[list[Event]]: ...


@dataclass(frozen=True)
class Filed:
    events: int
    finished: bool


class Filing:
    def __init__(
        self,
        events: Source,
        manifests: Manifests,
        objects: Objects,
        now: Callable[[], datetime],
    ) -> None:
        self._events = events
        self._manifests = manifests
        self._objects = objects
        self._now = now

    def file(self, tenant_id: TenantId, hour: str, deadline: datetime) -> Filed:
        """Archive what is stored of that hour. Not finished: the deadline came first."""
        manifest = self._manifests.get(tenant_id, hour) or Manifest(tenant_id, hour)
        before, finished, pack = manifest.count, True, Pack()
        pages = self._events.stored_between(
            tenant_id, start_of(hour), end_of(hour), leaving_out=self._known(manifest)
        )
        for page in pages:
            for event in page:
                pack.add(event)
                if pack.is_full:
                    manifest, pack = self._append(manifest, pack), Pack()
            if self._now() >= deadline:
                finished = False
                break
        if pack.count:
            manifest = self._append(manifest, pack)
        if manifest.parts:
            # Also where nothing was added: an earlier run may have stopped just before this.
            self._put(
                manifest.key, json.dumps(manifest.body(), indent=1).encode() + b"\n", MANIFEST_TYPE
            )
        return Filed(manifest.count - before, finished)

    def has(self, tenant_id: TenantId, hour: str) -> bool:
        """Whether that hour was ever archived."""
        return self._manifests.get(tenant_id, hour) is not None

    def holding(self, tenant_id: TenantId, hour: str) -> Known:
        """What the archive has of that hour, by position. Raises DamagedError if it cannot be read."""
        return self._known(self._manifests.get(tenant_id, hour) or Manifest(tenant_id, hour))

    def _known(self, manifest: Manifest) -> Known:
        known = Known()
        for part in manifest.parts:
            try:
                for line in lines(part, self._objects.get(part.key)):
                    known.add(event_in(line).position)
            except DamagedError as error:
                # Never guess what it held: an event that is taken for archived would be lost.
                raise DamagedError(f"{part.key} {error}") from error
        return known

    def _append(self, manifest: Manifest, pack: Pack) -> Manifest:
        count, body = pack.count, pack.close()
        part = part_of(manifest, body, count)
        self._put(part.key, body, PART_TYPE, part)
        extended = manifest.with_part(part, self._now())
        self._manifests.save(manifest, extended)
        return extended

    def _put(self, key: str, body: bytes, content_type: str, part: Part | None = None) -> None:
        self._objects.put(key, body, content_type=content_type)
        found = self._objects.head(key)
        is_whole = (
            found is not None
            and found.bytes == len(body)
            # Not every storage keeps a checksum (the local clouds); S3 does.
            and (part is None or found.sha256 in (None, part.sha256))
        )
        if not is_whole:
            raise UnavailableError(f"{key} is not in the archive as it was written; try again")
