"""A lock that runs out mid-fetch: the older token never replaces the newer."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from coordination import keys
from coordination.clients import open_token_client
from coordination.settings import Settings
from coordination.tokens.shared import Absent, Found, Lock, SharedTokens
from coordination.tokens.token import Token
from tests.oauth_provider import OAuthServer
from tests.polling import eventually_async
from tests.servers import PrivateRedis
from tests.token_stores import PROVIDER, token_settings, token_store

LOCK_KEY = keys.oauth_lock(PROVIDER)


async def test_the_older_of_two_tokens_never_replaces_the_newer(settings: Settings) -> None:
    """A lock that ran out mid-fetch: both have a token, and the late writer must lose."""
    shared = SharedTokens(open_token_client(settings), settings)
    try:
        slow = await shared.take(PROVIDER, 0)
        assert isinstance(slow, Lock)
        assert await shared.take(PROVIDER, 0) is Absent.BUSY
        await shared._client.delete(LOCK_KEY)  # as when its time has passed
        quick = await shared.take(PROVIDER, 0)
        assert isinstance(quick, Lock)
        assert quick.fence > slow.fence
        ends_at = asyncio.get_running_loop().time() + 3600
        newer, older = Token("new", ends_at, quick.fence), Token("old", ends_at, slow.fence)
        assert await shared.store(PROVIDER, newer, ends_at, quick.owner)
        assert not await shared.store(PROVIDER, older, ends_at, slow.owner)
        seen = await shared.look(PROVIDER, 0)
        assert isinstance(seen, Found)
        assert seen.token.value == "new"
    finally:
        await shared.close()


async def test_a_late_writer_takes_nobodys_lock(settings: Settings) -> None:
    """Compare-and-delete: a lock that went to another must stand."""
    shared = SharedTokens(open_token_client(settings), settings)
    try:
        slow = await shared.take(PROVIDER, 0)
        assert isinstance(slow, Lock)
        await shared._client.delete(LOCK_KEY)
        quick = await shared.take(PROVIDER, 0)
        assert isinstance(quick, Lock)
        ends_at = asyncio.get_running_loop().time() + 3600
        await shared.release(PROVIDER, slow)
        await shared.store(PROVIDER, Token("old", ends_at, slow.fence), ends_at, slow.owner)
        assert await shared._client.get(LOCK_KEY) == quick.owner.encode()
        # Until the newer one is there, a token that came late is better than none.
        assert await shared.store(PROVIDER, Token("new", ends_at, quick.fence), ends_at)
    finally:
        await shared.close()


async def test_fences_grow_though_the_servers_clock_was_set_back(settings: Settings) -> None:
    """max(TIME, last + 1): a number from the future is followed by its successor."""
    shared = SharedTokens(open_token_client(settings), settings)
    try:
        future = 9 * 10**15 - 7
        await shared._client.set(keys.oauth_fence(PROVIDER), future)
        lock = await shared.take(PROVIDER, 0)
        assert isinstance(lock, Lock)
        assert lock.fence == future + 1
    finally:
        await shared.close()


async def test_one_whose_lock_ran_out_mid_fetch_is_given_the_newer_token(
    tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """The whole flow: the late process must not go on with a token that was replaced."""
    settings = token_settings(tmp_path, server, fresh_redis.url)
    async with AsyncExitStack() as stack:
        slow, quick = [await stack.enter_async_context(token_store(settings)) for _ in range(2)]
        server.hold()
        waiting = asyncio.create_task(slow.token(PROVIDER))
        await eventually_async(lambda: server.asked)
        with fresh_redis.client() as client:
            client.delete(LOCK_KEY)
        with OAuthServer() as other:
            # The second process is answered by another server of the provider, and at once.
            here = token_settings(tmp_path, other, fresh_redis.url)
            winner = await stack.enter_async_context(token_store(here))
            newer = await winner.token(PROVIDER)
            server.release()
            assert (await waiting).fence == newer.fence
            assert (await quick.token(PROVIDER)).value == newer.value
