"""A lease in Redis with an owner token and a fencing number: who may act, not what is true.

A lease gives efficiency; work that must not happen twice also checks its own row or slot (Kleppmann
on Redlock). Fails closed: without Redis nobody holds it.
"""

from __future__ import annotations

from typing import cast

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from coordination.cache_plane import fresh_token
from coordination.scripts import script


class Lease:
    """One holder's view of one key. ``hold`` takes or renews; ``release`` may be called twice."""

    def __init__(self, client: aioredis.Redis, key: str, ttl_ms: int) -> None:
        self._key = key
        self._ttl_ms = ttl_ms
        self._owner = fresh_token()
        self._take = script(client, "lease")
        self._give_back = script(client, "release")

    async def hold(self) -> int | None:
        """The fencing number while this owner holds the lease, else ``None``."""
        try:
            reply = await self._take([self._key], [self._owner, self._ttl_ms])
        except (RedisError, OSError):
            return None
        fence = cast("bytes", reply)
        return int(fence) if fence else None

    async def release(self) -> None:
        """Give it back at once, so that another need not wait for it to run out."""
        try:
            await self._give_back([self._key], [self._owner])
        except (RedisError, OSError):
            return
