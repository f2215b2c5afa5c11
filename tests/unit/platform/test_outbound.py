"""The guarded client against hostile URLs, hostile names and hostile servers."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherlink.platform.address import AllowList, is_admitted, parse_allow_list
from aetherlink.platform.outbound import Kind, Outbound, OutboundError

NOTHING = AllowList()
LOOPBACK = parse_allow_list("127.0.0.0/8,::1/128")

# Forms that never reach a resolver or a socket.
MALFORMED = [
    "",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/",
    "ftp://example.com/",
    "data:text/plain,hello",
    "//example.com/",
    "example.com",
    "http://",
    "http:///path",
    "http://:80/",
    "http://example.com:0/",
    "http://example.com:70000/",
    "http://example.com:port/",
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://public.example@127.0.0.1/",
    "http://127.0.0.1%00@example.com/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "http://127.0.0.1./../x\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://[::1",
    "http://[::1]extra/",
    "http://[fe80::1%25eth0]/",
    "http://[::ffff:127.0.0.1%25lo]/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://exa mple.com/",
    "http://exämple.com/",
    "http://-example.com/",
    "http://example..com/",
    "http://%31%32%37.0.0.1/",
    "",
][1:-1]

# Well-formed addresses that are not the public internet.
FORBIDDEN = [
    "",
    "http://127.0.0.1/",
    "http://127.0.0.1./",
    "http://127.255.255.254/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254./",
    "http://169.254.170.2/v2/credentials",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://192.0.2.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:7f00:1::1]/",
    "http://[2001:db8::1]/",
    "http://[2606:4700::5efe:127.0.0.1]/",
    "http://[2606:4700::200:5efe:a9fe:a9fe]/",
    "",
][1:-1]


def send(url: str, allow: AllowList = NOTHING, **given: object) -> object:
    client = Outbound(allow, resolve=given.pop("resolve", _no_name))  # type: ignore[arg-type]
    settings = {"headers": {}, "body": b"", "timeout_seconds": 5.0, **given}
    return client.send("POST", url, **settings)  # type: ignore[arg-type]


def _no_name(host: str, port: int) -> list[str]:
    raise AssertionError(f"the resolver was asked for {host}")


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_reaches_neither_resolver_nor_socket(url: str) -> None:
    with pytest.raises(OutboundError) as refusal:
        send(url, LOOPBACK)

    assert (refusal.value.kind, refusal.value.permanent) == (Kind.FORBIDDEN_URL, True)


@pytest.mark.parametrize(
    "url", ["http://a.example/\r\nHost: b", "http://a.example/\t", "http://a\x00/"]
)
def test_control_characters_are_refused(url: str) -> None:
    with pytest.raises(OutboundError, match="control characters"):
        send(url)


@pytest.mark.parametrize("url", FORBIDDEN)
def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    with pytest.raises(OutboundError) as refusal:
        send(url)

    assert (refusal.value.kind, refusal.value.permanent) == (Kind.FORBIDDEN_ADDRESS, True)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0"])
def test_a_name_that_leads_to_such_an_address_is_refused(address: str) -> None:
    with pytest.raises(OutboundError) as refusal:
        send("http://innocent.example/", resolve=lambda host, port: [address])

    assert refusal.value.kind is Kind.FORBIDDEN_ADDRESS


def test_one_forbidden_address_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(OutboundError) as refusal:
        send("http://mixed.example/", resolve=lambda host, port: ["93.184.216.34", "10.0.0.1"])

    assert refusal.value.kind is Kind.FORBIDDEN_ADDRESS


def test_a_listed_name_does_not_open_cloud_metadata() -> None:
    allow = parse_allow_list("rebound.internal")

    with pytest.raises(OutboundError) as refusal:
        send("http://rebound.internal/", allow, resolve=lambda host, port: ["169.254.169.254"])

    assert refusal.value.kind is Kind.FORBIDDEN_ADDRESS


PRIVATE = [ipaddress.ip_network(n) for n in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16")]


@given(st.sampled_from(PRIVATE), st.integers(0, 0xFFFF))
def test_no_wrapping_makes_a_private_address_public(network: ipaddress.IPv4Network, n: int) -> None:
    inner = network[n]
    low = int(inner)
    wrapped: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [
        inner,
        ipaddress.IPv6Address(0xFFFF << 32 | low),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | low),
        ipaddress.IPv6Address(0x2002 << 112 | low << 80),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("2606:4700::5efe:0:0")) | low),
    ]

    assert not any(is_admitted(address, "x.example", NOTHING) for address in wrapped)


def test_public_addresses_are_admitted() -> None:
    addresses = [ipaddress.ip_address(a) for a in ("93.184.216.34", "2606:4700::6810:1")]

    assert all(is_admitted(address, "x.example", NOTHING) for address in addresses)


def test_an_allow_list_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'10\.0\.0\.0/33' is neither a network"):
        parse_allow_list("10.0.0.0/33")


# ------------------------------------------------------------------ real sockets on loopback


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that does `talk` with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    talk(connection)
                except OSError:
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@contextmanager
def http_server(status: int = 200, **headers: str) -> Iterator[tuple[int, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append({**dict(self.headers), "path": self.path, "body": body.decode()})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def post(
    port: int, allow: AllowList = LOOPBACK, *, seconds: float = 5.0, **given: object
) -> object:
    settings: dict[str, object] = {"timeout_seconds": seconds, "body": b"hello", **given}
    return send(f"http://127.0.0.1:{port}/hook?key=secret", allow, **settings)


def test_an_allowed_server_gets_the_request_as_it_was_meant() -> None:
    with http_server() as (port, seen):
        answer = post(port, headers={"X-One": "1"})

    assert (answer.status, answer.body) == (200, b"ok")  # type: ignore[attr-defined]
    assert seen[0]["Host"] == f"127.0.0.1:{port}"
    assert (seen[0]["path"], seen[0]["body"], seen[0]["X-One"]) == (
        "/hook?key=secret",
        "hello",
        "1",
    )


def test_the_name_is_resolved_once_and_the_checked_address_is_used() -> None:
    asked: list[str] = []

    def rebind(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    with http_server() as (port, seen):
        send(f"http://service.example:{port}/", parse_allow_list("service.example"), resolve=rebind)

    assert asked == ["service.example"]
    assert seen[0]["Host"] == f"service.example:{port}"


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with http_server(302, Location="http://169.254.169.254/latest/") as (port, seen):
        answer = post(port)

    assert answer.status == 302  # type: ignore[attr-defined]
    assert len(seen) == 1


def test_proxy_settings_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    with http_server() as (port, _):
        assert post(port).status == 200  # type: ignore[attr-defined]


def failing(talk: Callable[[socket.socket], None], seconds: float = 5.0) -> OutboundError:
    with raw_server(talk) as port, pytest.raises(OutboundError) as failure:
        post(port, seconds=seconds)
    assert "secret" not in str(failure.value)
    assert not failure.value.permanent
    return failure.value


def hold(released: threading.Event) -> None:
    released.wait(3)


def test_a_server_that_hangs_is_given_up_at_the_deadline() -> None:
    released = threading.Event()

    failure = failing(lambda _: hold(released), seconds=0.2)

    released.set()
    assert failure.kind is Kind.TIMEOUT


def test_a_server_that_drips_its_answer_is_given_up_at_the_deadline() -> None:
    released = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not released.wait(0.02):
            connection.sendall(b"x")

    failure = failing(drip, seconds=0.3)

    released.set()
    assert failure.kind is Kind.TIMEOUT


def test_an_answer_over_the_limit_is_refused() -> None:
    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000)

    assert failing(flood).kind is Kind.TOO_LARGE


def test_a_connection_that_breaks_can_be_tried_again() -> None:
    assert failing(lambda connection: None).kind in (Kind.CONNECT, Kind.PROTOCOL)


def test_what_is_no_http_is_said_to_be_none() -> None:
    def gibberish(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    assert failing(gibberish).kind is Kind.PROTOCOL


def test_a_refused_connection_can_be_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(OutboundError) as failure:
        post(port)

    assert (failure.value.kind, failure.value.permanent) == (Kind.CONNECT, False)
