"""Redis away, frozen, or back again: callers have tokens all the same, one request per process."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from coordination import keys
from coordination.errors import BadCredentials
from coordination.settings import Settings
from coordination.tokens.store import TokenStore
from tests.oauth_provider import OAuthServer
from tests.polling import eventually_async
from tests.servers import PrivateRedis
from tests.token_stores import PROVIDER, token_settings, token_store


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_each_process_fetches_once_while_redis_is_away(
    stores: tuple[TokenStore, TokenStore],
    server: OAuthServer,
    fresh_redis: PrivateRedis,
    fault: str,
) -> None:
    """In-process single flight and memory stand in; a hung Redis costs its timeout, no more."""
    getattr(fresh_redis, fault)()
    began_at = time.monotonic()
    tokens = await asyncio.gather(*(store.token(PROVIDER) for store in stores for _ in range(30)))
    assert time.monotonic() - began_at < 3
    assert all(server.accepts(token.value) for token in tokens)
    assert len(server.asked) == 2
    for store in stores:
        assert server.accepts((await store.token(PROVIDER)).value)
    assert len(server.asked) == 2


async def test_a_frozen_redis_slows_nobody_who_has_a_token(
    tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """Only the first look after the freeze waits; later ones are made behind the callers' backs."""
    settings = token_settings(
        tmp_path, server, fresh_redis.url, oauth_memory_s=1, lock_timeout_ms=250
    )
    async with token_store(settings) as store:
        await store.token(PROVIDER)
        fresh_redis.freeze()
        slow = 0
        ends_at = time.monotonic() + 4
        while time.monotonic() < ends_at:
            began_at = time.monotonic()
            await store.token(PROVIDER)
            slow += time.monotonic() - began_at > 0.2
            await asyncio.sleep(0.01)  # steady callers, not a wait for anything
        assert slow <= 2  # of four, if each look were waited for
        assert len(server.asked) == 1


async def test_a_token_obtained_alone_is_shared_once_redis_is_back(
    tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """Else each process would go on with its own, and the scheduler would find none."""
    settings = token_settings(tmp_path, server, fresh_redis.url, oauth_memory_s=1)
    async with token_store(settings) as one, token_store(settings) as other:
        fresh_redis.kill()
        alone = {(await store.token(PROVIDER)).fence for store in (one, other)}
        assert len(alone) == 2
        fresh_redis.restart()

        async def both() -> set[int]:
            return {(await store.token(PROVIDER)).fence for store in (one, other)}

        async def is_one() -> bool:
            return len(await both()) == 1

        await eventually_async(is_one)
        assert await both() == {max(alone)}
        with fresh_redis.client() as client:
            assert client.get(keys.oauth_fence(PROVIDER)) == str(max(alone)).encode()
        # A later one has a higher number, whichever clock gave the last.
        assert (await one.rejected(PROVIDER, max(alone))).fence > max(alone)
    assert len(server.asked) == 3


async def test_an_emptied_redis_gets_the_token_back(
    tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """A lost key must not cost a request by every process."""
    settings = token_settings(tmp_path, server, fresh_redis.url, oauth_memory_s=1)
    async with token_store(settings) as one:
        token = await one.token(PROVIDER)
        fresh_redis.flush()

        async def is_back() -> bool:
            await one.token(PROVIDER)
            with fresh_redis.client() as client:
                return client.exists(keys.oauth_token(PROVIDER)) == 1

        await eventually_async(is_back)
        async with token_store(settings) as other:
            assert (await other.token(PROVIDER)).fence == token.fence
    assert len(server.asked) == 1


async def test_a_failure_is_remembered_without_redis_too(
    settings: Settings,
    server: OAuthServer,
    fresh_redis: PrivateRedis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No hammering because the place to say so is away."""
    fresh_redis.kill()
    server.status, server.body = 400, b'{"error": "invalid_client"}'
    caplog.set_level(logging.INFO)
    async with token_store(settings) as store:
        for _ in range(10):
            with pytest.raises(BadCredentials):
                await store.token(PROVIDER)
        assert len(server.asked) == 1
        assert [record.levelname for record in caplog.records].count("ERROR") == 1
        fresh_redis.restart()

        async def is_shared() -> bool:
            with pytest.raises(BadCredentials):
                await store.token(PROVIDER)
            with fresh_redis.client() as client:
                return client.exists(keys.oauth_failure(PROVIDER)) == 1

        await eventually_async(is_shared)
    assert len(server.asked) == 1


async def test_redis_that_goes_mid_fetch_costs_nothing(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """The token is there; that it cannot be shared is no reason to withhold it."""
    server.hold()
    waiting = asyncio.create_task(stores[0].token(PROVIDER))
    await eventually_async(lambda: server.asked)
    fresh_redis.kill()
    server.release()
    assert server.accepts((await waiting).value)
    assert len(server.asked) == 1
