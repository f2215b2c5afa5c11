"""`make trial`: how fast alerts arrive on the deployed stack, and what happens when things break.

    latency   N alerts, each timed from before it is published until its webhook has it
    outage    a receiver that refuses connections for a while, and what it has after that
    crash     the dispatcher is killed between sending and noting that it sent

Prints figures for docs/delivery.md. Speed and faults are measured here, not asserted in tests.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import threading
import time
import urllib.request
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.local.commands import fresh_key
from tools.local.place import STACK_FILE
from tools.local.say import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS = 300.0


class Receiver:
    """Takes webhooks at a port of its own; `before_answering` is run with each that it has read."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str, dict[str, Any]]] = []
        self.before_answering: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._server = self._serving(0)
        self.port = self._server.server_port

    def _serving(self, port: int) -> ThreadingHTTPServer:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver._lock:
                    receiver.got.append((time.monotonic(), self.headers["webhook-id"], body))
                    deed, receiver.before_answering = receiver.before_answering, None
                if deed:
                    deed()
                try:
                    self.send_response(204)
                    self.end_headers()
                except OSError:
                    return

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def open(self) -> None:
        self._server = self._serving(self.port)

    def arrivals(self) -> dict[str, float]:
        """When the first message about each source came."""
        first: dict[str, float] = {}
        for at, _, body in list(self.got):
            if body["type"] == "ops.alert.raised":
                first.setdefault(body["data"]["payload"]["group"]["source"], at)
        return first


