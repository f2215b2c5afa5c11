"""Which network addresses outbound calls may reach. Pure.

Everything that is not the public internet is refused: private, loopback, link-local (cloud metadata
lives there), shared (CGNAT), multicast, reserved and documentation ranges, per the IANA special-
purpose registries, and IPv6 forms that carry such an IPv4 address inside. An allow-list opens what
the operator means to reach.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Refused on top of what the standard library calls not global: its answer differs between versions
# for some, and others (6to4 relays, NAT64) are global and lead elsewhere.
_REFUSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
        "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_ISATAP_MARKS = (0x00005EFE, 0x02005EFE)
_LOW_32_BITS = 0xFFFFFFFF


@dataclass(frozen=True)
class AllowList:
    """Networks and host names that may be reached although they are not public.

    A name on the list may resolve to any address except link-local ones, where cloud metadata is;
    those take a network of their own.
    """

    networks: tuple[Network, ...] = ()
    names: frozenset[str] = frozenset()


def parse_allow_list(text: str) -> AllowList:
    """`10.2.0.0/16,::1/128,vault.internal`: networks, addresses and host names."""
    networks: list[Network] = []
    names: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError as error:
            if "/" in part or ":" in part or part.replace(".", "").isdigit():
                raise ValueError(
                    f"'{part}' is neither a network such as 10.2.0.0/16 nor a host name"
                ) from error
            names.add(part.lower().rstrip("."))
    return AllowList(tuple(networks), frozenset(names))


def is_admitted(address: Address, name: str, allow: AllowList) -> bool:
    """Whether a call to host `name` may connect to `address`."""
    faces = _faces(address)
    if all(_is_listed(face, allow.networks) for face in faces):
        return True
    if name in allow.names:
        return not any(face.is_link_local for face in faces)
    return all(_is_public(face) or _is_listed(face, allow.networks) for face in faces)


def _is_public(address: Address) -> bool:
    return address.is_global and not _is_listed(address, _REFUSED)


def _is_listed(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == net.version and address in net for net in networks)


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
    if address in _NAT64 or is_compatible or mark in _ISATAP_MARKS:
        faces.append(ipaddress.IPv4Address(low))
    return faces
