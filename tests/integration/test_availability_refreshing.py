"""A worker asks the supply partner: what is kept, what feeds the stock, and what does neither."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from uuid_utils.compat import uuid7

from coordination import keys
from coordination.errors import CacheUnavailable
from coordination.jobs import REFRESH_SUPPLY
from models.catalog.product_writes import delete_product, patch_product
from models.catalog.products import fetch_product
from models.supply.availability import Source
from models.supply.kept_offers import Lease, keep, look
from models.supply.offers import Offer
from models.supply.refreshing import Outcome
from tests.databases import DATABASES, database_url
from tests.flaky_partner import Behaviour
from tests.integration.conftest import HintLog
from tests.partner_news import at, changes, said, tell
from tests.polling import eventually_async
from tests.servers import PrivateRedis
from tests.supply import Supply, supply


@pytest.fixture(params=DATABASES)
async def eggs(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Supply]:
    url = database_url(request.param, tmp_path, request)
    async with supply(tmp_path, url, fresh_redis, hint_log) as opened:
        yield opened


@pytest.fixture
async def few(
    tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Supply]:
    """Where the database's kind does not matter."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    async with supply(tmp_path, url, fresh_redis, hint_log) as opened:
        yield opened


async def test_an_answer_is_served_and_becomes_the_stock(eggs: Supply) -> None:
    """It comes out of the default into the endpoint, and into the product every reader sees."""
    first = await eggs.ask()
    assert (first.available, first.source, first.stale) == (1, Source.CATALOGUE, False)
    eggs.says(30, at(10))
    assert await eggs.work() == {Outcome.KEPT: 1}
    told = await eggs.ask()
    assert (told.available, told.source, told.stale) == (30, Source.PARTNER, False)
    assert told.as_of == "2026-03-01T00:00:10.000000Z"
    seen = orjson.loads((await fetch_product(eggs.resources, eggs.product_id, None)).answer.body)
    assert (seen["stock"], seen["version"]) == (30, 2)
    assert await changes(eggs.resources.db) == [("created", 1), ("updated", 2)]
    (asked,) = eggs.partner.asked
    assert (asked.method, asked.target) == (
        "GET",
        "/api/v1/products/EGGS/availability?farm=hill",
    )


async def test_newer_news_of_the_stock_wins_whichever_comes_first(eggs: Supply) -> None:
    """Webhooks, API writes and answers are one order: by when it happened, not when it came."""
    eggs.says(30, at(10))
    await eggs.work()
    assert await tell(eggs.resources, said("inventory.updated", 5, stock=5)) == ["superseded"]
    assert await tell(eggs.resources, said("inventory.updated", 20, stock=20)) == ["done"]
    eggs.says(15, at(15))
    assert await eggs.work_anew() == {Outcome.KEPT: 1}
    # What the partner said stays what it said; the stock has heard later news.
    assert (await eggs.ask()).available == 15
    assert await eggs.row() == (20, 3)
    eggs.says(25, at(25))
    await eggs.work_anew()
    assert await eggs.row() == (25, 4)
    await patch_product(eggs.resources, eggs.product_id, {"stock": 99}, None)
    eggs.says(40, at(40))
    await eggs.work_anew()
    assert await eggs.row() == (99, 5)


async def test_an_answer_that_changes_nothing_writes_no_version_and_voids_nothing(
    eggs: Supply, hint_log: HintLog
) -> None:
    """Else every refresh of a quiet product would empty the lists' caches."""
    eggs.says(1, at(10))
    cached = await fetch_product(eggs.resources, eggs.product_id, None)
    before = await eggs.resources.plane.client.get("cache:gen:products")
    sent = len(hint_log.messages)
    assert await eggs.work() == {Outcome.KEPT: 1}
    assert await eggs.work_anew() == {Outcome.KEPT: 1}
    assert await eggs.row() == (1, 1)
    again = await fetch_product(eggs.resources, eggs.product_id, None)
    assert (again.outcome, again.answer) == ("hit", cached.answer)
    assert await eggs.resources.plane.client.get("cache:gen:products") == before
    assert len(hint_log.messages) == sent
    # All the same it is news: what happened before it comes too late.
    assert await tell(eggs.resources, said("inventory.updated", 5, stock=5)) == ["superseded"]


