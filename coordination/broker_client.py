"""The blocking client that Dramatiq works with: a few seconds of patience, no retries of its own.

A lost or doubled message costs time, never data, so nothing here tries to hide a failover.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import SSLConnection, parse_url
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from coordination.redis_urls import RedisUrl, Topology, parse_redis_url
from coordination.settings import Settings

__all__ = ["BrokerCluster", "open_broker_client"]

_SENTINEL_TIMEOUT_S: Final = 0.5
"""They are asked one after another, and one that hangs must not cost the broker's whole patience"""
Script = Callable[..., Any]


def open_broker_client(settings: Settings) -> redis.Redis | BrokerCluster:
    """A client for ``RedisBroker``. It opens nothing until it is used."""
    target = parse_redis_url(settings.effective_queue_redis_url)
    timeout_s = settings.broker_timeout_ms / 1000
    connection: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "client_name": "farmlokal-broker",
    }
    if target.topology is Topology.CLUSTER:
        return BrokerCluster(target, connection)
    if target.topology is Topology.SENTINEL:
        return _named_by_sentinels(target, connection)
    return redis.Redis.from_url(target.server_url(), **connection)


def _given(url: str) -> dict[str, Any]:
    """What a URL says about a connection, as the clients' constructors take it."""
    given: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
    given["ssl"] = given.pop("connection_class", None) is SSLConnection
    return given


def _named_by_sentinels(target: RedisUrl, connection: dict[str, Any]) -> redis.Redis:
    timeout_s = min(_SENTINEL_TIMEOUT_S, connection["socket_timeout"])
    impatient = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    sentinels = Sentinel([])  # type: ignore[no-untyped-call]
    sentinels.sentinels = [
        redis.Redis(**{**_given(target.sentinel_url(address)), **connection, **impatient})
        for address in target.addresses
    ]
    given = _given(target.server_url(target.addresses[0]))
    for name in ("host", "port"):
        given.pop(name)
    primary = sentinels.master_for(target.service, **given, **connection)  # type: ignore[no-untyped-call]
    return cast("redis.Redis", primary)


class BrokerCluster:
    """As much of a Redis client as ``RedisBroker`` asks for, on a cluster. Safe between threads.

    redis-py's cluster client connects when it is made, and a server that is away must not stop a
    process from starting; and one of its errors is none of a server's, which nobody catches.
    """

    def __init__(self, target: RedisUrl, connection: dict[str, Any]) -> None:
        self._target = target
        self._connection = connection
        self._lock = threading.Lock()
        self._client: RedisCluster | None = None
        self._seeds: list[ClusterNode] = []

    def register_script(self, script: str | bytes) -> Script:
        """A callable that runs the script by ``keys`` and ``args``, as redis-py's ``Script``."""
        ready: Script | None = None

        def run(keys: Sequence[Any] = (), args: Sequence[Any] = ()) -> Any:
            nonlocal ready
            with _as_connection_error():
                if ready is None:
                    ready = self._opened().register_script(script)
                return ready(keys=keys, args=args)

        return run

    def close(self) -> None:
        """Drop all connections. May be called twice."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            # It forgets those by which it found the others.
            for seed in self._seeds:
                if seed.redis_connection is not None:
                    seed.redis_connection.close()

    def __del__(self) -> None:
        # As redis-py's own clients do: nobody closes a broker.
        self.close()

    def _opened(self) -> RedisCluster:
        with self._lock:
            if self._client is None:
                given = _given(self._target.server_url(self._target.addresses[0]))
                for name in ("host", "port"):
                    given.pop(name)
                self._seeds = [ClusterNode(*seed) for seed in self._target.addresses]  # type: ignore[no-untyped-call]
                self._client = RedisCluster(
                    startup_nodes=self._seeds,
                    # A shard without a node must not keep us from the queue's own.
                    require_full_coverage=False,
                    **given,
                    **self._connection,
                )
            return self._client


@contextmanager
def _as_connection_error() -> Iterator[None]:
    try:
        yield
    except RedisClusterException as error:
        raise redis.ConnectionError("the cluster cannot be reached") from error
