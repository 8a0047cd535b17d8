"""Who fills a cached answer, and what becomes of late, stuck, abandoned and failing fills."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
import pytest

from coordination import keys
from coordination.cache import AnswerCache, Fill, Ground, Lifetime, Outcome, ReadPlan
from coordination.cache_entry import NOT_FOUND, Answer, answer_of
from coordination.errors import DatabaseUnavailable
from coordination.jobs import WARM_CACHE
from models.catalog import listing, voiding
from models.catalog.products import fetch_product, fill_product, plan_for
from models.catalog.warming import warm_lists, warm_products
from models.resources import Resources
from tests.caching import PLAN, VALUE, Source, cache_process
from tests.catalogue import add_product, change_price_silently
from tests.integration.conftest import HintLog
from tests.polling import eventually_async
from tests.servers import PrivateRedis

_SOON_DUE = Lifetime(soft_s=0, hard_s=60, negative_s=10)
"""For entries that a warm-up may fill anew at once."""


@pytest.mark.parametrize("mishap", ["none", "generations evicted", "emptied", "restarted empty"])
@pytest.mark.parametrize("reader_meanwhile", [False, True])
async def test_a_fill_that_ends_after_a_voiding_resurrects_nothing(
    db_resources: Resources, fresh_redis: PrivateRedis, mishap: str, reader_meanwhile: bool
) -> None:
    resources = db_resources
    product_id, category = await add_product(resources.db)
    default, fruit = listing.first_page(), listing.first_page("fruit")
    fillers: dict[ReadPlan, Fill] = {
        plan_for(resources.settings, product_id): partial(fill_product, resources, product_id),
        listing.plan_for(resources.settings, default): partial(
            listing.fill_list, resources, default
        ),
        listing.plan_for(resources.settings, fruit): partial(listing.fill_list, resources, fruit),
    }
    may_end, read_old = asyncio.Event(), asyncio.Semaphore(0)

    async def slowly(fill: Fill, ground: Ground) -> Answer:
        answer = await fill(ground)
        read_old.release()
        await may_end.wait()
        return answer

    late = [
        asyncio.create_task(resources.cache.fetch(plan, partial(slowly, fill), None))
        for plan, fill in fillers.items()
    ]
    for _ in late:
        await read_old.acquire()
    _, change = await change_price_silently(resources.db, product_id, category, 250)
    assert (await voiding.void(resources, [change])).acknowledged
    with fresh_redis.client() as client:
        if mishap == "generations evicted":
            names = ("all", "products", "category:fruit")
            assert client.delete(*(f"cache:gen:{name}" for name in names)) == 3
        elif mishap == "emptied":
            client.flushall()
    if mishap == "restarted empty":
        fresh_redis.kill()
        fresh_redis.restart()

    async def prices() -> set[str]:
        shown = set()
        for plan, fill in fillers.items():
            body = orjson.loads((await resources.cache.fetch(plan, fill, None)).answer.body)
            shown |= {item["price"] for item in body.get("data", [body])}
        return shown

    if reader_meanwhile:
        assert await prices() == {"2.50"}
    may_end.set()
    for fetched in await asyncio.gather(*late):
        # Whoever asked before the change was answered gets what was true then.
        assert b"1.00" in fetched.answer.body
    assert await prices() == {"2.50"}
    assert await prices() == {"2.50"}


async def test_a_tombstone_set_together_with_a_new_generation_is_not_served(
    tmp_path: Path, fresh_redis: PrivateRedis, db_resources: Resources
) -> None:
    product_id, _ = await add_product(db_resources.db)
    await fetch_product(db_resources, product_id, None)
    held = await db_resources.plane.void([product_id], [keys.GENERATION_ALL])
    assert held == [True]
    fetched = await fetch_product(db_resources, product_id, None)
    assert fetched.outcome is Outcome.MISS
    assert (await fetch_product(db_resources, product_id, None)).outcome is Outcome.HIT


async def test_a_dead_fillers_lease_passes_on(tmp_path: Path, fresh_redis: PrivateRedis) -> None:
    source = Source()
    async with (
        cache_process(tmp_path, fresh_redis, cache_fill_lease_ms=300) as dead,
        cache_process(tmp_path, fresh_redis, cache_fill_lease_ms=300) as alive,
    ):
        await dead._read(PLAN, None)  # takes the lease, and nothing more is heard of it
        began_at = time.monotonic()
        herd = await asyncio.gather(*(alive.fetch(PLAN, source.fill, None) for _ in range(20)))
        assert 0.2 < time.monotonic() - began_at < 1.5
        assert {fetched.answer for fetched in herd} == {VALUE}
        assert source.asked == 1
        assert (await dead.fetch(PLAN, source.fill, None)).outcome is Outcome.HIT


async def test_waiting_for_another_filler_is_bounded(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    source = Source()
    async with (
        cache_process(tmp_path, fresh_redis, cache_fill_lease_ms=60_000) as stuck,
        cache_process(tmp_path, fresh_redis, cache_fill_wait_ms=200) as waiting,
    ):
        await stuck._read(PLAN, None)
        began_at = time.monotonic()
        fetched = await waiting.fetch(PLAN, source.fill, None)
        assert fetched.outcome is Outcome.BYPASS
        assert 0.19 < time.monotonic() - began_at < 1.0


async def test_a_client_that_leaves_does_not_stop_the_fill_for_others(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    source = Source()
    source.may_answer.clear()
    async with (
        cache_process(tmp_path, fresh_redis) as cache,
        cache_process(tmp_path, fresh_redis) as other,
    ):
        leaving = asyncio.create_task(cache.fetch(PLAN, source.fill, None))
        await eventually_async(lambda: source.asked == 1)
        staying = [asyncio.create_task(c.fetch(PLAN, source.fill, None)) for c in (cache, other)]
        first_to_wait = asyncio.create_task(other.fetch(PLAN, source.fill, None))
        await asyncio.sleep(0.02)
        for task in (leaving, first_to_wait):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        source.may_answer.set()
        assert {(await task).answer for task in staying} == {VALUE}
        assert source.asked == 1


async def test_a_failing_fill_gives_its_lease_back(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    async def fail(ground: Ground) -> Answer:
        raise DatabaseUnavailable("away")

    async with cache_process(tmp_path, fresh_redis) as cache:
        with pytest.raises(DatabaseUnavailable):
            await cache.fetch(PLAN, fail, None)
        with fresh_redis.client() as client:
            assert not client.exists(PLAN.entry)
        assert (await cache.fetch(PLAN, Source().fill, None)).outcome is Outcome.MISS
        # A refresh that fails leaves what it found.
        aging = replace(PLAN, entry=keys.product_list("aging"), lifetime=_SOON_DUE)
        await cache.fetch(aging, Source().fill, None)
        with pytest.raises(DatabaseUnavailable):
            await cache.refresh(aging, fail)
        assert (await cache.fetch(aging, fail, None)).outcome in {Outcome.HIT, Outcome.STALE}


async def test_what_was_filled_since_its_voiding_is_not_filled_again(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """Whoever comes first after a voiding, a reader or the warm-up, is the only one to ask."""
    source = Source()
    async with (
        cache_process(tmp_path, fresh_redis) as cache,
        cache_process(tmp_path, fresh_redis) as warming,
    ):
        for fills in range(1, 41):
            readers = [cache.fetch(PLAN, source.fill, None) for _ in range(5)]
            if fills % 4 == 0:
                await asyncio.gather(*readers)
                assert not await warming.refresh(PLAN, source.fill)
            elif fills % 4 == 1:
                assert await warming.refresh(PLAN, source.fill)
                await asyncio.gather(*readers)
            else:
                await asyncio.gather(warming.refresh(PLAN, source.fill), *readers)
            assert source.asked == fills
            await cache.plane.void([], [keys.GENERATION_PRODUCTS])


# redis-py drops a connection whose opening is cancelled at its very end; collecting it closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_clients_that_leave_at_any_moment_leave_no_lease_and_no_mixed_up_answers(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    async with cache_process(tmp_path, fresh_redis, cache_pool_size=8) as cache:
        for turns in range(60):
            plan = replace(PLAN, entry=keys.product_list(f"left after {turns}"))
            mine = Source(answer_of(f"answer {turns}".encode()))
            leaving = asyncio.create_task(cache.fetch(plan, mine.fill, None))
            for _ in range(turns % 12):
                await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            began_at = time.monotonic()
            fetched = await cache.fetch(plan, mine.fill, None)
            assert fetched.answer == mine.answer
            assert fetched.outcome is not Outcome.BYPASS
            assert time.monotonic() - began_at < 0.5
        asked = [f"echo {number}".encode() for number in range(200)]
        echoes = await asyncio.gather(*(cache.plane.client.echo(text) for text in asked))
        assert echoes == asked


async def test_a_stalled_process_does_not_take_its_own_lateness_for_an_outage(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    async with cache_process(tmp_path, fresh_redis, cache_timeout_ms=50) as cache:
        await cache.fetch(PLAN, Source().fill, None)
        await asyncio.gather(*(cache.fetch(PLAN, Source().fill, None) for _ in range(40)))
        generation = (await cache.fetch(PLAN, Source().fill, None)).generation
        for turns in range(8):
            herd = [asyncio.create_task(cache.fetch(PLAN, Source().fill, None)) for _ in range(40)]
            for _ in range(turns):
                await asyncio.sleep(0)
            time.sleep(0.25)  # noqa: ASYNC251 - what a burst of work does to a loop
            outcomes = Counter(fetched.outcome for fetched in await asyncio.gather(*herd))
            assert outcomes == {Outcome.HIT: 40}, turns
        assert (await cache.fetch(PLAN, Source().fill, None)).generation == generation


def shift_clock(redis: PrivateRedis, entry: str, seconds: float) -> None:
    """As if the entry had been stored this much earlier; its key's own life stays."""
    with redis.client() as client:
        raw = client.get(entry)
        assert isinstance(raw, bytes)
        for offset in (51, 80):
            moment = int(raw[offset : offset + 13]) - int(seconds * 1000)
            client.setrange(entry, offset, b"%013d" % moment)


