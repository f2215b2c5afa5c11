"""The deployed stack, a fresh tenant for each test, and the receiver that its alerts go to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-not-found,import-untyped,unused-ignore]

from tests.e2e.deployed import Api, Aws, ByHeader, ByKey, unique, wait_for
from tests.e2e.receiver import Receiver
from tools.local.place import STACK_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator


class RuleMaker(Protocol):
    def __call__(self, tenant: str | None, source: str, **fields: Any) -> dict[str, Any]: ...


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "escapes_kept: needs a gateway that hands paths on as sent")
    config.addinivalue_line("markers", "embedded: needs the embedded cloud that make up started")
    config.addinivalue_line(
        "markers", "alone: takes a part of the stack away, or is about how quick it is"
    )
    config.addinivalue_line("markers", "dev_mode: tests X-User-Roles, which AuthMode=token ignores")


# Those that wait for alerts at the one receiver, one after the other, beside everything else; and the
# load, behind which an alert would wait.
_AT_THE_RECEIVER = (
    "alerting", "delivery", "flows", "ingest", "load", "notifications", "poison", "restart",
)  # fmt: skip


# These play the AI providers, at one port too.
_WITH_PROVIDERS = ("ai", "isolation")


class _ByReceiver(LoadScopeScheduling):  # type: ignore[misc]  # it is untyped
    """xdist's row for each scope; a scope is the receiver or a module."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        name = module.rpartition("/test_")[2].removesuffix(".py")
        if name in _WITH_PROVIDERS:
            return "providers"
        return "receiver" if name in _AT_THE_RECEIVER else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByReceiver(config, log)


@pytest.fixture(autouse=True)
def _fitting(request: pytest.FixtureRequest, stack: dict[str, Any]) -> None:
    """Tests that this emulator is not fit for."""
    if request.node.get_closest_marker("escapes_kept") and stack["cloud"] == "embedded":
        reason = "ministack undoes percent-escapes before it matches a path"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    if request.node.get_closest_marker("embedded") and stack["pid"] is None:
        pytest.skip("make up did not start this cloud")
    if request.node.get_closest_marker("dev_mode") and stack["auth_mode"] != "dev":
        pytest.skip("X-User-Roles says who calls in development mode alone")


@pytest.fixture(scope="session")
def stack() -> dict[str, Any]:
    """What `make up` left."""
    try:
        found: dict[str, Any] = json.loads(STACK_FILE.read_text())
    except (OSError, ValueError):
        pytest.exit("There is no deployed stack: run make up first", returncode=1)
    return found


@pytest.fixture(scope="session")
def admin_key(stack: dict[str, Any], aws: Aws) -> str:
    """A key of an admin for every tenant, as the bootstrap function makes it. Good in either mode."""
    answer = aws("lambda").invoke(
        FunctionName=stack["outputs"]["BootstrapFunction"],
        Payload=json.dumps({"name": "e2e", "expires_in_days": 1}).encode(),
    )
    made = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, made
    return str(made["secret"])


@pytest.fixture(scope="session")
def api(stack: dict[str, Any], request: pytest.FixtureRequest) -> Api:
    try:
        Api(stack["api_url"], ByHeader()).call("GET", "/ping", roles=None).ok()
    except OSError as error:
        pytest.exit(f"Nothing answers at {stack['api_url']} ({error}): run make up first", 1)
    if stack["auth_mode"] == "token":
        return Api(stack["api_url"], ByKey(stack["api_url"], request.getfixturevalue("admin_key")))
    return Api(stack["api_url"], ByHeader())


@pytest.fixture(scope="session")
def aws(stack: dict[str, Any]) -> Aws:
    return Aws(stack)


@pytest.fixture(scope="session")
def _receiver(stack: dict[str, Any], aws: Aws) -> Iterator[Receiver]:
    """One for all tests, so that what an earlier one left on its way still arrives."""
    loopback = ("127.0.0.1", "localhost")
    url = next((u for u in stack["alert_webhooks"] if urlsplit(u).hostname in loopback), None)
    if url is None:
        pytest.exit("No alert webhook of the stack is on 127.0.0.1: run make up first", 1)
    receiver = Receiver(urlsplit(url).port or 80)
    try:
        receiver.open()
    except OSError as error:
        pytest.exit(f"The receiver cannot listen on port {receiver.port}: {error.strerror}", 1)
    yield receiver
    receiver.reset()
    queue = stack["outputs"]["NotificationsQueueUrl"]
    wait_for(lambda: is_empty(aws, queue), 20, "the notifications queue is empty")
    receiver.close()


@pytest.fixture
def receiver(_receiver: Receiver, request: pytest.FixtureRequest) -> Iterator[Receiver]:
    module = request.path.stem.removeprefix("test_")
    assert module in _AT_THE_RECEIVER, f"name {module} there: two rows cannot share a port"
    yield _receiver
    _receiver.reset()


@pytest.fixture
def tenant() -> str:
    return unique("e2e")


@pytest.fixture
def source() -> str:
    return unique("billing")


@pytest.fixture
def make_rule(api: Api) -> Iterator[RuleMaker]:
    """Adds rules, named after their source, and deletes those that are left after the test."""
    made: list[tuple[str | None, str]] = []

    def add(tenant: str | None, source: str, **fields: Any) -> dict[str, Any]:
        draft = {"name": f"{source} fails", "source": source, "window_seconds": 600, "threshold": 1}
        answer = api.call("POST", "/alerts/rules", {**draft, **fields}, tenant=tenant).ok()
        made.append((tenant, answer["rule_id"]))
        rule: dict[str, Any] = answer["rule"]
        return rule

    yield add
    for owner, rule_id in made:
        api.call("DELETE", f"/alerts/rules/{rule_id}", tenant=owner)


def is_empty(aws: Aws, queue_url: str) -> bool:
    """Nothing in it, nothing being received, nothing delayed."""
    wanted = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    found = aws("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=wanted)
    return not any(int(number) for number in found["Attributes"].values())
