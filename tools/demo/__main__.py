"""`make demo`: the main job on the deployed stack, with real HTTP services and real times.

A flaky service registers, its failures are published, a rule trips, and a webhook receiver gets the
alert; then many more failures, and still one alert. Then a service in a process of its own dies, is seen
down, healed by its hook and seen up. Exits non-zero when a step does not happen.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tools.demo.servers import FlakyService, Receiver
from tools.demo.supervised import Supervised
from tools.local.commands import fresh_key
from tools.local.say import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

STACK_FILE = Path(__file__).resolve().parents[2] / ".local" / "stack.json"
TENANT = "demo"
FAILURES = 3
MORE = 30
# An endpoint that did not answer lately rests for up to a minute (docs/delivery.md).
PATIENCE_SECONDS = 90.0
# The healer comes every minute; the run that is under way may be over.
HEALING_SECONDS = 150.0


class Missed(Exception):  # noqa: N818 - a sentence for the person
    """A step did not happen."""


class Api:
    def __init__(self, url: str, credential: dict[str, str]) -> None:
        self._url = url
        self._credential = credential

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={**self._credential, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise Missed(
                f"{method} {path} answered {error.code}: {error.read().decode()}"
            ) from error


class Timeline:
    def __init__(self) -> None:
        self._start: datetime | None = None

    def show(self, what: str, at: datetime | None = None) -> None:
        at = at or datetime.now(UTC)
        self._start = self._start or at
        seconds = (at - self._start).total_seconds()
        print(f"  {at:%H:%M:%S}.{at.microsecond // 1000:03}  {seconds:+7.2f} s  {what}", flush=True)


def main() -> int:
    try:
        stack = json.loads(STACK_FILE.read_text())
    except (OSError, ValueError):
        print("There is no deployed stack; run `make up` first", file=sys.stderr)
        return 1
    webhook = next(
        (u for u in stack["alert_webhooks"] if urlsplit(u).hostname in ("127.0.0.1", "localhost")),
        None,
    )
    if webhook is None:
        print("No alert webhook of the stack is on 127.0.0.1; run `make up` without ALERT_WEBHOOKS")
        return 1
    port = urlsplit(webhook).port or 80
    try:
        receiver = Receiver(port)
    except OSError as error:
        print(f"The receiver cannot listen on port {port}: {error.strerror}", file=sys.stderr)
        return 1
    try:
        api = Api(stack["api_url"], _credential(stack))
        with receiver, FlakyService() as service:
            run(api, receiver, service, webhook)
        with Supervised() as supervised:
            heal(api, supervised)
    except Stop as stop:
        print(f"\nThe demo has no key: {stop}", file=sys.stderr)
        return 1
    except Missed as missed:
        print(f"\nThe demo failed: {missed}", file=sys.stderr)
        return 1
    return 0


def _credential(stack: dict[str, Any]) -> dict[str, str]:
    """An operator of the demo's tenant, as the stack wants to be shown it."""
    if stack.get("auth_mode") == "token":
        return {"X-Api-Key": fresh_key(name="demo", tenant=TENANT, roles="operator")}
    return {"X-User-Roles": "operator", "X-Tenant-ID": TENANT}


def run(api: Api, receiver: Receiver, service: FlakyService, webhook: str) -> None:
    line, name = Timeline(), f"billing-{int(time.time())}"
    print(f"\nTenant {TENANT}, service {name} at {service.url}, webhook {webhook}\n", flush=True)
    api.call("POST", "/ops/register", {"name": name, "url": service.url})
    line.show("registered")
    rule = api.call("POST", "/alerts/rules", {
        "name": f"{name} is failing", "event_type": "service.health.failed", "source": name,
        "window_seconds": 60, "threshold": FAILURES,
    })["rule_id"]  # fmt: skip
    line.show(f"rule: {FAILURES} health failures in 60 s")
    service.fail()
    for number in range(1, FAILURES + 1):
        _publish(api, name, service)
        published_at = datetime.now(UTC)
        line.show(f"published failure {number}", published_at)
    alert = receiver.wait_for(name, "Triggered", PATIENCE_SECONDS)
    if alert is None:
        raise Missed(f"no alert reached {webhook} within {PATIENCE_SECONDS:.0f} s")
    raised = _raised(api, rule)
    line.show("alert raised", datetime.fromisoformat(raised["timestamp"]))
    line.show("alert delivered", alert.at)
    seconds = (alert.at - published_at).total_seconds()

    for _ in range(MORE):
        _publish(api, name, service)
    line.show(f"published {MORE} more failures")
    api.call("DELETE", f"/alerts/rules/{rule}")
    line.show("rule deleted, which resolves its alert")
    if receiver.wait_for(name, "Resolved", PATIENCE_SECONDS) is None:
        raise Missed("the alert's end was not delivered")
    line.show("resolve delivered")
    api.call("DELETE", f"/ops/services/{name}")
    count = receiver.count(name, "Triggered")
    if count != 1:
        raise Missed(f"one episode made {count} alerts")
    print(f"\nEvent to webhook: {seconds:.2f} s. {FAILURES + MORE} failures, 1 alert.\n")
    print(f"What the webhook got:\n\n{_indented(alert.text)}")


