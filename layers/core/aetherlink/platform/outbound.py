"""The one client that opens a connection to a URL which a user gave.

A name is resolved once, every address it has is checked, and the connection goes to an address that
was checked: a name server that answers differently the second time gains nothing. Redirects are
answers, not instructions. One deadline covers the whole exchange, and the answer has a size limit.

It stands on httpcore (the engine of httpx) rather than on httpx, because pinning the address and
bounding every read need the network layer, which httpx does not hand out.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import certifi
import httpcore

from aetherlink import __version__
from aetherlink.kernel.errors import ControlPlaneError
from aetherlink.platform.address import (
    Address,
    AllowList,
    is_admitted,
    is_host_name,
    parse_allow_list,
)

__all__ = ["AllowList", "Answer", "Kind", "Outbound", "OutboundError", "parse_allow_list"]

MAX_URL = 2048
MAX_ANSWER_BYTES = 64 * 1024
_BRACKETED = re.compile(r"\[[^\[\]]+\](:[0-9]+)?")

Resolve = Callable[[str, int], list[str]]


class Kind(StrEnum):
    FORBIDDEN_URL = "forbidden_url"
    FORBIDDEN_ADDRESS = "forbidden_address"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    PROTOCOL = "protocol"


class OutboundError(ControlPlaneError):
    """A call that came to no answer. `permanent`: trying again cannot help.

    The message names scheme and host at most: the rest of a webhook's URL is a secret.
    """

    title = "Outbound call failed"

    def __init__(self, message: str, kind: Kind) -> None:
        super().__init__(message)
        self.kind = kind
        self.permanent = kind in (Kind.FORBIDDEN_URL, Kind.FORBIDDEN_ADDRESS)


@dataclass(frozen=True)
class Target:
    """A URL that is well-formed. `host` is lower case, without brackets or trailing dot."""

    scheme: str
    host: str
    port: int
    path: str

    def address(self) -> httpcore.URL:
        """For the engine, in parts: a second parser might read the text differently."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return httpcore.URL(scheme=self.scheme, host=host, port=self.port, target=self.path)


