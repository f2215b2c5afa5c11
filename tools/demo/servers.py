"""The demo's two servers on loopback: a service that fails when told to, and a webhook receiver."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...

    def answer(self, status: int, body: bytes = b"{}") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class LoopbackServer:
    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class FlakyService(LoopbackServer):
    def __init__(self) -> None:
        self._failing = threading.Event()
        failing = self._failing

        class Handler(Quiet):
            def do_GET(self) -> None:
                self.answer(500 if failing.is_set() else 200)

        super().__init__(0, Handler)

    def fail(self) -> None:
        self._failing.set()

    def probe(self) -> int:
        """The status that its /ping answers now."""
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=5) as answer:
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            return error.code


@dataclass(frozen=True)
class Message:
    at: datetime
    text: str


class Receiver(LoopbackServer):
    """Keeps what is posted to it."""

    def __init__(self, port: int) -> None:
        self._messages: list[Message] = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                receiver.keep(Message(datetime.now(UTC), str(json.loads(body).get("text", ""))))
                self.answer(200)

        super().__init__(port, Handler)

    def keep(self, message: Message) -> None:
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def wait_for(self, name: str, word: str, seconds: float) -> Message | None:
        """The first message that holds both words; None if none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._fitting(name, word)), seconds)
            return next(iter(self._fitting(name, word)), None)

    def count(self, name: str, word: str) -> int:
        with self._changed:
            return len(self._fitting(name, word))

    def _fitting(self, name: str, word: str) -> list[Message]:
        return [m for m in self._messages if name in m.text and word in m.text]
