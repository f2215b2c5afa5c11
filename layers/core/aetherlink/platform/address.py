"""Which network addresses outbound calls may reach. Pure.

Everything that is not the public internet is refused: private, loopback, link-local (cloud metadata
lives there), shared (CGNAT), multicast, reserved and documentation ranges, per the IANA special-
purpose registries, and IPv6 forms that carry such an IPv4 address inside. An allow-list opens what
the operator means to reach.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Refused on top of what the standard library calls not global: its answer differs between versions
# for some, and others (6to4 relays, Azure's platform address) are global and lead elsewhere.
_REFUSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
        "240.0.0.0/4", "2001::/23", "2001:db8::/32", "3fff::/20",
    )
)  # fmt: skip

# Where clouds keep credentials, and local NAT64, which hides an IPv4 address at a place that only
# the network's owner knows. Neither a listed name nor a wider listed network opens these.
_SEALED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.192/32",
        "64:ff9b:1::/48", "fd00:ec2::/32", "fd20:ce::254/128", "fe80::/10",
    )
)  # fmt: skip

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_ISATAP_MARKS = (0x00005EFE, 0x02005EFE)
_LOW_32_BITS = 0xFFFFFFFF

_MAX_NAME = 253
# A host that a C resolver might read as a number: 2130706433, 0x7f.1, 0177.0.0.1, 127.1.
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


@dataclass(frozen=True)
class AllowList:
    """Networks and host names that may be reached although they are not public.

    Cloud metadata is opened by an entry within its own range alone (169.254.169.254/32), never by a
    name or by a network that happens to contain it (0.0.0.0/0, fc00::/7).
    """

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()


def parse_allow_list(text: str) -> AllowList:
    """`10.2.0.0/16,::1/128,vault.internal`: networks, addresses and host names. Raises ValueError."""
    networks: list[Network] = []
    names: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        name = part.lower().removesuffix(".")
        if is_host_name(name):
            names.add(name)
            continue
        try:
            # A zone would be ignored in the comparison, and so open more than was written.
            if "%" in part:
                raise ValueError(part)
            networks.append(ipaddress.ip_network(part))
        except ValueError as error:
            raise ValueError(
                f"'{part}' is neither a network such as 10.2.0.0/16 (no bits set after the prefix) "
                "nor a host name such as vault.internal (no wildcard, no port)"
            ) from error
    return AllowList(tuple(networks), frozenset(names))


def is_host_name(text: str) -> bool:
    """Whether every resolver reads `text` as a name and none as a number. Without trailing dot."""
    return (
        len(text) <= _MAX_NAME
        and not _NUMERIC.fullmatch(text)
        and all(_LABEL.fullmatch(label) for label in text.split("."))
    )


def is_admitted(address: Address, name: str, allow: AllowList) -> bool:
    """Whether a call to host `name` may connect to `address`."""
    return all(_is_open(face, name, allow) for face in _faces(address))


def _is_open(face: Address, name: str, allow: AllowList) -> bool:
    listed = [network for network in allow.networks if _is_in(face, network)]
    seals = [network for network in _SEALED if _is_in(face, network)]
    if seals:
        return any(_is_within(entry, seal) for entry in listed for seal in seals)
    return bool(listed) or name in allow.names or _is_public(face)


def _is_public(address: Address) -> bool:
    # Outside 2000::/3 nothing is assigned to the public internet, whatever the library says of it.
    if address.version == 6 and not (address in _GLOBAL_UNICAST or address in _NAT64):  # noqa: PLR2004
        return False
    return address.is_global and not any(_is_in(address, network) for network in _REFUSED)


def _is_in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _is_within(inner: Network, outer: Network) -> bool:
    return inner.prefixlen >= outer.prefixlen and _is_in(inner.network_address, outer)


def _faces(address: Address) -> list[Address]:
    """The addresses that a packet to `address` may end up at.

    An IPv4-mapped address is that IPv4 address and nothing else; a tunnelled one is both itself and
    the IPv4 address within.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    faces: list[Address] = [address]
    if address.sixtofour:
        faces.append(address.sixtofour)
    if address.teredo:
        faces += address.teredo
    low = int(address) & _LOW_32_BITS
    mark = (int(address) >> 32) & _LOW_32_BITS
    is_compatible = address in _COMPATIBLE and low > 1
    is_wrapped = address in _NAT64 or address in _TRANSLATED or is_compatible
    if is_wrapped or mark in _ISATAP_MARKS:
        faces.append(ipaddress.IPv4Address(low))
    return faces
