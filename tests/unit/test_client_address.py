"""Whom the limiter counts: nobody becomes another by what they write into a header."""

from __future__ import annotations

import ipaddress

import pytest

from api.client_address import client_address, limit_identity

PROXIES = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "fd00::/8", "192.0.2.7/32")))
CLIENT = "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        # Straight from a stranger: what they claim does not count.
        (CLIENT, None, CLIENT),
        (CLIENT, "198.51.100.1", CLIENT),
        (CLIENT, "10.0.0.1", CLIENT),
        (CLIENT, "127.0.0.1, 10.0.0.1", CLIENT),
        # Through one proxy, and through two.
        ("10.0.0.1", CLIENT, CLIENT),
        ("10.0.0.1", f"{CLIENT}, 10.0.0.2", CLIENT),
        ("192.0.2.7", f" {CLIENT} ,10.0.0.2", CLIENT),
        # What stands further left was written by the client itself.
        ("10.0.0.1", f"198.51.100.1, {CLIENT}", CLIENT),
        ("10.0.0.1", f"10.0.0.3, {CLIENT}, 10.0.0.2", CLIENT),
        ("10.0.0.1", f"{'1.2.3.4, ' * 500}{CLIENT}", CLIENT),
        # Rubbish ends the chain at the last address that is known.
        ("10.0.0.1", "not an address", "10.0.0.1"),
        ("10.0.0.1", f"{CLIENT}, unknown", "10.0.0.1"),
        ("10.0.0.1", f"{CLIENT}, , 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", ",", "10.0.0.1"),
        ("10.0.0.1", f"{CLIENT}:443:1", "10.0.0.1"),
        # Some proxies add the port.
        ("10.0.0.1", f"{CLIENT}:443", CLIENT),
        ("fd00::1", "[2001:db8::5]:443", "2001:db8::5"),
        ("10.0.0.1", "203.0.113.009", "10.0.0.1"),
        # Only proxies of ours: the furthest of them.
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        # An IPv4 address in IPv6 clothes is the same client, and the same proxy.
        (f"::ffff:{CLIENT}", None, CLIENT),
        ("::ffff:10.0.0.1", f"::ffff:{CLIENT}", CLIENT),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("fd00::1", "2001:DB8:0::0005", "2001:db8::5"),
        # A unix socket has no address.
        ("", CLIENT, ""),
    ],
)
def test_client_address(peer: str, forwarded_for: str | None, expected: str) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == expected


def test_nobody_is_trusted_by_default() -> None:
    assert client_address("127.0.0.1", CLIENT, ()) == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (CLIENT, f"addr:{CLIENT}"),
        ("2001:db8::5", "addr:2001:db8::/64"),
        ("2001:db8::ffff:1:2:3", "addr:2001:db8::/64"),
        ("2001:db8:0:1::5", "addr:2001:db8:0:1::/64"),
        (f"::ffff:{CLIENT}", f"addr:{CLIENT}"),
        ("", "addr:"),
    ],
)
def test_who_shares_a_limit(address: str, expected: str) -> None:
    """A host may choose any IPv6 address of its /64, so these are one client."""
    assert limit_identity(address) == expected
