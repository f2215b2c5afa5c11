"""What routing costs besides the provider's own time: real handler and adapters, a provider played by
another process on loopback, DynamoDB the double. `python -m tools.bench.ai` runs it alone.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tools.local.place import ROOT

sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "core")]

from tools.bench.stack import BenchError, Call, Measured, Stack, say  # noqa: E402 - after the path is set

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CPU_MS = 5.0
REPEAT = 201
TENANT = "acme"
# As long as what salespeople paste.
TEXT = "Hi, I'm Anna Petrova from Globex Corporation. Call me on 212-555-0147.\n" * 8
EXTRACT = Call(
    "POST",
    "/orchestrate",
    tenant=TENANT,
    body={"tenant_id": TENANT, "intent": "extract-lead", "payload": {"raw_text": TEXT}},
)
CHAT = Call(
    "POST",
    "/v1/chat/completions",
    tenant=TENANT,
    body={"model": "auto", "messages": [{"role": "user", "content": TEXT}]},
)


@dataclass(frozen=True)
class Routed:
    """A chat is the router alone; `extract` has the check of an answer on top."""

    chat: Measured
    extract: Measured

    @property
    def holds(self) -> bool:
        return self.chat.cpu_ms <= MAX_CPU_MS


def cost() -> Routed:
    """Warm calls. Raises BenchError if one is not answered by the provider."""
    with _provider() as url:
        os.environ.update(
            PROVIDER_ORDER="ollama,rules",
            PROVIDER_URLS=f"ollama={url}",
            AI_DAILY_BUDGET="10",
        )
        stack = Stack(datetime(2026, 11, 23, 12, tzinfo=UTC))
        os.environ["OUTBOUND_ALLOW"] = "127.0.0.0/8"
        found = Routed(
            chat=stack.measure(CHAT, repeat=REPEAT), extract=stack.measure(EXTRACT, repeat=REPEAT)
        )
        with stack.double.in_process():
            answer = stack.call(EXTRACT)
    if answer["used_provider"] != "ollama":
        raise BenchError(f"the provider did not answer: {answer['attempts']}")
    return found


@contextmanager
def _provider() -> Iterator[str]:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tools.mock_ai", str(port)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers" / "core")])
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            raise BenchError("the mock provider did not start")
        yield f"http://127.0.0.1:{port}/ollama"
    finally:
        process.terminate()
        process.wait()


def lines(found: Routed) -> list[str]:
    """The figures, for the report and for who runs it alone."""
    said = (
        f"A chat: {found.chat.cpu_ms:.1f} ms of CPU (budget {MAX_CPU_MS:g}) and {found.chat.calls} AWS"
        f" calls, {found.chat.write_units} write units; an extracted lead, with the check of what the"
        f" model said: {found.extract.cpu_ms:.1f} ms."
    )
    return [said]


def main() -> int:
    found = cost()
    for line in lines(found):
        say(line)
    return not found.holds


if __name__ == "__main__":
    sys.exit(main())
