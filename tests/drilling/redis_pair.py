"""A queue's and a cache's Redis for one fleet: two fleets on one pair would read each other's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.servers import PrivateRedis

__all__ = ["RedisPair", "redis_pair"]


class RedisPair(NamedTuple):
    """As in production: the one keeps what it acknowledged, the other evicts."""

    queue: PrivateRedis
    cache: PrivateRedis


@contextmanager
def redis_pair(program: Path) -> Iterator[RedisPair]:
    """Both, empty, until the block ends."""
    with (
        PrivateRedis(program, appendonly=True) as queue,
        PrivateRedis(program, maxmemory_policy="volatile-lru") as cache,
    ):
        yield RedisPair(queue, cache)
