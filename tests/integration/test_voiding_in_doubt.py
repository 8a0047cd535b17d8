"""What voiding does when the tree, the change itself, or the cache cannot be relied on."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from coordination import keys
from coordination.cache import Outcome
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.errors import CacheUnavailable, DatabaseUnavailable, InvalidInput
from models import outbox
from models.catalog import voiding
from models.catalog.changes import everything_changed
from models.catalog.listing import fetch_list
from models.catalog.product_writes import patch_product
from models.catalog.query import ListQuery
from models.resources import Resources
from tests.catalogue import add_product, change_price_silently
from tests.databases import settings_for
from tests.servers import PrivateRedis

_EGGS, _FRUIT = ListQuery(category="eggs"), ListQuery(category="fruit")


async def test_a_write_beside_a_rename_that_is_committed_but_not_voided(
    db_resources: Resources,
) -> None:
    """The old slug's cached list shows the product too, though the tree no longer tells."""
    db = db_resources.db
    product_id, _ = await add_product(db, "fruit")
    await fetch_list(db_resources, ListQuery(category="fruit"), None)
    async with db.transaction() as conn:
        await db.execute("UPDATE categories SET slug = 'pomes'", purpose="test", conn=conn)
        await outbox.record(db, conn, everything_changed("category.updated"))
    await patch_product(db_resources, product_id, {"price": "2.00"}, None)
    with pytest.raises(InvalidInput, match="category"):
        await fetch_list(db_resources, ListQuery(category="fruit"), None)


async def test_without_an_edit_under_way_other_categories_keep_their_lists(
    db_resources: Resources,
) -> None:
    """The doubt above must not become the rule."""
    product_id, _ = await add_product(db_resources.db, "fruit")
    await _add_eggs(db_resources)
    await fetch_list(db_resources, _EGGS, None)
    await patch_product(db_resources, product_id, {"price": "2.00"}, None)
    assert (await fetch_list(db_resources, _EGGS, None)).outcome is Outcome.HIT


@pytest.mark.parametrize("edited", [False, True], ids=["tree as it was", "tree edited since"])
async def test_a_write_just_before_the_database_goes_voids_what_it_shows_in(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch, edited: bool
) -> None:
    """And no more than that, unless an edit of the tree may have changed where that is."""
    product_id, category = await add_product(db_resources.db, "fruit")
    await _add_eggs(db_resources)
    for query in (_EGGS, _FRUIT):
        await fetch_list(db_resources, query, None)
    await patch_product(db_resources, product_id, {"price": "2.00"}, None)
    if edited:
        await db_resources.plane.void([], [keys.GENERATION_ALL])
    for query in (_EGGS, _FRUIT):
        await fetch_list(db_resources, query, None)
    _, change = await change_price_silently(db_resources.db, product_id, category, 300)

    async def gone(*_: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(voiding, "slugs_above", gone)
    assert (await voiding.void(db_resources, [change])).acknowledged
    eggs, fruit = [(await fetch_list(db_resources, query, None)) for query in (_EGGS, _FRUIT)]
    assert eggs.outcome is (Outcome.MISS if edited else Outcome.HIT)
    assert fruit.outcome is Outcome.MISS
    assert b"3.00" in fruit.answer.body


async def _add_eggs(resources: Resources) -> None:
    await resources.db.insert(
        "INSERT INTO categories (slug, name, created_at, updated_at) VALUES"
        " ('eggs', 'Eggs', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')",
        [],
        purpose="test",
    )


async def test_an_outbox_row_that_cannot_be_read_voids_everything(
    db_resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged row, or one of a newer version, must not hold up the rows beside it."""
    db = db_resources.db
    async with db.transaction() as conn:
        good = await outbox.record(db, conn, everything_changed("farm.updated"))
        bad = await outbox.record(db, conn, everything_changed("farm.updated"))
    await db.execute(
        "UPDATE outbox SET payload = %s WHERE id = %s", ["{not json", bad], purpose="test"
    )
    claimed = await outbox.claim(db, [good, bad])
    assert {entry.id: entry.change.everything for entry in claimed.entries} == {
        good: True,
        bad: True,
    }
    assert any("cannot be read" in record.message for record in caplog.records)
    assert await outbox.complete(db, claimed) == 2


async def test_an_owed_voiding_waits_until_the_cache_is_left_alone_no_longer(
    tmp_path: Path, fresh_cache_redis: PrivateRedis
) -> None:
    """Readers in a pause void nothing, so none of them counts as a voiding that failed."""
    settings = settings_for(
        tmp_path,
        "sqlite:////nowhere",
        redis_url=fresh_cache_redis.url,
        cache_breaker_failures=1,
        cache_breaker_pause_ms=60_000,
    )
    plane = CachePlane(open_cache_client(settings), settings)
    before = _failed_voidings()
    fresh_cache_redis.kill()
    assert await plane.void([], [keys.GENERATION_PRODUCTS]) is None
    for _ in range(20):
        with pytest.raises(CacheUnavailable):
            await plane.run("limit", ["ratelimit:{x}"], [10, 1000, 1, ""])
    assert _failed_voidings() == before + 1
    fresh_cache_redis.restart()
    plane._cooldown._closed_until = 0.0  # the pause is over
    await plane.run("limit", ["ratelimit:{x}"], [10, 1000, 1, ""])
    assert await plane.exists(keys.GENERATION_ALL)
    await plane.close()


def _failed_voidings() -> float:
    return REGISTRY.get_sample_value("cache_voidings_total", {"outcome": "failed"}) or 0.0
