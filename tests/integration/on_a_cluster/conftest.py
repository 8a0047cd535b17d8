"""A real three-node cluster where the other integration tests have one server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.servers import PrivateRedis, PrivateRedisCluster


@pytest.fixture(scope="session")
def cluster(redis_program: Path) -> Iterator[PrivateRedisCluster]:
    """Queue and cache in one; it keeps what was acknowledged, as the queue must."""
    with PrivateRedisCluster(redis_program, appendonly=True) as server:
        yield server


@pytest.fixture
def fresh_redis(cluster: PrivateRedisCluster) -> Iterator[PrivateRedis]:
    """The cluster, empty before the test; it may be killed or frozen in it."""
    cluster.flush()
    # As far as those tests go, one is the other.
    yield cast("PrivateRedis", cluster)
    cluster.revive()


@pytest.fixture
def fresh_queue_redis(fresh_redis: PrivateRedis) -> PrivateRedis:
    """The same."""
    return fresh_redis


@pytest.fixture
def fresh_cache_redis(fresh_redis: PrivateRedis) -> PrivateRedis:
    """The same."""
    return fresh_redis
