"""The client: nothing in it stops the service that uses it because the control plane is away."""

from __future__ import annotations

import logging
import secrets
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import httpx

from aetherlink_client.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger("aetherlink_client")

LEASE_SECONDS = 90
# Three heartbeats fit into a lease: two may be lost.
HEARTBEAT_SECONDS = 30.0
TIMEOUT_SECONDS = 10.0
BATCH = 100
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
# What may be otherwise the next time: everything else is the request's own fault.
_TRANSIENT = frozenset({401, 403, 408, 425, 429})
_NOT_FOUND, _FIRST_ERROR, _FIRST_SERVER_ERROR = 404, 400, 500


class Refused(Exception):  # noqa: N818 - what is the matter, not that it is an error
    """The control plane answered, and will never take it as it is."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class _AwayError(Exception):
    """It did not answer, or asks to come back; `seconds` when, if it says so."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


@dataclass
class Registration:
    """A service that is registered, or will be when the control plane can be reached. `heal_secret` is what
    its hook's calls are signed with, where one was made for it just now: it is shown this once."""

    name: str
    body: dict[str, Any]
    is_registered: bool = False
    heal_secret: str | None = field(default=None, repr=False)
    stopped: threading.Event = field(default_factory=threading.Event, repr=False)


class Client:
    """One for each process; thread-safe. `spool` is a file, which several processes may share.

    `headers` are sent with each request, for a gateway in between or the local stack's `X-User-Roles`.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        tenant: str | None = None,
        spool: str | Path = ":memory:",
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        sent = {"User-Agent": "aetherlink-client/1.21.0", **(headers or {})}
        if key:
            sent["Authorization"] = f"Bearer {key}"
        self._http = httpx.Client(
            base_url=url.rstrip("/"), headers=sent, timeout=TIMEOUT_SECONDS, transport=transport
        )
        self._tenant = tenant
        self._spool = Spool(spool)
        self._closed = threading.Event()
        self._news = threading.Event()
        self._registrations: dict[str, Registration] = {}
        self._sender: threading.Thread | None = None
        self._sending = threading.Lock()
        self._lock = threading.Lock()
        if len(self._spool):
            # What an earlier process could not send.
            self._wake()

    # ---- registering

    def register(
        self,
        name: str,
        url: str,
        *,
        health_url: str | None = None,
        version: str | None = None,
        tags: list[str] | None = None,
        depends_on: list[str] | None = None,
        heal: dict[str, Any] | None = None,
        lease_seconds: int = LEASE_SECONDS,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        strict: bool = False,
    ) -> Registration:
        """Register a service and keep its lease, in a thread of its own.

        A control plane that is away is tried again until it is there; what it refuses is logged.
        `strict`: raise Refused, or httpx.HTTPError, if the first try fails.
        """
        given = {
            "name": name,
            "url": url,
            "health_url": health_url,
            "version": version,
            "tags": tags or [],
            "depends_on": depends_on or [],
            "heal": heal,
            "lease_seconds": lease_seconds,
            "tenant_id": self._tenant,
        }
        registration = Registration(name, {k: v for k, v in given.items() if v is not None})
        earlier = self._registrations.get(name)
        if earlier:
            earlier.stopped.set()
        self._registrations[name] = registration
        try:
            self._register(registration)
        except _AwayError as away:
            if strict:
                raise httpx.ConnectError(str(away)) from away
            log.warning("%s could not be registered yet: %s", name, away)
        except Refused as refused:
            if strict:
                raise
            log.error("%s cannot be registered: %s", name, refused)
        threading.Thread(
            target=self._keep, args=(registration, heartbeat_seconds), daemon=True
        ).start()
        return registration

    def unregister(self, name: str) -> None:
        """Remove a service, as before it is shut down for good. Raises Refused or httpx.HTTPError."""
        registration = self._registrations.pop(name, None)
        if registration:
            registration.stopped.set()
        try:
            self._call("DELETE", f"/ops/services/{name}", params=self._for_tenant())
        except _AwayError as away:
            raise httpx.ConnectError(str(away)) from away

    def _register(self, registration: Registration) -> None:
        answer = self._call("POST", "/ops/register", json=registration.body)
        registration.is_registered = True
        registration.heal_secret = answer.get("heal_secret") or registration.heal_secret

    def _keep(self, registration: Registration, every: float) -> None:
        """Heartbeats until it is closed. One that is not known any more registers again."""
        wait = every if registration.is_registered else FIRST_WAIT_SECONDS
        while not registration.stopped.wait(wait * _jitter()):
            wait = every
            try:
                if registration.is_registered:
                    path = f"/ops/services/{registration.name}/heartbeat"
                    self._call("POST", path, params=self._for_tenant())
                else:
                    self._register(registration)
            except Refused as refused:
                if refused.status == _NOT_FOUND:
                    registration.is_registered = False
                    wait = FIRST_WAIT_SECONDS
                else:
                    log.warning("%s: the heartbeat was refused: %s", registration.name, refused)
            except _AwayError as away:
                log.info("%s: no heartbeat: %s", registration.name, away)
                wait = min(every, away.seconds or every)

    # ---- publishing

    def publish(
        self,
        event_type: str,
        payload: dict[str, Any],
        *,
        source: str,
        severity: str = "info",
        event_id: str | None = None,
        timestamp: datetime | None = None,
    ) -> str:
        """Have an event sent; its id. It is kept on disk first, and goes out in a thread of its own: in
        their order, each stored once however often it is sent. Raises SpoolFull."""
        made = event_id or str(uuid.uuid4())
        at = timestamp or datetime.now(UTC)
        event = {
            "event_type": event_type,
            "source": source,
            "severity": severity,
            "payload": payload,
            "event_id": made,
            "timestamp": at.astimezone(UTC).isoformat(),
            **({"tenant_id": self._tenant} if self._tenant else {}),
        }
        self._spool.put(event)
        self._wake()
        return made

    @property
    def waiting(self) -> int:
        """How many events have not been sent yet."""
        return len(self._spool)

    def refused(self) -> list[tuple[dict[str, Any], str]]:
        """The events that the control plane will never take as they are, with its reasons."""
        return self._spool.refused()

    def flush(self) -> bool:
        """Send what waits, now. False if the control plane is away: it stays."""
        try:
            while self._send_some():
                pass
        except _AwayError as away:
            log.info("%d events wait: %s", self.waiting, away)
            return False
        return True

    def close(self) -> None:
        """End the heartbeats, and send what waits, if it can be sent; what cannot stays in the file."""
        for registration in self._registrations.values():
            registration.stopped.set()
        self._closed.set()
        self._news.set()
        self.flush()
        if self._sender:
            self._sender.join(TIMEOUT_SECONDS)
        self._http.close()
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wake(self) -> None:
        self._news.set()
        with self._lock:
            if self._sender is None:
                self._sender = threading.Thread(target=self._send_all, daemon=True)
                self._sender.start()

    def _send_all(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while not self._closed.is_set():
            self._news.wait()
            self._news.clear()
            try:
                while not self._closed.is_set() and self._send_some():
                    wait = FIRST_WAIT_SECONDS
            except _AwayError as away:
                log.info("%d events wait: %s", self.waiting, away)
                self._closed.wait((away.seconds or wait) * _jitter())
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)
                self._news.set()

    def _send_some(self) -> bool:
        """Send the oldest ones; whether there may be more."""
        with self._sending:
            batch = self._spool.first(BATCH)
            if not batch:
                return False
            events = [event for _, event in batch]
            try:
                answer = self._call("POST", "/events/batch", json=events)
            except Refused as refused:
                if len(batch) == 1:
                    self._spool.refuse(batch[0][0], str(refused))
                    return True
                return self._send_alone(batch)
            self._note(batch, answer["results"])
            return True

    def _send_alone(self, batch: list[tuple[int, dict[str, Any]]]) -> bool:
        """The batch as a whole was refused (too large, or one event that is none): each by itself."""
        for number, event in batch:
            try:
                answer = self._call("POST", "/events/batch", json=[event])
            except Refused as refused:
                self._spool.refuse(number, str(refused))
                continue
            self._note([(number, event)], answer["results"])
        return True

    def _note(self, batch: list[tuple[int, dict[str, Any]]], results: list[dict[str, Any]]) -> None:
        stored: list[int] = []
        later: float | None = None
        for (number, _), result in zip(batch, results, strict=True):
            status = int(result["http_status"])
            if status < _FIRST_ERROR:
                stored.append(number)
            elif status in _TRANSIENT or status >= _FIRST_SERVER_ERROR:
                later = 1.0
            else:
                reason = f"{status}: {result.get('detail', '')}"
                log.warning("an event was refused: %s", reason)
                self._spool.refuse(number, reason)
        self._spool.done(stored)
        if later is not None:
            raise _AwayError("some were not taken; they are sent again", later)

    # ---- HTTP

    def _for_tenant(self) -> dict[str, str]:
        return {"tenant_id": self._tenant} if self._tenant else {}

    def _call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        """Raises Refused for what will never work, _AwayError for what may."""
        try:
            answer = self._http.request(method, path, **given)
        except httpx.HTTPError as error:
            raise _AwayError(f"{type(error).__name__}: {error}") from error
        if answer.status_code < _FIRST_ERROR:
            found: dict[str, Any] = answer.json()
            return found
        detail = _detail(answer)
        if answer.status_code in _TRANSIENT or answer.status_code >= _FIRST_SERVER_ERROR:
            raise _AwayError(f"{answer.status_code}: {detail}", _retry_after(answer))
        raise Refused(answer.status_code, detail)


def _jitter() -> float:
    """So that a fleet that started together does not call together."""
    return 0.9 + secrets.randbelow(201) / 1_000


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase


def _retry_after(answer: httpx.Response) -> float | None:
    try:
        return min(float(answer.headers["Retry-After"]), LONGEST_WAIT_SECONDS)
    except (KeyError, ValueError):
        return None