def heal(api: Api, service: Supervised) -> None:
    """A service dies for real. The healer looks at everything once a minute, so this takes about one."""
    line, name = Timeline(), f"shop-{int(time.time())}"
    print(
        f"\nService {name}, process {service.pid}, at {service.url}; its hook {service.hook_url}\n"
    )
    plan = {"action": "http", "url": service.hook_url}
    api.call("POST", "/ops/register", {"name": name, "url": service.url, "heal": plan})
    try:
        _story(api, service, line, name)
    finally:
        api.call("DELETE", f"/ops/services/{name}")


def _story(api: Api, service: Supervised, line: Timeline, name: str) -> None:
    line.show("registered")
    _wait(lambda: _state(api, name) == "up", HEALING_SECONDS, "the service to be seen up")
    line.show("seen up by the healer")
    service.kill()
    killed_at = datetime.now(UTC)
    line.show(f"process killed; answers: {service.answers()}", killed_at)
    _wait(lambda: _heals(api, name), HEALING_SECONDS, "the service to be healed")
    story = [
        event
        for event in reversed(api.call("GET", "/events/recent?limit=100")["events"])
        if event["payload"].get("service") == name
    ]
    for event in story:
        detail = event["payload"].get("error") or event["payload"].get("msg") or ""
        line.show(f"{event['event_type']:26} {detail}", datetime.fromisoformat(event["timestamp"]))
    types = [event["event_type"] for event in story]
    expected = ["service.registered", "service.health.failed", "autoheal.attempted",
                "service.health.recovered", "autoheal.succeeded"]  # fmt: skip
    if types != expected:
        raise Missed(f"the story should be {', '.join(expected)}; it is {', '.join(types)}")
    if not service.answers() or len(service.restarts) != 1:
        raise Missed(f"restarted {len(service.restarts)} times, answers: {service.answers()}")
    seconds = (datetime.fromisoformat(story[-1]["timestamp"]) - killed_at).total_seconds()
    [attempt] = _heals(api, name)
    print(
        f"\nDead to healed: {seconds:.1f} s, by process {service.pid}. GET /autoheal/history says:\n"
    )
    print(_indented(json.dumps(attempt, indent=2)))


def _wait(condition: Callable[[], Any], seconds: float, what: str) -> None:
    """Until a condition holds, with dots as it takes its time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Missed(f"waited {seconds:.0f} s for {what}")
        print(".", end="", flush=True)
        time.sleep(1)
    print("\r", end="")


def _state(api: Api, name: str) -> str:
    services = api.call("GET", "/ops/services")["services"]
    return next((str(each["state"]) for each in services if each["name"] == name), "")


def _heals(api: Api, name: str) -> list[Any]:
    history = api.call("GET", "/autoheal/history?limit=50")["history"]
    return [each for each in history if each["service"] == name]


def _publish(api: Api, name: str, service: FlakyService) -> None:
    status = service.probe()
    payload = {"service": name, "http_status": status, "url": service.url}
    api.call("POST", "/events/publish", {
        "event_type": "service.health.failed", "source": name, "severity": "error",
        "payload": payload,
    })  # fmt: skip


def _raised(api: Api, rule: str) -> Any:
    found = api.call("GET", "/events/recent?event_type=ops.alert.raised&limit=20")["events"]
    for event in found:
        if event["payload"]["rule_id"] == rule:
            return event
    raise Missed("ops.alert.raised is not in /events/recent")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
