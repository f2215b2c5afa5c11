"""What a run of the healer takes and costs: 500 services of ten tenants on loopback, some of them sick.

The clock and the network are real; DynamoDB is the double. `python -m tools.bench.healing` runs it alone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tools.local.place import ROOT

sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "core")]

from tools.bench.dynamodb import Double  # noqa: E402 - after the path is set
from tools.bench.stack import TABLES, BenchError, prepare, say  # noqa: E402
from tools.local import template  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES, TENANTS = 500, 10
# One in twenty answers 500 until its hook is called; one in fifty never answers at all.
FAILING, HANGING = 25, 10
MAX_SECONDS, CALLS_PER_CHANGE, MORE_CALLS = 30, 2, 20


@dataclass(frozen=True)
class Healed:
    """A run that finds them sick. `changed` are the services whose state or attempts it changed."""

    seconds: float
    calls: int
    changed: int
    down: int
    healed: int
    idle_seconds: float
    idle_calls: int

    @property
    def most_calls(self) -> int:
        return CALLS_PER_CHANGE * self.changed + MORE_CALLS

    @property
    def holds(self) -> bool:
        return self.seconds < MAX_SECONDS and self.calls <= self.most_calls


class Fleet(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def __init__(self) -> None:
        self.sick: set[str] = set()
        self.hanging: set[str] = set()
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), _Service)


class _Service(BaseHTTPRequestHandler):
    server: Fleet

    def do_GET(self) -> None:
        name = self.path.split("/")[1]
        if name in self.server.hanging:
            self.server.over.wait()
            return
        self._answer(500 if name in self.server.sick else 200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.sick.discard(self.path.split("/")[1])
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def cost() -> Healed:
    """Everything is well, then some are sick. Raises BenchError if the healer finds anything else."""
    prepare()
    os.environ["OUTBOUND_ALLOW"] = "127.0.0.0/8"
    properties = dict(template.of_type("AWS::DynamoDB::Table"))
    double = Double({v.lower(): properties[name] for v, name in TABLES.items()})
    with _fleet() as fleet, double.in_process():
        names = _register(f"http://127.0.0.1:{fleet.server_port}")
        _run(double)
        # Twice: the first run notes of each that it is up.
        idle_seconds, idle_calls, _ = _run(double)
        # Over all tenants alike: two or three of each fail, and one hangs.
        fleet.sick |= {names[n * (SERVICES // FAILING) + n % TENANTS] for n in range(FAILING)}
        every = SERVICES // HANGING
        fleet.hanging |= {names[n * every + (n + 5) % TENANTS] for n in range(HANGING)}
        before = _stored()
        seconds, calls, found = _run(double)
        after = _stored()
    changed = sum(before[name] != after[name] for name in after)
    if not HANGING <= found["down"] < HANGING + FAILING or not found["healed"]:
        raise BenchError(f"{FAILING} should be healed and {HANGING} be down; it is {found}")
    return Healed(
        seconds=seconds,
        calls=calls,
        changed=changed,
        down=found["down"],
        healed=found["healed"],
        idle_seconds=idle_seconds,
        idle_calls=idle_calls,
    )


@contextmanager
def _fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    threading.Thread(target=fleet.serve_forever, daemon=True).start()
    try:
        yield fleet
    finally:
        fleet.over.set()
        fleet.shutdown()
        fleet.server_close()


def _register(url: str) -> list[str]:
    from aetherlink.kernel.tenancy import Caller, Role, TenantId  # noqa: PLC0415
    from aetherlink.registry.model import Registration  # noqa: PLC0415
    from aetherlink.wiring import registry  # noqa: PLC0415 - after the environment is set

    build, names = registry(), []
    for number in range(SERVICES):
        name = f"service-{number:03}"
        tenant = TenantId(f"tenant-{number % TENANTS}")
        caller = Caller("bench", frozenset({Role.OPERATOR}), tenant)
        plan = {"action": "http", "url": f"{url}/{name}/restart"}
        body = {"name": name, "url": f"{url}/{name}", "heal": plan}
        build.register(caller, Registration.model_validate(body))
        names.append(name)
    return names


def _run(double: Double) -> tuple[float, int, dict[str, int]]:
    from aetherlink.heal.service import Scope  # noqa: PLC0415
    from aetherlink.wiring import healing  # noqa: PLC0415

    healer = healing()
    double.reset()
    double.sent.clear()
    started = time.perf_counter()
    # As the schedule does: first whether it is too much for one run.
    if len(healer.scopes()) != 1:
        raise BenchError("500 services are one run's work")
    _, found = healer.run(Scope())
    seconds = time.perf_counter() - started
    return seconds, double.reset().calls.total() + len(double.sent), found


def _stored() -> dict[tuple[str, str], int]:
    from aetherlink.wiring import heal_store  # noqa: PLC0415

    return {watched.key: watched.version for watched in heal_store().between("0", "~")}


def lines(found: Healed) -> list[str]:
    """The figures, for the report and for who runs it alone."""
    idle = (
        f"{SERVICES} services of {TENANTS} tenants, all well: one run takes {found.idle_seconds:.1f} s"
        f" and {found.idle_calls} AWS calls."
    )
    sick = (
        f"{FAILING} of them failing and {HANGING} hanging: {found.healed} attempts that ended,"
        f" {found.down} down at the end, {found.changed} services that changed; {found.seconds:.1f} s"
        f" (budget {MAX_SECONDS}) and {found.calls} AWS calls (budget {CALLS_PER_CHANGE} for each"
        f" that changed and {MORE_CALLS}: {found.most_calls})."
    )
    return [idle, sick]


def main() -> int:
    found = cost()
    for line in lines(found):
        say(line)
    return not found.holds


if __name__ == "__main__":
    sys.exit(main())