async def test_past_its_soft_expiry_an_entry_is_served_and_refreshed_once(
    db_resources: Resources, fresh_redis: PrivateRedis, hint_log: HintLog
) -> None:
    resources = db_resources
    product_id, _ = await add_product(resources.db)
    query = listing.first_page()
    product_key = keys.product(product_id)
    list_key = listing.plan_for(resources.settings, query).entry
    await fetch_product(resources, product_id, None)
    await listing.fetch_list(resources, query, None)
    soft = {product_key: 300, list_key: 30}
    for entry, soft_s in soft.items():
        shift_clock(fresh_redis, entry, soft_s + 1)
    with fresh_redis.client() as client:
        lives = {entry: client.pttl(entry) for entry in soft}
    products = await asyncio.gather(
        *(fetch_product(resources, product_id, None) for _ in range(30))
    )
    lists = await asyncio.gather(*(listing.fetch_list(resources, query, None) for _ in range(30)))
    assert {fetched.outcome for fetched in (*products, *lists)} == {Outcome.STALE}
    assert all(fetched.ttl_s < 0 for fetched in (*products, *lists))
    await eventually_async(lambda: len(hint_log.messages) == 2)
    hints = [message.kwargs for message in hint_log.messages]
    assert [message.actor_name for message in hint_log.messages] == [WARM_CACHE.name] * 2
    assert {"lists": [], "products": [str(product_id)]} in hints
    assert {"lists": [query.canonical()], "products": []} in hints
    with fresh_redis.client() as client:
        for entry, life in lives.items():
            assert 0 < client.pttl(entry) <= life  # asking for a refresh prolongs nothing
        before = {entry: client.get(entry) for entry in soft}
    assert await warm_products(resources, [product_id]) == 1
    assert await warm_lists(resources, [query]) == 1
    assert (await fetch_product(resources, product_id, None)).outcome is Outcome.HIT
    assert (await listing.fetch_list(resources, query, None)).outcome is Outcome.HIT
    with fresh_redis.client() as client:
        assert all(client.get(entry) != raw for entry, raw in before.items())
    assert len(hint_log.messages) == 2


