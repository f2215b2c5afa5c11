"""The server: each provider answers as it is told to, well if nobody told it anything."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aetherlink.ai.rules import RULES
from tools.mock_ai.formats import FORMATS, RefusedError

HANG_SECONDS = 30.0
# Ways of failing besides a status.
HANG, RESET, BAD_JSON, BAD_SHAPE = "hang", "reset", "bad-json", "bad-shape"
_OK, _NOT_FOUND, _BAD_REQUEST = 200, 404, 400


@dataclass(frozen=True)
class Order:
    """How to answer. `does`: ok, a status, hang, reset, bad-json (the model's text is no JSON) or bad-shape
    (the API's own answer is none). `text` is what the model says."""

    does: str = "ok"
    text: str | None = None
    retry_after: str = ""
    times: int | None = None
    body: str | None = None


@dataclass(frozen=True)
class Call:
    provider: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)


class MockAi:
    """Listens on 127.0.0.1 alone. Port 0 takes a free one."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[Call] = []
        self._standing: dict[str, Order] = {}
        self._orders: dict[str, deque[Order]] = defaultdict(deque)
        self._stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def start(self) -> MockAi:
        self._thread.start()
        return self

    def close(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, provider: str) -> str:
        base = f"http://127.0.0.1:{self.port}/{provider}"
        return f"{base}/v1" if provider == "openai" else base

    def urls(self) -> str:
        """As parameter ProviderUrls takes them."""
        return ",".join(f"{provider}={self.url(provider)}" for provider in FORMATS)

    def always(self, provider: str, order: Order) -> None:
        self._standing[provider] = order

    def next(self, provider: str, *orders: Order) -> None:
        self._orders[provider].extend(orders)

    def well(self) -> None:
        """Everybody answers well again, and nothing was asked."""
        self._standing.clear()
        self._orders.clear()
        self.calls.clear()

    def asked(self, provider: str) -> list[Call]:
        return [call for call in self.calls if call.provider == provider]

    def order_for(self, provider: str) -> Order:
        if self._orders[provider]:
            return self._orders[provider].popleft()
        return self._standing.get(provider, Order())

    def wait(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def reply(system: str, said: str) -> str:
    """What a good model would say: to data what our rules find in it, to people a polite word."""
    if said.startswith("<data>"):
        payload = json.loads(said.partition("<data>")[2].rpartition("</data>")[0])
        for name, inside in (
            ("extract-lead", "raw_text" in payload),
            ("summarize-activity", "activity" in payload),
            ("extract_entities", "entities" in system),
            ("classify_intent", "label" in system),
        ):
            if inside:
                return json.dumps(RULES[name](payload))
        return json.dumps({"reply": "Thank you for your message."})
    return f"You said: {said}"


def _handler(mock: MockAi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            provider, _, rest = self.path.strip("/").partition("/")
            if provider == "_order":
                self._take_order(json.loads(raw))
                return
            form = FORMATS.get(provider)
            if form is None or not f"/{rest}".endswith(form.path):
                self._answer(_NOT_FOUND, {"error": f"no {self.path}"})
                return
            body = json.loads(raw)
            headers = {k.lower(): v for k, v in self.headers.items()}
            mock.calls.append(Call(provider, headers, body))
            try:
                system, said = form.asked(body)
            except RefusedError as error:
                told, more = form.error(_BAD_REQUEST)
                self._answer(_BAD_REQUEST, {**told, "why": str(error)}, dict(more))
                return
            self._obey(mock.order_for(provider), provider, body, system, said)

        def _obey(
            self, order: Order, provider: str, body: dict[str, Any], system: str, said: str
        ) -> None:
            form = FORMATS[provider]
            if order.does == HANG:
                mock.wait(HANG_SECONDS)
                self.close_connection = True
            elif order.does == RESET:
                # No farewell: the other side sees a reset.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                self.close_connection = True
            elif order.does == BAD_SHAPE:
                self._answer(_OK, {"hello": "world"})
            elif order.does.isdigit():
                told, more = form.error(int(order.does))
                if order.body is not None:
                    told = json.loads(order.body)
                headers = {
                    **more,
                    **({"retry-after": order.retry_after} if order.retry_after else {}),
                }
                self._answer(int(order.does), told, headers)
            else:
                text = order.text
                if text is None:
                    text = "{not json" if order.does == BAD_JSON else reply(system, said)
                self._answer(_OK, form.answer(body, text))

        def _take_order(self, given: dict[str, Any]) -> None:
            """{"provider","does","times"?,"text"?,"retry_after"?}; without `times` from now on, without
            `provider` everybody is well again."""
            if "provider" not in given:
                mock.well()
            else:
                provider = given.pop("provider")
                order = Order(**{**given, "does": str(given.get("does", "ok"))})
                if order.times:
                    mock.next(provider, *[order] * order.times)
                else:
                    mock.always(provider, order)
            self._answer(_OK, {"status": "ok"})

        def _answer(
            self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
        ) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    return Handler
