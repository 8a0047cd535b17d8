"""Tokens over minutes of a moved clock: nobody waits, and nobody is given an expired one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coordination.errors import ProviderUnavailable
from tests.oauth_provider import OAuthServer
from tests.polling import eventually_async
from tests.servers import PrivateRedis
from tests.token_stores import PROVIDER, MovedClock, token_settings, token_store


async def test_steady_callers_never_wait_while_a_scheduler_refreshes(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """A token of 120 s over ten minutes: only the scheduler's store asks the provider."""
    clock = MovedClock()
    with OAuthServer(clock) as server:
        server.expires_in = 120
        settings = token_settings(tmp_path, server, fresh_redis.url)
        async with (
            token_store(settings, clock) as scheduler,
            token_store(settings, clock) as one,
            token_store(settings, clock) as other,
        ):
            outcomes = []
            for second in range(600):
                outcomes.append((await scheduler.refresh_if_due(PROVIDER)).outcome)
                before = len(server.asked)
                for caller in (one, other):
                    if (second // 100) % 2 and caller is other:
                        continue  # away for a while, as a quiet process is
                    token = await caller.token(PROVIDER)
                    assert server.accepts(token.value)
                    assert token.expires_at - clock.at > 60 - settings.oauth_memory_s
                assert len(server.asked) == before
                clock.at += 1
            # Every 27 to 30 s.
            assert 600 / 30 <= outcomes.count("stored") <= 600 / 26
            assert set(outcomes) == {"stored", "fresh"}


async def test_a_valid_token_outlives_its_provider_and_no_longer(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """Down for a while: the valid one is still used, at once; then a typed error; then back."""
    clock = MovedClock()
    with OAuthServer(clock) as server:
        server.expires_in = 120
        settings = token_settings(tmp_path, server, fresh_redis.url)
        async with (
            token_store(settings, clock) as scheduler,
            token_store(settings, clock) as caller,
        ):
            first = await caller.token(PROVIDER)
            ends_at = server.issued[first.value]
            server.status = 503
            asked = len(server.asked)
            while clock.at < ends_at - 6:
                await scheduler.refresh_if_due(PROVIDER)
                token = await caller.token(PROVIDER)
                assert token.fence == first.fence
                assert server.accepts(token.value)
                clock.at += 1
            # One request in 5 s and process at most, after the first few.
            assert 10 <= len(server.asked) - asked <= 45
            clock.at = ends_at
            with pytest.raises(ProviderUnavailable):
                await caller.token(PROVIDER)
            server.status = 200
            clock.at += 6
            assert (await scheduler.refresh_if_due(PROVIDER)).outcome == "stored"
            assert server.accepts((await caller.token(PROVIDER)).value)


@pytest.mark.parametrize("status", [503, 401])
async def test_a_new_leader_knows_the_token_that_it_cannot_renew(
    tmp_path: Path, fresh_redis: PrivateRedis, status: int
) -> None:
    """Taking over amid an outage, it must not report that there is no token while there is one."""
    clock = MovedClock()
    with OAuthServer(clock) as server:
        settings = token_settings(tmp_path, server, fresh_redis.url)
        async with token_store(settings, clock) as caller, token_store(settings, clock) as leader:
            await caller.token(PROVIDER)
            server.status = status
            clock.at += 1_800
            seen = [await leader.refresh_if_due(PROVIDER) for _ in range(2)]
        failed = "unavailable" if status == 503 else "refused"
        assert [refreshed.outcome for refreshed in seen] == [failed, "waiting"]
        assert [refreshed.expires_in_s for refreshed in seen] == [pytest.approx(1_800, abs=1)] * 2


async def test_a_hanging_provider_is_nobodys_wait_while_a_token_is_valid(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """In a token's last minute it is renewed behind the callers' backs."""
    clock = MovedClock()
    with OAuthServer(clock) as server:
        settings = token_settings(tmp_path, server, fresh_redis.url)
        async with token_store(settings, clock) as caller:
            first = await caller.token(PROVIDER)
            clock.at += 3600 - 30
            server.hold()
            async with asyncio.timeout(5):  # the provider would take its eight seconds
                for _ in range(20):
                    assert (await caller.token(PROVIDER)).fence == first.fence
            server.release()

            async def is_new() -> bool:
                return (await caller.token(PROVIDER)).fence > first.fence

            await eventually_async(is_new)
            assert len(server.asked) == 2


async def test_refresh_in_wins_over_half_life(tmp_path: Path, fresh_redis: PrivateRedis) -> None:
    """A provider that wants its tokens renewed after ten minutes knows why."""
    clock = MovedClock()
    with OAuthServer(clock) as server:
        server.more = {"refresh_in": 600}
        async with token_store(token_settings(tmp_path, server, fresh_redis.url), clock) as store:
            refreshed = await store.refresh_if_due(PROVIDER)
            assert refreshed.refresh_in_s is not None
            assert 540 <= refreshed.refresh_in_s <= 600
            clock.at += 539
            assert (await store.refresh_if_due(PROVIDER)).outcome == "fresh"
            clock.at += 62
            assert (await store.refresh_if_due(PROVIDER)).outcome == "stored"
