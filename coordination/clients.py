"""Named Redis clients, one per purpose, each with its own patience.

The library's defaults take the better part of a minute to notice a hung server, so every timeout
and the absence of retries is explicit here. redis-py's wide types are narrowed at this border.
"""

from __future__ import annotations

from typing import Final

import redis
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from coordination.settings import Settings

__all__ = [
    "RedisError",
    "open_breaker_client",
    "open_broker_client",
    "open_cache_client",
    "open_lock_client",
    "open_operator_client",
    "open_token_client",
    "ping",
]

_OPERATOR_TIMEOUT_MS: Final = 2_000


def _open(
    url: str, *, timeout_ms: int, pool_size: int, name: str, backstop: int = 1
) -> aioredis.Redis:
    timeout_s = timeout_ms / 1000
    pool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=pool_size,
        timeout=timeout_s * backstop,
        socket_timeout=timeout_s * backstop,
        socket_connect_timeout=timeout_s * backstop,
        retry=AsyncRetry(NoBackoff(), 0),
        client_name=f"farmlokal-{name}",
        health_check_interval=0,
    )
    return aioredis.Redis.from_pool(pool)


def open_cache_client(settings: Settings) -> aioredis.Redis:
    """Cache entries and rate limits: never retries.

    ``coordination.cache_plane`` keeps the real deadline, which allows for a busy event loop as the
    library's does not; the client's own is a backstop behind it.
    """
    return _open(
        settings.effective_cache_redis_url,
        timeout_ms=settings.cache_timeout_ms,
        pool_size=settings.cache_pool_size + 1,  # one for the health check, which takes no turn
        name="cache",
        backstop=20,
    )


def open_lock_client(settings: Settings) -> aioredis.Redis:
    """Locks, leases and queue lengths on the queue's server."""
    return _open(
        settings.effective_queue_redis_url,
        timeout_ms=settings.lock_timeout_ms,
        pool_size=8,
        name="locks",
    )


def open_token_client(settings: Settings) -> aioredis.Redis:
    """Partners' tokens on the queue's server: never retries.

    As with the cache, ``coordination.tokens.shared`` keeps the real deadline: taking a busy event
    loop for an absent server would cost a further token.
    """
    return _open(
        settings.effective_queue_redis_url,
        timeout_ms=settings.lock_timeout_ms,
        pool_size=8,
        name="tokens",
        backstop=20,
    )


def open_breaker_client(settings: Settings) -> aioredis.Redis:
    """The fleet's circuits on the queue's server: never retries.

    ``coordination.breakers.fleet`` keeps the real deadline: a process that takes its own lateness
    for an absent server decides alone, and makes a trial of its own beside the fleet's.
    """
    return _open(
        settings.effective_queue_redis_url,
        timeout_ms=settings.lock_timeout_ms,
        pool_size=8,
        name="breakers",
        backstop=20,
    )


def open_operator_client(settings: Settings) -> aioredis.Redis:
    """What commands ask of the queue's server: a person waits for it, so it may take seconds."""
    return _open(
        settings.effective_queue_redis_url,
        timeout_ms=_OPERATOR_TIMEOUT_MS,
        pool_size=1,
        name="operator",
    )


def open_broker_client(settings: Settings) -> redis.Redis:
    """The blocking client Dramatiq works with: a few seconds of patience, no retries."""
    timeout_s = settings.broker_timeout_ms / 1000
    return redis.Redis.from_url(
        settings.effective_queue_redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        client_name="farmlokal-broker",
    )


async def ping(client: aioredis.Redis) -> bool:
    """Whether the server answered within the client's own timeout."""
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
