"""Behind sentinels every purpose finds the new primary, and trusts nothing from before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from coordination import keys
from coordination.cache import Outcome
from coordination.clients import open_lock_client, open_token_client, ping, replacements
from coordination.jobs import SWEEP, Sweep, message, open_broker
from coordination.lease import Lease
from coordination.settings import Settings
from tests.caching import PLAN, Source, cache_process
from tests.databases import settings_for
from tests.polling import eventually_async
from tests.ports import free_port
from tests.servers import PrivateSentinels
from tests.servers.redis_sentinel import SERVICE

_RECOVERY_S = 30


@pytest.fixture
def sentinels(redis_program: Path) -> Iterator[PrivateSentinels]:
    # Anew for each test: the sentinels take ten seconds to make a replica of one that came back.
    with PrivateSentinels(redis_program) as servers:
        yield servers


@pytest.fixture
def settings(tmp_path: Path, sentinels: PrivateSentinels) -> Settings:
    return settings_for(
        tmp_path, "sqlite:////nowhere", redis_url=sentinels.url, lock_timeout_ms=1_000
    )


async def test_a_sentinel_that_hangs_holds_nobody_up(
    settings: Settings, sentinels: PrivateSentinels
) -> None:
    """They are asked all at once: the first in the URL is not waited for."""
    sentinels.sentinels[0].freeze()
    impatient = settings.model_copy(update={"lock_timeout_ms": 30_000})
    client = open_lock_client(impatient)
    broker = open_broker(settings)

    async def working() -> bool:
        await asyncio.to_thread(broker.enqueue, message(SWEEP, Sweep()))
        return bool(await client.set("written", b"here"))

    async with asyncio.timeout(20):
        await eventually_async(working, retry_on=Disconnected)
    await client.aclose()


async def test_every_purpose_finds_the_primary_that_took_over(
    tmp_path: Path, settings: Settings, sentinels: PrivateSentinels
) -> None:
    """The lease, the tokens' client, the broker and the cache go on; old entries are void."""
    locks, tokens = open_lock_client(settings), open_token_client(settings)
    lease = Lease(locks, keys.SCHEDULER_LEASE, 60_000)
    broker = open_broker(settings)
    async with cache_process(tmp_path, sentinels, cache_timeout_ms=1_000) as cache:
        assert await lease.hold()
        assert await tokens.set("token", b"kept")
        await asyncio.to_thread(broker.enqueue, message(SWEEP, Sweep()))
        await cache.fetch(PLAN, Source().fill, None)
        before = (await cache.fetch(PLAN, Source().fill, None)).generation
        assert before is not None

        away = sentinels.kill()
        assert (await cache.fetch(PLAN, Source().fill, None)).outcome is Outcome.BYPASS
        await asyncio.to_thread(sentinels.await_failover, away)

        async def served_again() -> bool:
            fetched = await cache.fetch(PLAN, Source().fill, None)
            # It was replicated, and would be served, were it not for what may have been lost.
            assert fetched.generation != before
            return fetched.outcome is Outcome.HIT

        async def working() -> bool:
            await tokens.set("token", b"kept")
            await asyncio.to_thread(broker.enqueue, message(SWEEP, Sweep()))
            return bool(await lease.hold())

        await eventually_async(served_again, deadline_s=_RECOVERY_S)
        await eventually_async(working, deadline_s=_RECOVERY_S, retry_on=RedisError)
        assert replacements(cache.plane.client)() == 1
        assert await tokens.get("token") == b"kept"
    await tokens.aclose()
    await locks.aclose()


async def test_a_primary_that_became_a_replica_is_left(
    settings: Settings, sentinels: PrivateSentinels
) -> None:
    """Its place is taken on purpose: it goes on answering, and nobody listens after a second."""
    client = open_lock_client(settings)
    assert await client.set("written", b"before")
    old = sentinels.primary
    with sentinels.sentinels[0].client() as sentinel:
        sentinel.sentinel_failover(SERVICE)
    await asyncio.to_thread(sentinels.await_failover, old)
    await asyncio.sleep(1.1)  # for how long a confirmation counts

    async def written() -> bool:
        return bool(await client.set("written", b"after"))

    await eventually_async(written, deadline_s=_RECOVERY_S, retry_on=RedisError)
    with sentinels.client() as looking:
        assert looking.get("written") == b"after"
    await client.aclose()


async def test_sentinels_that_are_away_stop_no_start(tmp_path: Path) -> None:
    """Each purpose opens without asking, and fails as one server that is away."""
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/shop"
    settings = settings_for(tmp_path, "sqlite:////nowhere", redis_url=url)
    client, broker = open_lock_client(settings), open_broker(settings)
    assert not await ping(client)
    with pytest.raises(Disconnected):
        await client.get("anything")
    with pytest.raises(Disconnected):
        await asyncio.to_thread(broker.enqueue, message(SWEEP, Sweep()))
    await client.aclose()
