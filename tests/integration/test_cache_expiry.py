"""Entries past their time: renewed once, served while the database is away, never once voided."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from coordination import keys
from coordination.cache import AnswerCache, Ground, Lifetime, Outcome
from coordination.cache_entry import NOT_FOUND, Answer, answer_of
from coordination.errors import DatabaseUnavailable, InvalidInput
from tests.caching import PLAN, VALUE, Source, cache_process
from tests.polling import eventually_async
from tests.servers import PrivateRedis

_BRIEF = replace(PLAN, lifetime=Lifetime(soft_s=0.1, hard_s=0.2, negative_s=0.2))
_ID = UUID("01900000-0000-7000-8000-000000000001")
_NEWER = answer_of(b'{"data": ["newer"]}')


async def _away(ground: Ground) -> Answer:
    raise DatabaseUnavailable("away")


async def _expired(cache: AnswerCache) -> None:
    """Leave an entry in the cache whose time has run out."""
    assert (await cache.fetch(_BRIEF, Source().fill, None)).outcome is Outcome.MISS
    left_ms = await cache.plane.client.pttl(_BRIEF.entry)
    gone_below_ms = left_ms - 200

    async def is_over() -> bool:
        return bool(await cache.plane.client.pttl(_BRIEF.entry) < gone_below_ms)

    await eventually_async(is_over, deadline_s=5)


async def test_an_expired_entry_is_served_and_marked_while_the_database_is_away(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    async with cache_process(tmp_path, fresh_redis) as cache:
        await _expired(cache)
        for _ in range(3):
            rescued = await cache.fetch(_BRIEF, _away, None)
            assert (rescued.outcome, rescued.answer) == (Outcome.RESCUE, VALUE)
            assert rescued.ttl_s < 0
        # As soon as the database answers again, so does the truth.
        fetched = await cache.fetch(_BRIEF, Source(_NEWER).fill, None)
        assert (fetched.outcome, fetched.answer) == (Outcome.MISS, _NEWER)


async def test_an_entry_that_was_voided_is_not_served_however_long_the_database_is_away(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    async with cache_process(tmp_path, fresh_redis) as cache:
        await _expired(cache)
        await cache.plane.void([], [keys.GENERATION_PRODUCTS])
        with pytest.raises(DatabaseUnavailable):
            await cache.fetch(_BRIEF, _away, None)


async def test_it_is_served_no_longer_than_configured(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    async with cache_process(tmp_path, fresh_redis, stale_if_error_s=0) as cache:
        await cache.fetch(_BRIEF, Source().fill, None)

        async def is_gone() -> bool:
            return not await cache.plane.client.exists(_BRIEF.entry)

        await eventually_async(is_gone, deadline_s=5)
        with pytest.raises(DatabaseUnavailable):
            await cache.fetch(_BRIEF, _away, None)


async def test_what_the_client_did_wrong_is_told_and_not_hidden_by_an_expired_entry(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    async def refuse(ground: Ground) -> Answer:
        raise InvalidInput([])

    async with cache_process(tmp_path, fresh_redis) as cache:
        await _expired(cache)
        with pytest.raises(InvalidInput):
            await cache.fetch(_BRIEF, refuse, None)


async def test_a_slow_database_holds_nobody_up_for_whom_there_is_an_expired_entry(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """One asks for all; who waited long enough gets what there is; its answer is kept."""
    slow = Source(_NEWER)
    slow.may_answer.clear()
    async with (
        cache_process(tmp_path, fresh_redis, cache_stale_wait_ms=200) as one,
        cache_process(tmp_path, fresh_redis, cache_stale_wait_ms=200) as other,
    ):
        await _expired(one)
        began_at = time.monotonic()
        herd = await asyncio.gather(
            *(cache.fetch(_BRIEF, slow.fill, None) for cache in (one, other) * 20)
        )
        assert 0.15 < time.monotonic() - began_at < 2
        assert {fetched.outcome for fetched in herd} == {Outcome.RESCUE}
        assert slow.asked == 1
        slow.may_answer.set()
        kept = replace(_BRIEF, lifetime=PLAN.lifetime)

        async def is_renewed() -> bool:
            return (await other.fetch(kept, slow.fill, None)).answer == _NEWER

        await eventually_async(is_renewed, deadline_s=5)


async def test_a_filler_that_died_over_an_expired_entry_passes_it_on(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    async with cache_process(tmp_path, fresh_redis, cache_fill_lease_ms=300) as cache:
        await _expired(cache)
        await cache._read(_BRIEF, None)  # takes the lease, and nothing more is heard of it
        source = Source(_NEWER)

        async def is_renewed() -> bool:
            return (await cache.fetch(_BRIEF, source.fill, None)).answer == _NEWER

        await eventually_async(is_renewed, deadline_s=5)
        assert source.asked == 1


class _Settling(Source):
    """Remembers how long each answer was said to be settled."""

    def __init__(self) -> None:
        super().__init__()
        self.settled_ms = -1

    async def fill(self, ground: Ground) -> Answer:
        self.settled_ms = ground.settled_ms
        return await super().fill(ground)


async def test_a_filler_learns_how_long_ago_its_answer_was_last_voided(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """Nothing known counts as just now; so does anything voided that the answer depends on."""
    product = keys.product(_ID)
    plan = replace(
        PLAN,
        entry=product,
        generations=(keys.GENERATION_ALL,),
        watched=(keys.GENERATION_PRODUCTS,),
    )
    async with cache_process(tmp_path, fresh_redis) as cache:
        source = _Settling()

        async def filled_anew() -> int:
            await cache.plane.client.delete(product)
            assert (await cache.fetch(plan, source.fill, None)).outcome is Outcome.MISS
            return source.settled_ms

        async def is_settled() -> bool:
            return await filled_anew() > 300

        assert await filled_anew() == 0
        await eventually_async(is_settled, deadline_s=5)
        for voided in (plan.generations, plan.watched):
            await cache.plane.void([], voided)
            assert await filled_anew() < 300
            await eventually_async(is_settled, deadline_s=5)
        await cache.plane.void([_ID], [])
        assert (await cache.fetch(plan, source.fill, None)).outcome is Outcome.MISS
        assert source.settled_ms < 300
        for evicted in (*plan.generations, *plan.watched):
            await cache.plane.client.delete(evicted)
            assert await filled_anew() == 0
            await eventually_async(is_settled, deadline_s=5)


async def test_an_entry_of_another_layout_is_taken_for_none(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """Two releases side by side share one cache."""
    async with cache_process(tmp_path, fresh_redis) as cache:
        await cache.fetch(PLAN, Source().fill, None)
        await cache.plane.client.setrange(PLAN.entry, 0, "X")
        assert (await cache.fetch(PLAN, Source(NOT_FOUND).fill, None)).outcome is Outcome.MISS
