"""A Redis server that was restarted: the clients' idle connections cost nobody an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import redis.asyncio as aioredis

from coordination.clients import open_breaker_client, open_cache_client, open_lock_client
from coordination.settings import Settings
from tests.databases import settings_for
from tests.servers import PrivateRedis

_AT_ONCE = 8


@pytest.mark.parametrize("open_client", [open_cache_client, open_lock_client, open_breaker_client])
async def test_closed_connections_are_replaced_before_they_are_used(
    fresh_redis: PrivateRedis, tmp_path: Path, open_client: Callable[[Settings], aioredis.Redis]
) -> None:
    """Otherwise the first commands after a restart fail, and the cache is left alone anew."""
    settings = settings_for(tmp_path, "mysql://u:p@127.0.0.1/d", redis_url=fresh_redis.url)
    client = open_client(settings)
    try:
        await asyncio.gather(*(client.ping() for _ in range(_AT_ONCE)))
        await asyncio.to_thread(fresh_redis.kill)
        await asyncio.to_thread(fresh_redis.restart)
        assert await asyncio.gather(*(client.ping() for _ in range(_AT_ONCE))) == [True] * _AT_ONCE
    finally:
        await client.aclose()