async def test_a_moment_too_far_ahead_is_refused(eggs: Supply) -> None:
    """It would shut out all news until then."""
    ahead = timedelta(seconds=300)
    eggs.says(30, datetime.now(UTC) + ahead + timedelta(seconds=30))
    assert await eggs.work() == {Outcome.FUTURE: 1}
    assert await eggs.row() == (1, 1)
    assert (await eggs.ask()).source is Source.CATALOGUE
    eggs.says(30, datetime.now(UTC) + ahead - timedelta(seconds=30))
    assert await eggs.work_anew() == {Outcome.KEPT: 1}
    assert await eggs.row() == (30, 2)


async def test_answers_and_webhooks_at_once_end_as_the_newest_says(eggs: Supply) -> None:
    """A race for the same row: the later writer must see what the earlier one left."""
    for second in range(10, 130, 10):
        eggs.says(second, at(second))
        await asyncio.gather(
            eggs.work_anew(),
            tell(eggs.resources, said("inventory.updated", second + 5, stock=second + 5)),
        )
        assert (await eggs.row())[0] == second + 5


async def test_what_a_partner_gets_wrong_is_kept_nowhere(few: Supply) -> None:
    few.says(30, at(10))
    await few.work()
    good = few.partner.usual
    for body in (b"{", b"[]", b"null", good.body.replace(b"30", b'"30"'), b'{"available": 5}'):
        few.partner.usual = replace(good, body=body)
        assert await few.work_anew() == {Outcome.MALFORMED: 1}, body
    few.says(31, at(11), sku="HAM")
    assert await few.work_anew() == {Outcome.MALFORMED: 1}
    few.partner.usual = Behaviour(status=404)
    assert await few.work_anew() == {Outcome.REFUSED: 1}
    few.partner.usual = Behaviour(status=503)
    assert await few.work_anew() == {Outcome.UNAVAILABLE: 1}
    assert await few.row() == (30, 2)


async def test_answers_age_and_an_older_one_replaces_none(few: Supply) -> None:
    plane = few.resources.plane
    few.says(30, at(10))
    await few.work()
    assert not await keep(plane, few.product_id, Offer(29, at(9)))
    assert (await few.ask()).available == 30
    key = keys.partner_answer("supply", few.product_id)
    await plane.client.hset(key, "fresh_until", "0")
    stale = await few.ask()
    assert (stale.available, stale.stale) == (30, True)
    await plane.client.hset(key, "stale_until", "0")
    assert (await few.ask()).source is Source.CATALOGUE
    # Past its bound it refuses no older one.
    assert await keep(plane, few.product_id, Offer(29, at(9)))
    assert (await few.ask()).available == 29