async def test_a_refresh_that_ends_after_a_voiding_is_refused(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    source = Source()
    async with cache_process(tmp_path, fresh_redis) as cache:
        plan = replace(PLAN, lifetime=_SOON_DUE)
        await cache.fetch(plan, source.fill, None)
        source.may_answer.clear()
        late = asyncio.create_task(cache.refresh(plan, source.fill))
        await eventually_async(lambda: source.asked == 2)
        assert await cache.plane.void([], [keys.GENERATION_PRODUCTS]) == []
        newer = Source(answer_of(b"newer"))
        assert (await cache.fetch(plan, newer.fill, None)).answer == newer.answer
        source.may_answer.set()
        assert not await late
        assert (await cache.fetch(plan, newer.fill, None)).answer == newer.answer


@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
async def test_lives_are_jittered_within_bounds_and_a_not_found_is_brief(
    tmp_path: Path, fresh_redis: PrivateRedis, draw: float
) -> None:
    async with cache_process(tmp_path, fresh_redis) as plain:
        cache = AnswerCache(plain.plane, jitter=lambda: draw)
        await cache.fetch(PLAN, Source().fill, None)
        nothing = replace(PLAN, entry="cache:products:nothing")
        assert not (await cache.fetch(nothing, Source(NOT_FOUND).fill, None)).answer.found
        with fresh_redis.client() as client:
            shorter = 1 - 0.1 * draw
            assert client.pttl(PLAN.entry) == pytest.approx(60_000 * shorter + 60_000, abs=500)
            assert client.pttl(nothing.entry) == pytest.approx(10_000 * shorter, abs=500)
        fetched = await cache.fetch(PLAN, Source().fill, None)
        assert fetched.ttl_s == pytest.approx(30 * shorter, abs=1.1)
        assert (await cache.fetch(nothing, Source().fill, None)).outcome is Outcome.NEGATIVE


async def test_the_cache_tells_how_often_it_was_looked_at(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """Each hit counts, and nothing that is asked beside: imports make room for readers by it."""
    async with cache_process(tmp_path, fresh_redis) as cache:
        source = Source()
        await cache.fetch(PLAN, source.fill, None)
        before = await cache.plane.looks()
        assert before
        for _ in range(6):
            await cache.fetch(PLAN, source.fill, None)
            await cache.plane.exists(PLAN.entry)
        assert await cache.plane.looks() == before + 6
