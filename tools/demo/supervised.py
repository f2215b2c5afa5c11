"""A service in a process of its own, and the supervisor that its hook leads to: it stands for Docker or
systemd in the demo."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Self

from tools.demo.servers import LoopbackServer, Quiet

_SERVICE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Supervised:
    """The service's process. `restarts` are when the hook was called."""

    def __init__(self) -> None:
        self.restarts: list[datetime] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        supervised = self

        class Hook(Quiet):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                supervised.restarts.append(datetime.now(UTC))
                supervised.start()
                self.answer(204, b"")

        self._hook = LoopbackServer(0, Hook)
        self._port = _free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def hook_url(self) -> str:
        return f"{self._hook.url}/restart"

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def start(self) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            self._process = subprocess.Popen([sys.executable, "-c", _SERVICE, str(self._port)])

    def kill(self) -> None:
        """The process is gone at once, as by a crash."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def __enter__(self) -> Self:
        self._hook.__enter__()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._hook.__exit__()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