@dataclass(frozen=True)
class Answer:
    """`headers` by lower-case name; `body` whole; `elapsed_ms` from resolving to the last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: int


def check_url(url: str) -> Target:
    """The target of `url`. Raises OutboundError for a form that different readers read differently."""
    if len(url) > MAX_URL or not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
        raise _refused(
            f"a URL has at most {MAX_URL} ASCII characters and no blanks, control characters or "
            "backslashes (write an international name in its xn-- form)"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused("the URL cannot be parsed; is its port from 1 to 65535?") from error
    if parts.scheme not in ("http", "https"):
        raise _refused("only http and https URLs are called")
    if "@" in parts.netloc:
        raise _refused("a URL must not carry a user name or password")
    if "[" in parts.netloc and not _BRACKETED.fullmatch(parts.netloc):
        raise _refused("the host is no IPv6 address in brackets")
    host = (parts.hostname or "").lower().removesuffix(".")
    if port == 0 or not host:
        raise _refused("a URL needs a host, and a port from 1 to 65535 where it names one")
    _check_host(host, is_bracketed="[" in parts.netloc)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def _check_host(host: str, *, is_bracketed: bool) -> None:
    try:
        if is_bracketed:
            # A zone (fe80::1%eth0) picks an interface of this machine; no one else may.
            if "%" in host:
                raise ValueError(host)
            ipaddress.IPv6Address(host)
        elif not is_host_name(host):
            ipaddress.IPv4Address(host)
    except ValueError as error:
        raise _refused(
            "the host must be a name, four decimal numbers without leading zeros, or an IPv6 "
            "address in brackets without a zone"
        ) from error


class Outbound:
    """Thread-safe; keeps no connection, cookie or proxy setting between calls."""

    def __init__(self, allow: AllowList, *, resolve: Resolve | None = None) -> None:
        self._allow = allow
        self._resolve = resolve or _resolve

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_seconds: float,
        max_bytes: int = MAX_ANSWER_BYTES,
        cut: bool = False,
    ) -> Answer:
        """One exchange, done within `timeout_seconds` in all. Raises OutboundError.

        An answer over `max_bytes` is refused rather than cut, so that nobody acts on half of one; with
        `cut`, for who only wants to see that there is one, the rest is not read.
        """
        target = check_url(url)
        started = time.monotonic()
        network = _Network(self._admit, deadline=started + timeout_seconds)
        sent = {"user-agent": f"aetherlink/{__version__}", "connection": "close", **headers}
        try:
            with (
                httpcore.ConnectionPool(
                    ssl_context=_tls(), network_backend=network, max_connections=1
                ) as pool,
                pool.stream(
                    method, target.address(), headers=[*sent.items()], content=body
                ) as answer,
            ):
                content = _read(answer.iter_stream(), max_bytes, cut=cut)
                given = {
                    k.decode("latin-1").lower(): v.decode("latin-1") for k, v in answer.headers
                }
                elapsed_ms = round((time.monotonic() - started) * 1000)
                return Answer(answer.status, given, content, elapsed_ms)
        except httpcore.TimeoutException as error:
            raise OutboundError(
                f"{_named(target)} did not answer within {timeout_seconds:g} s", Kind.TIMEOUT
            ) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _failure(error, target) from error

    def _admit(self, host: str, port: int) -> list[str]:
        """The addresses to connect to. One forbidden address refuses the name."""
        host = host.strip("[]").lower().removesuffix(".")
        try:
            literal: Address | None = ipaddress.ip_address(host)
        except ValueError:
            literal = None
        found = [str(literal)] if literal else self._resolve(host, port)
        if not found:
            raise OutboundError(f"the name {host} has no address", Kind.DNS)
        for text in found:
            if not is_admitted(ipaddress.ip_address(text.partition("%")[0]), host, self._allow):
                raise OutboundError(
                    f"{host} leads to an address that is not public; parameter OutboundAllow opens "
                    "networks and names that are meant to be reached",
                    Kind.FORBIDDEN_ADDRESS,
                )
        return found


def _read(chunks: Iterable[bytes], max_bytes: int, *, cut: bool) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > max_bytes:
            if cut:
                return bytes(content[:max_bytes])
            raise OutboundError(f"the answer has more than {max_bytes:,} bytes", Kind.TOO_LARGE)
    return bytes(content)


def _failure(error: Exception, target: Target) -> OutboundError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return OutboundError(f"{_named(target)} failed the TLS check", Kind.TLS)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.LocalProtocolError):
        return OutboundError("the request has a header or method that HTTP bars", Kind.PROTOCOL)
    if isinstance(error, httpcore.ConnectError):
        return OutboundError(f"{_named(target)} refused the connection", Kind.CONNECT)
    if isinstance(error, httpcore.NetworkError):
        return OutboundError(f"{_named(target)} broke the connection", Kind.CONNECT)
    return OutboundError(f"{_named(target)} did not speak HTTP as it should", Kind.PROTOCOL)


def _named(target: Target) -> str:
    return f"{target.scheme}://{target.host}"


def _refused(why: str) -> OutboundError:
    return OutboundError(f"URL refused: {why}", Kind.FORBIDDEN_URL)


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise OutboundError(f"the name {host} cannot be resolved", Kind.DNS) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Tls(ssl.SSLContext):
    """Verifies chain and host name, which is what PROTOCOL_TLS_CLIENT means."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Nothing: the engine would set them for each connection, while other threads connect."""


@cache
def _tls() -> ssl.SSLContext:
    context = _Tls(ssl.PROTOCOL_TLS_CLIENT)
    # What ssl.create_default_context adds from Python 3.13 on; here on every version.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    context.load_verify_locations(certifi.where())
    ssl.SSLContext.set_alpn_protocols(context, ["http/1.1"])
    return context


class _Network(httpcore.NetworkBackend):
    """Connects to checked addresses alone; every wait ends at the deadline."""

    def __init__(self, admit: Callable[[str, int], list[str]], deadline: float) -> None:
        self._admit = admit
        self._deadline = deadline
        self._real = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception | None = None
        for address in self._admit(host, port):
            try:
                stream = self._real.connect_tcp(
                    address, port, _left(self._deadline, httpcore.ConnectTimeout), local_address
                )
                return _Stream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("no address")


class _Stream(httpcore.NetworkStream):
    def __init__(self, real: httpcore.NetworkStream, deadline: float) -> None:
        self._real = real
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._real.read(max_bytes, _left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # Not the engine's own write: that gives each partial send the whole wait again, so a server
        # that reads slowly would outlive the deadline.
        connection: socket.socket = self._real.get_extra_info("socket")
        rest = memoryview(buffer)
        try:
            while rest:
                connection.settimeout(_left(self._deadline, httpcore.WriteTimeout))
                rest = rest[connection.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout("the deadline has passed") from error
        except OSError as error:
            raise httpcore.WriteError("the connection broke") from error

    def close(self) -> None:
        self._real.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, httpcore.ConnectTimeout)
        # A certificate names an IPv6 address without the brackets that it has in a URL.
        name = server_hostname.strip("[]") if server_hostname else None
        return _Stream(self._real.start_tls(ssl_context, name, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._real.get_extra_info(info)


def _left(deadline: float, error: type[httpcore.TimeoutException]) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise error("the deadline has passed")
    return seconds