async def test_nothing_is_left_of_an_answer_and_its_leases(
    tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> None:
    """Products nobody asks about any more must not fill the cache."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    bounds = {"supply_fresh_s": 1, "supply_stale_s": 2, "supply_refresh_lease_ms": 1_500}
    async with supply(tmp_path, url, fresh_redis, hint_log, **bounds) as eggs:

        async def is_gone() -> bool:
            return not await eggs.resources.plane.client.keys("partner:*")

        # A lease alone, then an answer.
        assert (await look(eggs.resources.plane, eggs.product_id, Lease.HINT)).taken
        await eventually_async(is_gone)
        eggs.says(30, at(10))
        assert await eggs.work() == {Outcome.KEPT: 1}
        await eventually_async(is_gone)


async def test_a_hint_is_sent_once_and_a_late_or_double_one_costs_no_call(
    few: Supply, hint_log: HintLog
) -> None:
    def hinted() -> list[Any]:
        sent = [m for m in hint_log.messages if m.actor_name == REFRESH_SUPPLY.name]
        return [message.kwargs for message in sent]

    few.says(30, at(10))
    await asyncio.gather(*(few.ask() for _ in range(50)))
    await eventually_async(lambda: bool(hinted()))
    outcomes = Counter[Outcome]()
    for done in await asyncio.gather(*(few.work() for _ in range(8))):
        outcomes.update(done)
    assert outcomes == {Outcome.KEPT: 1, Outcome.SPARED: 7}
    assert await few.work() == {Outcome.SPARED: 1}
    assert hinted() == [{"products": [str(few.product_id)]}]
    assert len(few.partner.asked) == 1


async def test_one_lease_does_not_stand_in_the_way_of_the_other(few: Supply) -> None:
    plane, product_id = few.resources.plane, few.product_id
    taken = await asyncio.gather(*(look(plane, product_id, Lease.HINT) for _ in range(20)))
    assert sum(kept.taken for kept in taken) == 1
    assert (await look(plane, product_id, Lease.CALL)).taken
    assert not (await look(plane, product_id, Lease.CALL)).taken


async def test_when_the_partner_is_known_to_be_away_the_rest_is_left(few: Supply) -> None:
    """A job with hundreds of products must not spend a thread on waiting for nothing."""
    for number in range(11):
        more = said("product.upserted", 0, sku=f"HAM-{number}")
        assert await tell(few.resources, more) == ["done"]
    rows = await few.resources.db.fetch("SELECT id FROM products", purpose="test")
    products = [UUID(bytes=bytes(row["id"])) for row in rows]
    few.partner.usual = Behaviour(status=500)
    for _ in range(3):  # two attempts each; five open the circuit
        await few.work_anew()
    asked = len(few.partner.asked)
    assert asked == 5
    await few.forget()
    done = await few.work(*products)
    # As many as are tried at once find out.
    assert 1 <= done[Outcome.UNAVAILABLE] <= 4
    assert done[Outcome.LEFT] == len(products) - done[Outcome.UNAVAILABLE]
    assert len(few.partner.asked) == asked


async def test_a_product_that_is_not_there_is_not_asked_about(few: Supply) -> None:
    strangers = [UUID(bytes=uuid7().bytes) for _ in range(3)]
    assert await few.work(*strangers) == {Outcome.GONE: 3}
    assert not few.partner.asked


async def test_a_deleted_product_is_asked_about_no_more(few: Supply) -> None:
    few.says(30, at(10))
    await few.work()
    await delete_product(few.resources, few.product_id, None)
    assert await few.work_anew() == {Outcome.GONE: 1}
    assert len(few.partner.asked) == 1


@pytest.mark.parametrize("sku", ["a/b c?d#e%2F", "ö 5", ".."])
async def test_any_sku_names_its_own_product_in_the_path(few: Supply, sku: str) -> None:
    """A segment of the path that is taken for another one would bring another product's figures."""
    await few.resources.db.execute("UPDATE products SET sku = %s", [sku], purpose="test")
    few.says(30, at(10), sku=sku)
    done = await few.work()
    if sku == "..":
        assert (done, few.partner.asked) == ({Outcome.REFUSED: 1}, [])
        return
    assert done == {Outcome.KEPT: 1}
    expected = {"a/b c?d#e%2F": "a%2Fb%20c%3Fd%23e%252F", "ö 5": "%C3%B6%205"}[sku]
    (asked,) = few.partner.asked
    assert asked.target == f"/api/v1/products/{expected}/availability?farm=hill"


async def test_without_the_cache_nobody_is_asked_and_the_catalogue_answers(
    few: Supply, fresh_redis: PrivateRedis, hint_log: HintLog
) -> None:
    """Where nothing can be remembered, every request would ask."""
    few.says(30, at(10))
    fresh_redis.kill()
    answers = [await few.ask() for _ in range(10)]
    assert {(a.available, a.source) for a in answers} == {(1, Source.CATALOGUE)}
    assert await few.work() == {Outcome.UNAVAILABLE: 1}
    assert not few.partner.asked
    assert not [m for m in hint_log.messages if m.actor_name == REFRESH_SUPPLY.name]
    with pytest.raises(CacheUnavailable):
        await look(few.resources.plane, few.product_id, Lease.HINT)


async def test_without_a_partner_the_catalogue_answers_and_nobody_is_hinted(
    tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    async with supply(tmp_path, url, fresh_redis, hint_log, supply_service="") as alone:
        answer = await alone.ask()
        assert (answer.available, answer.source) == (1, Source.CATALOGUE)
        assert await alone.work() == {}
        await alone.resources.hints.close()
        assert not [m for m in hint_log.messages if m.actor_name == REFRESH_SUPPLY.name]
        assert not alone.partner.asked
