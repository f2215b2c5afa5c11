"""A webhook receiver on loopback that answers as it is told."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HANG = 0
HANG_SECONDS = 30.0


@dataclass(frozen=True)
class Request:
    at: datetime
    path: str
    headers: Mapping[str, str]
    body: Any
    status: int
    raw: bytes = b""

    @property
    def text(self) -> str:
        return str(self.body.get("text", ""))


class Receiver:
    """Keeps what is posted to it, and answers 200 unless told otherwise for messages with a marker."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._requests: list[Request] = []
        self._next: dict[str, deque[int]] = {}
        self._always: dict[str, int] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = receiver.keep(self.path, dict(self.headers.items()), body)
                if status == HANG:
                    receiver.hang()
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

        self._stopping.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, as a receiver that is down."""
        self._stopping.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        self._server = None

    def answer_next(self, marker: str, *statuses: int) -> None:
        """These, one each, to the next messages that hold `marker`; 200 to those after them."""
        with self._changed:
            self._next[marker] = deque(statuses)

    def answer_always(self, marker: str, status: int) -> None:
        with self._changed:
            self._always[marker] = status

    def reset(self) -> None:
        with self._changed:
            self._next.clear()
            self._always.clear()
        if self._server is None:
            self.open()

    def with_text(self, *markers: str) -> list[Request]:
        """The requests whose text holds every marker, in order."""
        with self._changed:
            return [r for r in self._requests if all(m in r.text for m in markers)]

    def delivered(self, *markers: str) -> list[Request]:
        """Those among them that were answered 200."""
        return [request for request in self.with_text(*markers) if request.status == 200]

    def hang(self) -> None:
        self._stopping.wait(HANG_SECONDS)

    def keep(self, path: str, headers: dict[str, str], raw: bytes) -> int:
        body = json.loads(raw)
        with self._changed:
            status = self._status(str(body.get("text", "")))
            lowered = {name.lower(): value for name, value in headers.items()}
            self._requests.append(Request(datetime.now(UTC), path, lowered, body, status, raw))
            return status

    def _status(self, text: str) -> int:
        for marker, statuses in self._next.items():
            if marker in text and statuses:
                return statuses.popleft()
        return next((s for marker, s in self._always.items() if marker in text), 200)
