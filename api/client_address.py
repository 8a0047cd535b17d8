"""Whom a request comes from, behind properly configured proxies.

``X-Forwarded-For`` is believed only from peers inside ``TRUSTED_PROXIES`` and read from the right:
the first address that is no trusted proxy is the client. Anything further left was written by
someone we do not know.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from socket import AF_INET, inet_pton
from typing import Final

from coordination.settings import Network

__all__ = ["Clients", "client_address", "limit_identity"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_REMEMBERED: Final = 4_096
_REMEMBERED_LENGTH: Final = 500


class Clients:
    """Who is asking, with the same ``trusted`` proxies each time; remembers the latest."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self.reads_header = bool(trusted)
        """Whether ``X-Forwarded-For`` says anything."""
        self._trusted = trusted
        self._ipv4 = [
            (int(network.network_address), int(network.netmask))
            for network in trusted
            if isinstance(network, ipaddress.IPv4Network)
        ]
        self._remembered = lru_cache(_REMEMBERED)(self._find)
        self._is_proxy = lru_cache(_REMEMBERED)(self._is_trusted_peer)

    def identify(self, peer: str, forwarded_for: str | None) -> tuple[str, str]:
        """The client's address, and what the limiter counts it by."""
        # Clients write the header too: thousands of long ones would be a lot to remember.
        is_short = forwarded_for is None or len(forwarded_for) <= _REMEMBERED_LENGTH
        return (self._remembered if is_short else self._find)(peer, forwarded_for)

    def _find(self, peer: str, forwarded_for: str | None) -> tuple[str, str]:
        if forwarded_for and self._is_plain_client(forwarded_for) and self._is_proxy(peer):
            return forwarded_for, f"addr:{forwarded_for}"
        address = client_address(peer, forwarded_for, self._trusted)
        return address, limit_identity(address)

    def _is_plain_client(self, text: str) -> bool:
        """Whether it is one IPv4 address, and no proxy's: nearly always, and so worth the haste."""
        try:
            number = int.from_bytes(inet_pton(AF_INET, text))
        except (OSError, ValueError):
            return False
        return not any(number & mask == network for network, mask in self._ipv4)

    def _is_trusted_peer(self, peer: str) -> bool:
        address = _parse(peer)
        return address is not None and _is_trusted(address, self._trusted)


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The client's address as text; ``peer`` when nothing trustworthy says otherwise."""
    address = _parse(peer)
    if address is None or not forwarded_for or not _is_trusted(address, trusted):
        return str(address) if address else peer
    for hop in reversed(forwarded_for.split(",")):
        nearer = _parse(_without_port(hop.strip()))
        if nearer is None:
            break
        address = nearer
        if not _is_trusted(nearer, trusted):
            break
    return str(address)


def limit_identity(address: str) -> str:
    """What the limiter counts: an IPv4 address, or the /64 an IPv6 client can choose from."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return f"addr:{ipaddress.ip_network((parsed, 64), strict=False)}"
    return f"addr:{parsed or address}"


def _without_port(hop: str) -> str:
    """Some proxies write ``192.0.2.7:1234`` or ``[2001:db8::7]:1234``."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, colon, _ = hop.partition(":")
    return host if colon and ":" not in hop[len(host) + 1 :] else hop


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
