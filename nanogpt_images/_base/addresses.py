"""Which IP addresses belong to the public internet, and which hosts need not."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Collection
from typing import Final, TypeAlias

# Own tables: what `ipaddress` calls global differs between patch releases of Python.
# Source: IANA IPv4 Special-Purpose Address Registry; 224.0.0.0/4 is multicast, 240.0.0.0/4 holds broadcast.
_NOT_PUBLIC_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        # Registered like any other, but inside Azure it is the host's own control service.
        "168.63.129.16/32",
    )
)
# All that is handed out for unicast lies in here, so whatever the future reserves elsewhere is refused.
_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
# Source: IANA IPv6 Special-Purpose Address Registry. 2001::/23 holds Teredo, ORCHID and benchmarking.
_NOT_PUBLIC_V6: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Family, kind, protocol, canonical name, endpoint (address and port first): an entry of getaddrinfo().
_AddressInfo: TypeAlias = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]
]


class Guard:
    """Opens sockets to public addresses only, and keeps what it refused."""

    def __init__(self, *, allowed: bool) -> None:
        self._allowed = allowed
        self.refused: list[str] = []

    def open_socket(self, info: _AddressInfo) -> socket.socket:
        # aiohttp connects this very socket to this very address: no look-up happens between check and use.
        family, kind, protocol, _, endpoint = info
        address = str(endpoint[0])
        if not self._allowed and not is_public(address):
            self.refused.append(address)
            raise PermissionError(errno.EACCES, "not a public address")
        return socket.socket(family=family, type=kind, proto=protocol)


def is_public(address: str) -> bool:
    """
    Return whether *address* is a unicast address of the public internet.

    False for private, shared (CGNAT), loopback, link-local, multicast, reserved and unspecified addresses,
    for IPv6 addresses that carry such an IPv4 address (mapped, 6to4, NAT64), and for whatever is not an
    address in its usual spelling: `2130706433`, `0177.0.0.1` and `127.1` are loopback to a resolver.

    A NAT64 prefix of a network's own cannot be distinguished from an ordinary address.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return _is_public_v4(ip)
    carried = _carried_v4(ip)
    if carried is not None:
        return _is_public_v4(carried)
    return ip in _UNICAST_V6 and not any(ip in network for network in _NOT_PUBLIC_V6)


def is_allowed_host(host: str, allow_private: bool | Collection[str]) -> bool:
    """Return whether *host* may have an address that is not public: True for all, or the names of those that may."""
    if isinstance(allow_private, bool):
        return allow_private
    names = (allow_private,) if isinstance(allow_private, str) else allow_private
    return _name(host) in {_name(name) for name in names}


def _name(host: str) -> str:
    return host.lower().rstrip(".")


def _is_public_v4(ip: ipaddress.IPv4Address) -> bool:
    return not any(ip in network for network in _NOT_PUBLIC_V4)


def _carried_v4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
