"""Named Redis clients, one per purpose, each with its own patience.

The library's defaults take the better part of a minute to notice a hung server, so every timeout
and the absence of retries is explicit here, for one server, a cluster's nodes and sentinels alike.
redis-py's wide types are narrowed at this border. The blocking client of the broker is opened in
``coordination.broker_client``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import redis.asyncio as aioredis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from coordination.pipelining import PipeliningClient
from coordination.redis_cluster import ClusterClient
from coordination.redis_sentinel import SentinelClient, Sentinels
from coordination.redis_urls import Topology, parse_redis_url
from coordination.settings import Settings

__all__ = [
    "RedisError",
    "connections_in_use",
    "open_breaker_client",
    "open_cache_client",
    "open_cache_pipeline",
    "open_lock_client",
    "open_operator_client",
    "open_token_client",
    "open_tool_client",
    "ping",
    "replacements",
]

_OPERATOR_TIMEOUT_MS: Final = 2_000


def _open(
    url: str, *, timeout_ms: int, pool_size: int, name: str, backstop: int = 1
) -> aioredis.Redis:
    def connection(timeout_s: float) -> dict[str, Any]:
        return {
            "max_connections": pool_size,
            "timeout": timeout_s,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "retry": Retry(NoBackoff(), 0),
            "client_name": f"farmlokal-{name}",
            "health_check_interval": 0,
            # A hosted service's notices, which each new connection would first ask for.
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }

    def one_server(server_url: str, timeout_s: float) -> aioredis.Redis:
        pool = aioredis.BlockingConnectionPool.from_url(server_url, **connection(timeout_s))
        return aioredis.Redis.from_pool(pool)

    own_s, behind_s = timeout_ms / 1000, timeout_ms / 1000 * backstop
    target = parse_redis_url(url)
    if target.topology is Topology.CLUSTER:
        return ClusterClient(
            target.addresses,
            lambda address: one_server(target.server_url(address), behind_s),
            lambda address: PipeliningClient(
                target.server_url(address), timeout_s=own_s, name=name
            ),
        )
    if target.topology is Topology.SENTINEL:
        sentinels = Sentinels(
            [one_server(target.sentinel_url(one), own_s) for one in target.addresses]
        )
        # Whose address it is does not matter: the sentinels say where to connect.
        given = parse_url(target.server_url(target.addresses[0]))
        return SentinelClient(sentinels, target.service, **{**given, **connection(behind_s)})
    return one_server(target.server_url(), behind_s)


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


def open_cache_pipeline(settings: Settings) -> PipeliningClient | None:
    """The cache's scripts on one server; ``None`` where it is a cluster or behind sentinels."""
    url = settings.effective_cache_redis_url
    if parse_redis_url(url).topology is not Topology.SINGLE:
        return None
    timeout_s = settings.cache_timeout_ms / 1000
    return PipeliningClient(url, timeout_s=timeout_s, name="cache")


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


def open_tool_client(url: str, *, timeout_ms: int = 1_000) -> aioredis.Redis:
    """What a tool asks of whatever one URL names."""
    return _open(url, timeout_ms=timeout_ms, pool_size=1, name="tool")


async def ping(client: aioredis.Redis) -> bool:
    """Whether the server, or every primary of a cluster, answered within the client's timeout."""
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False


def connections_in_use(client: aioredis.Redis) -> int:
    """How many connections carry a command just now, to all its servers."""
    pools = client.pools if isinstance(client, ClusterClient) else [client.connection_pool]
    # redis-py counts them in a private set only.
    return sum(len(getattr(pool, "_in_use_connections", ())) for pool in pools)


def replacements(client: aioredis.Redis) -> Callable[[], int]:
    """Tells how often this client has met a new primary; for one server that is never.

    Replication is asynchronous: the new one may lack writes that the old one acknowledged.
    """
    if isinstance(client, ClusterClient | SentinelClient):
        return lambda: client.replaced
    return int