class Tenant:
    """A fresh one, with a rule that alerts for each source, and an endpoint at the receiver."""

    def __init__(self, stack: dict[str, Any], receiver: Receiver) -> None:
        name = f"trial-{uuid.uuid4().hex[:8]}"
        self._url = stack["api_url"]
        self._headers = {"X-User-Roles": "operator", "X-Tenant-ID": name}
        if stack.get("auth_mode") == "token":
            key = fresh_key(name="trial", tenant=name, roles="operator")
            self._headers = {"X-Api-Key": key}
        url = f"http://127.0.0.1:{receiver.port}/trial"
        body = {"name": "trial", "kind": "generic", "url": url, "rate_per_minute": 6_000}
        self.call("POST", "/notifications/endpoints", body)
        rule = {"name": "trial", "threshold": 1, "window_seconds": 3_600, "group_by": ["source"]}
        self.call("POST", "/alerts/rules", rule)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self._url + path,
            None if body is None else json.dumps(body).encode(),
            {**self._headers, "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def publish(self, source: str) -> float:
        """When it was about to be published."""
        at = time.monotonic()
        self.call("POST", "/events/publish", {
            "event_type": "service.health.failed", "source": source, "severity": "error",
            "payload": {"service": source},
        })  # fmt: skip
        return at


def await_all(receiver: Receiver, sources: set[str], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (missing := sources - receiver.arrivals().keys()) and time.monotonic() < deadline:
        if sys.stdout.isatty():
            print(
                f"\r  {what}: {len(sources) - len(missing)} of {len(sources)}   ",
                end="",
                flush=True,
            )
        time.sleep(0.2)
    print(f"\r  {what}: {len(sources) - len(missing)} of {len(sources)}", flush=True)
    if missing:
        raise Stop(f"{len(missing)} alerts did not arrive within {PATIENCE_SECONDS:.0f} s")


def latency(tenant: Tenant, receiver: Receiver, count: int, pause: float) -> None:
    print(f"\n{count} alerts, one every {pause} s and whatever a publish takes")
    tenant.publish("warming")
    await_all(receiver, {"warming"}, "warm")
    sent = {}
    for number in range(count):
        sent[f"source-{number}"] = tenant.publish(f"source-{number}")
        time.sleep(pause)
    await_all(receiver, set(sent), "arrived")
    arrived = receiver.arrivals()
    took = sorted(arrived[source] - at for source, at in sent.items())
    cuts = statistics.quantiles(took, n=100)
    print(
        f"  event to webhook: p50 {cuts[49]:.2f} s, p95 {cuts[94]:.2f} s, p99 {cuts[98]:.2f} s, "
        f"longest {took[-1]:.2f} s"
    )


def outage(tenant: Tenant, receiver: Receiver, seconds: int, count: int) -> None:
    print(f"\nA receiver that is down for {seconds} s, and {count} alerts meanwhile")
    before = len(receiver.got)
    receiver.close()
    began = time.monotonic()
    sources = {f"down-{number}" for number in range(count)}
    for source in sorted(sources):
        tenant.publish(source)
        time.sleep(seconds / count / 2)
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    receiver.open()
    up = time.monotonic()
    await_all(receiver, sources, "arrived after it came back")
    took = max(receiver.arrivals()[source] - up for source in sources)
    _settle(tenant)
    ids = Counter(webhook_id for _, webhook_id, _ in receiver.got[before:])
    print(f"  all of them {took:.1f} s after it came back; sent twice: {_repeated(ids)}")


def crash(tenant: Tenant, receiver: Receiver) -> None:
    print("\nThe dispatcher is killed when the receiver has the message and has not answered yet")
    before, killed = len(receiver.got), []
    receiver.before_answering = lambda: killed.extend(_kill("NotifyDispatcher"))
    tenant.publish("crash")
    await_all(receiver, {"crash"}, "sent")
    if not killed:
        raise Stop("no process of the dispatcher was found: this needs the embedded cloud")
    tenant.publish("after-the-crash")
    await_all(receiver, {"after-the-crash"}, "the next alert")
    began = time.monotonic()
    while _pending(tenant) and time.monotonic() - began < PATIENCE_SECONDS:
        if sys.stdout.isatty():
            waited = time.monotonic() - began
            print(f"\r  waiting for its repeat: {waited:.0f} s ", end="", flush=True)
        time.sleep(1)
    ids = Counter(webhook_id for _, webhook_id, _ in receiver.got[before:])
    print(
        f"\r  killed {len(killed)}; messages {sum(ids.values())}, of {len(ids)} webhook-ids; "
        f"repeated: {_repeated(ids)}; noted as delivered after {time.monotonic() - began:.0f} s"
    )


def _kill(function: str) -> list[int]:
    """Kill the emulator's processes of a function."""
    killed = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "ministack-lambda" in command and f"-{function}-" in command:
            killed.append(int(entry.parent.name))
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    return killed


def _pending(tenant: Tenant) -> int:
    page = tenant.call("GET", "/notifications/deliveries?state=pending")
    return int(page["count"])


def _settle(tenant: Tenant) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _pending(tenant) and time.monotonic() < deadline:
        time.sleep(0.5)


def _repeated(ids: Counter[str]) -> int:
    return sum(1 for count in ids.values() if count > 1)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make trial ARGS=", description=__doc__)
    parser.add_argument("what", nargs="*", default=["latency", "outage", "crash"])
    parser.add_argument("--alerts", type=int, default=200, help="of the latency (200)")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between them (0.1)")
    parser.add_argument("--down", type=int, default=120, help="seconds of the outage (120)")
    chosen = parser.parse_args(arguments)
    try:
        stack = json.loads(STACK_FILE.read_text())
    except (OSError, ValueError):
        print("There is no deployed stack; run `make up` first", file=sys.stderr)
        return 1
    receiver = Receiver()
    try:
        tenant = Tenant(stack, receiver)
        trials: dict[str, Callable[[], None]] = {
            "latency": lambda: latency(tenant, receiver, chosen.alerts, chosen.pause),
            "outage": lambda: outage(tenant, receiver, chosen.down, 20),
            "crash": lambda: crash(tenant, receiver),
        }
        for name in chosen.what:
            trials[name]()
    except Stop as stop:
        print(f"\nThe trial failed: {stop}", file=sys.stderr)
        return 1
    finally:
        receiver.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
