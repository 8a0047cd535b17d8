"""Which node of a cluster serves which key, as its nodes tell it. It asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from coordination.redis_urls import Address

__all__ = ["Ranges", "SlotMap", "key_of", "ranges_of"]

Range = tuple[int, int, Address, tuple[Address, ...]]
"""First and last slot, their primary, its replicas."""
Ranges = tuple[Range, ...]
_KEY_FOLLOWS: Final = {"EVAL": 3, "EVALSHA": 3}


class SlotMap:
    """Empty at first. ``servers`` are all that the nodes told of, replicas too."""

    def __init__(self, ranges: Ranges = ()) -> None:
        self._owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, primary, _ in ranges:
            self._owners[first : last + 1] = [primary] * (last + 1 - first)
        self.primaries = frozenset(primary for _, _, primary, _ in ranges)
        self.servers: tuple[Address, ...] = tuple(
            dict.fromkeys(chain.from_iterable((primary, *more) for _, _, primary, more in ranges))
        )

    def owner(self, key: bytes) -> Address | None:
        """The primary of this key, where there is one."""
        return self._owners[key_slot(key)]

    def move(self, slot: int, owner: Address) -> None:
        """Remember what one redirection told."""
        self._owners[slot] = owner
        self.primaries |= {owner}


def ranges_of(reply: Sequence[Sequence[Any]], asked_of: str) -> Ranges:
    """The reply to CLUSTER SLOTS of the node on this host, in an order that compares."""
    return tuple(sorted(_range(one, asked_of) for one in reply))


def key_of(args: Sequence[Any]) -> bytes:
    """The first key of a command. Raises ``ValueError`` for those without one."""
    at = _KEY_FOLLOWS.get(args[0], 1)
    if len(args) <= at:
        raise ValueError(f"{args[0]} names no key: a cluster's node must be asked for it by itself")
    key = args[at]
    return key if isinstance(key, bytes) else str(key).encode()


def _range(one: Sequence[Any], asked_of: str) -> Range:
    first, last, *servers = one
    primary, *replicas = (_address(server, asked_of) for server in servers)
    return int(first), int(last), primary, tuple(sorted(replicas))


def _address(server: Sequence[Any], asked_of: str) -> Address:
    host = server[0].decode() if isinstance(server[0], bytes) else server[0]
    # Empty: the node does not know its own name. "?" or nothing: it is not to be told.
    return (host if host and host != "?" else asked_of), int(server[1])
