"""What a probe says of services that hang, reset, redirect, lie and hide: real sockets on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aetherlink.heal.model import Target
from aetherlink.heal.prober import Prober
from aetherlink.kernel.tenancy import TenantId
from aetherlink.kernel.time import utc_now
from aetherlink.platform.outbound import Outbound, parse_allow_list
from aetherlink.registry.plan import HealPlan

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats each connection so."""
    listening = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=treat, args=(connection,), daemon=True).start()

    def treat(connection: socket.socket) -> None:
        with connection:
            connection.recv(4_096)
            answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/ping"
    finally:
        done.set()
        listening.close()


def probe(url: str, *, allow: str = "127.0.0.0/8", **plan: Any) -> Any:
    prober = Prober(Outbound(parse_allow_list(allow)), utc_now)
    heal = HealPlan.model_validate({"probe": {"timeout_seconds": 0.3, **plan}})
    (found,) = prober.look([Target(TenantId("acme"), "x", url, plan=heal)])
    return found


def sends(content: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(content)


def hangs(connection: socket.socket) -> None:
    # Until whoever asked has had enough and goes.
    connection.recv(1)


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def with_status(status: int, extra: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\n{extra}Content-Length: 0\r\n\r\n".encode()


def test_a_service_that_answers_is_well() -> None:
    with serving(sends(OK)) as url:
        found = probe(url)

    assert (found.is_well, found.status, found.error) == (True, 200, None)


@pytest.mark.parametrize(
    ("treats", "status", "error"),
    [
        (hangs, None, "did not answer within 0.3 s"),
        (resets, None, "broke the connection"),
        (sends(b"\x00\xff garbage \r\n\r\n"), None, "did not speak HTTP as it should"),
        (sends(with_status(500)), 500, "answered 500"),
        (sends(with_status(302, "Location: http://127.0.0.1:1/\r\n")), 302, "not followed"),
    ],
)
def test_one_that_does_not_is_not(
    treats: Callable[[socket.socket], None], status: int | None, error: str
) -> None:
    with serving(treats) as url:
        found = probe(url)

    assert (found.is_well, found.status) == (False, status)
    assert error in found.error


def test_a_200_with_garbage_is_not_well_where_a_text_is_asked_for() -> None:
    with serving(sends(OK)) as url:
        assert not probe(url, body='"status":"up"').is_well
        assert probe(url, body="ok").is_well


def test_a_status_that_is_named_is_well_and_no_other() -> None:
    with serving(sends(with_status(401))) as url:
        assert probe(url, status=[401]).is_well
    with serving(sends(OK)) as url:
        assert not probe(url, status=[401]).is_well


def test_one_that_is_too_slow_is_not_well() -> None:
    slow = threading.Event()

    def dawdles(connection: socket.socket) -> None:
        # Nobody sets it: it is the time that passes.
        slow.wait(0.05)
        connection.sendall(OK)

    with serving(dawdles) as url:
        assert "which is over 1 ms" in probe(url, max_latency_ms=1).error


def test_a_large_answer_is_an_answer() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    with serving(sends(page)) as url:
        assert probe(url).is_well


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[::1]:80/"]
)
def test_a_forbidden_address_is_never_called(url: str) -> None:
    found = probe(url, allow="")

    assert (found.is_well, found.status) == (False, None)
    assert "not public" in found.error


def test_a_name_that_leads_to_a_forbidden_address_is_never_called() -> None:
    outbound = Outbound(parse_allow_list(""), resolve=lambda _host, _port: ["10.0.0.7"])
    (found,) = Prober(outbound, utc_now).look(
        [Target(TenantId("acme"), "x", "http://internal.example/")]
    )

    assert "not public" in str(found.error)
