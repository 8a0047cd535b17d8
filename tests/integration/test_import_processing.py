"""Imports worked on, on both databases: what they write, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coordination import keys
from coordination.rate_limit import LimitRequest
from models.catalog import listing
from models.catalog.product_writes import NewProduct, create_product, patch_product
from models.catalog.query import ListQuery, Order, Sort
from models.imports import chunk_checking, claims
from models.imports.options import Missing, Policy, Subject
from models.imports.processing import count_due
from models.imports.stages import Reason, Stage
from models.resources import Resources
from tests.import_work import faults, found, lines, worked
from tests.imports import csv_layout, upload
from tests.partner_news import catalogue, changes
from tests.servers import PrivateRedis


@pytest.fixture
def resources(import_resources: Resources) -> Resources:
    """On both databases."""
    return import_resources


async def test_rows_of_all_chunks_become_products(resources: Resources) -> None:
    started = await upload(resources, lines(1, 2), lines(3), lines(4, farm=2))
    assert started.stage is Stage.VALIDATING
    done = await worked(resources, started)
    assert done.stage is Stage.COMPLETED
    assert (done.rows_total, done.rows_checked, done.rows_applied) == (4, 4, 4)
    assert (done.rows_created, done.rows_invalid, done.chunks_left) == (4, 0, 0)
    offered = await catalogue(resources.db)
    assert set(offered) == {(1, "S-1"), (1, "S-2"), (1, "S-3"), (2, "S-4")}
    assert offered[1, "S-2"] == {
        "name": "Eggs 2", "description": "", "slug": "eggs", "price_minor": 250,
        "currency": "USD", "unit": "each", "stock": 7, "attributes": {},
    }  # fmt: skip
    assert await changes(resources.db) == [("created", 1)] * 4
    assert await count_due(resources.db, 10) == 0


async def test_what_is_there_is_updated_where_the_file_says_otherwise(resources: Resources) -> None:
    await worked(resources, await upload(resources, lines(1, 2, 3)))
    again = lines(1) + lines(2, name="Duck eggs") + lines(3, stock="") + lines(4)
    done = await worked(resources, await upload(resources, again))
    assert (done.rows_created, done.rows_updated, done.rows_unchanged) == (1, 1, 2)
    offered = await catalogue(resources.db)
    assert offered[1, "S-2"]["name"] == "Duck eggs 2"
    assert offered[1, "S-3"]["stock"] == 7
    assert await changes(resources.db) == [("created", 1)] * 3 + [("created", 1), ("updated", 2)]


async def test_policy_all_applies_nothing_when_a_row_is_wrong(resources: Resources) -> None:
    bad = "1,S-9,Eggs,eggs,free,1\n"
    done = await worked(resources, await upload(resources, lines(1), bad, lines(2)))
    assert (done.stage, done.reason) == (Stage.REFUSED, Reason.INVALID_ROWS)
    assert (done.rows_invalid, done.faults, done.rows_applied) == (1, 1, 0)
    assert await catalogue(resources.db) == {}
    assert [(row, column) for row, column, _ in await faults(resources, done)] == [(3, "price")]
    assert await count_due(resources.db, 10) == 0


async def test_policy_valid_applies_the_others(resources: Resources) -> None:
    bad = "1,S-9,Eggs,eggs,free,1\n1,,Eggs,nowhere,1.00,-1\n"
    started = await upload(resources, lines(1), bad, lines(2), policy=Policy.VALID)
    done = await worked(resources, started)
    assert done.stage is Stage.COMPLETED
    assert (done.rows_invalid, done.rows_applied, done.rows_created) == (2, 2, 2)
    assert set(await catalogue(resources.db)) == {(1, "S-1"), (1, "S-2")}
    told = [(row, column) for row, column, _ in await faults(resources, done)]
    assert told[0] == (3, "price")
    assert {column for row, column in told[1:] if row == 4} >= {"sku", "stock"}
    assert done.faults == len(told)


async def test_a_file_without_a_valid_row_is_refused_under_either_policy(
    resources: Resources,
) -> None:
    started = await upload(resources, "1,S-1,Eggs,eggs,x,1\n", policy=Policy.VALID)
    done = await worked(resources, started)
    assert (done.stage, done.reason) == (Stage.REFUSED, Reason.NO_VALID_ROWS)


async def test_a_repeated_sku_is_an_error_on_the_later_row(resources: Resources) -> None:
    """Wherever it stands, and however its farm is named; the same sku of two farms is none."""
    layout = csv_layout("farm", "farm_external_id", "sku", "name", "category", "price")
    texts = (
        "1,,A,First,eggs,1.00\n,hill,B,First,eggs,1.00\n",
        "2,,A,Other farm,eggs,1.00\n,hill,A,Again,eggs,2.00\n",
        "1,,B,Again,eggs,2.00\n,dale,A,Again,eggs,2.00\n",
    )
    refused = await worked(resources, await upload(resources, *texts, layout=layout))
    assert (refused.stage, refused.rows_invalid) == (Stage.REFUSED, 3)
    expected = [
        (5, "sku", "repeats row 2; a file may name it once"),
        (6, "sku", "repeats row 3; a file may name it once"),
        (7, "sku", "repeats row 4; a file may name it once"),
    ]
    assert await faults(resources, refused) == expected
    started = await upload(resources, *texts, layout=layout, policy=Policy.VALID)
    done = await worked(resources, started)
    assert (done.stage, done.rows_invalid, done.rows_created) == (Stage.COMPLETED, 3, 3)
    names = {key: row["name"] for key, row in (await catalogue(resources.db)).items()}
    assert names == {(1, "A"): "First", (1, "B"): "First", (2, "A"): "Other farm"}
    assert await faults(resources, done) == expected


async def test_unknown_categories_and_farms_are_refused_by_default(resources: Resources) -> None:
    layout = csv_layout("farm_external_id", "sku", "name", "category", "price")
    text = "hill,A,A,Cheese,1\nmoor,B,B,eggs,1\n"
    done = await worked(resources, await upload(resources, text, layout=layout))
    assert await faults(resources, done) == [
        (2, "category", "there is no such category"),
        (3, "farm_external_id", "there is no such farm"),
    ]


async def test_missing_categories_and_farms_are_made_once_by_option(resources: Resources) -> None:
    layout = csv_layout(
        "farm_external_id", "farm_name", "farm_city", "farm_state", "sku", "name", "category",
        "price",
    )  # fmt: skip
    texts = (
        "moor,Moor Farm,Bonn,NW,A,A,Goat & Cheese,1\nmoor,Other,Ulm,BW,B,B,goat-cheese,1\n",
        "hill,,,,C,C,EGGS,1\nfen,,,,D,D,eggs,1\nmoor,,,,E,E,123,1\n",
    )
    options: dict[str, Any] = {
        "missing_categories": Missing.CREATE, "missing_farms": Missing.CREATE,
        "policy": Policy.VALID,
    }  # fmt: skip
    done = await worked(resources, await upload(resources, *texts, layout=layout, **options))
    assert (done.stage, done.rows_created) == (Stage.COMPLETED, 3)
    made = "SELECT slug, name FROM categories WHERE id > 3"
    assert await resources.db.fetch(made, purpose="test") == [
        {"slug": "goat-cheese", "name": "Goat & Cheese"}
    ]
    made = "SELECT external_id, name, city FROM farms WHERE id > 2"
    assert await resources.db.fetch(made, purpose="test") == [
        {"external_id": "moor", "name": "Moor Farm", "city": "Bonn"}
    ]
    told = await faults(resources, done)
    assert [(row, column) for row, column, _ in told] == [
        (5, "farm_external_id"), (6, "category"), (6, "farm_external_id"),
    ]  # fmt: skip


async def test_nothing_is_made_for_a_file_that_is_refused(resources: Resources) -> None:
    text = "1,A,A,Cheese,1,1\n1,B,B,eggs,none,1\n"
    done = await worked(resources, await upload(resources, text, missing_categories=Missing.CREATE))
    assert done.stage is Stage.REFUSED
    rows = await resources.db.fetch("SELECT COUNT(*) AS n FROM categories", purpose="test")
    assert rows == [{"n": 3}]


async def test_a_category_is_known_by_id_slug_or_name(resources: Resources) -> None:
    names = ("2", "eggs", "Eggs", "EGGS", "²", "02", "9" * 20, "Käse", "🥚")
    texts = "".join(f"1,S-{n},N,{name},1,1\n" for n, name in enumerate(names))
    started = await upload(resources, texts, policy=Policy.VALID)
    done = await worked(resources, started)
    assert (done.rows_created, done.rows_invalid) == (4, 5)
    assert {row["slug"] for row in (await catalogue(resources.db)).values()} == {"eggs"}


async def test_a_name_of_two_categories_is_refused_not_guessed(resources: Resources) -> None:
    await resources.db.execute(
        "INSERT INTO categories (slug, name, created_at, updated_at)"
        f" VALUES ('other', 'Duck', {resources.db.dialect.now}, {resources.db.dialect.now}),"
        f" ('another', 'Duck', {resources.db.dialect.now}, {resources.db.dialect.now})",
        purpose="test",
    )
    done = await worked(resources, await upload(resources, "1,A,A,Duck,1,1\n"))
    ((row, column, reason),) = await faults(resources, done)
    assert (row, column) == (2, "category")
    assert "several categories" in reason


async def test_farms_are_imported_by_their_external_id(resources: Resources) -> None:
    layout = csv_layout("external_id", "name", "city", "state", "latitude", "longitude")
    texts = (
        "moor,Moor,Bonn,NW,50.7,7.1\nhill,Hill,Ithaca,NY,,\n",
        "dale,Dale,Ulm,BW,48.4,10\nmoor,Again,Bonn,NW,,\n",
    )
    options: dict[str, Any] = {"subject": Subject.FARMS, "policy": Policy.VALID}
    done = await worked(resources, await upload(resources, *texts, layout=layout, **options))
    assert (done.rows_created, done.rows_updated, done.rows_unchanged) == (1, 1, 1)
    assert done.rows_invalid == 1
    rows = await resources.db.fetch(
        "SELECT external_id, city, latitude, version FROM farms ORDER BY id", purpose="test"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("hill", "Ithaca", None, 1), ("dale", "Ulm", 48.4, 2), ("moor", "Bonn", 50.7, 1),
    ]  # fmt: skip


async def test_what_was_changed_after_the_upload_began_is_left_alone(resources: Resources) -> None:
    """Rows are as old as the upload: a later edit by hand wins, facet by facet."""
    created = await create_product(
        resources,
        NewProduct("S-1", "By hand", "", "fruit", 1, "9.00", "USD", "each", 1, {}),
    )
    started = await upload(resources, lines(1, 2))
    await patch_product(resources, created.product_id, {"price": "8.00"}, None)
    done = await worked(resources, started)
    assert (done.rows_updated, done.rows_created) == (1, 1)
    row = (await catalogue(resources.db))[1, "S-1"]
    assert (row["price_minor"], row["name"], row["stock"]) == (800, "Eggs 1", 7)
    await create_product(
        resources, NewProduct("S-3", "Newer", "", "fruit", 1, "9.00", "USD", "each", 1, {})
    )
    late = await upload(resources, lines(3))
    await resources.db.execute(
        "UPDATE imports SET created_at = '2020-01-01 00:00:00.000000' WHERE id = %s",
        [late.id],
        purpose="test",
    )
    done = await worked(resources, late)
    assert (done.rows_superseded, done.stage) == (1, Stage.COMPLETED)
    assert (await catalogue(resources.db))[1, "S-3"]["name"] == "Newer"


async def test_the_caches_are_voided_once_and_before_the_end_shows(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[Stage] = []
    started = await upload(resources, lines(1), lines(2))
    plane = type(resources.plane)
    void = plane.void

    async def watched(self: object, products: Any, generations: Any) -> Any:
        assert list(generations) == [keys.GENERATION_ALL]
        stages.append((await found(resources, started)).stage)
        return await void(self, products, generations)  # type: ignore[arg-type]  # itself

    query = ListQuery(sort=Sort.CREATED_AT, order=Order.DESC)
    limit = LimitRequest("test", 100, 60)
    before = await listing.fetch_list(resources, query, limit)
    monkeypatch.setattr(plane, "void", watched)
    await worked(resources, started)
    assert stages == [Stage.APPLYING]
    after = await listing.fetch_list(resources, query, limit)
    assert b"S-1" not in before.answer.body
    assert b"S-1" in after.answer.body
    assert await resources.db.fetch("SELECT id FROM outbox", purpose="test") == []


async def test_a_cache_that_is_away_at_the_end_is_voided_by_a_worker_later(
    resources: Resources, fresh_redis: PrivateRedis
) -> None:
    started = await upload(resources, lines(1))
    fresh_redis.kill()
    try:
        done = await worked(resources, started)
    finally:
        fresh_redis.revive()
    assert done.stage is Stage.COMPLETED
    rows = await resources.db.fetch("SELECT kind, state FROM outbox", purpose="test")
    assert rows == [{"kind": "import.ended", "state": "pending"}]


async def test_a_category_that_goes_after_the_check_fails_its_rows_alone(
    resources: Resources,
) -> None:
    started = await upload(resources, lines(1) + "1,S-9,Pear,fruit,1.00,1\n")
    chunk = await claims.claim_chunk(resources.db)
    assert chunk is not None
    assert started.layout is not None
    await chunk_checking.check(resources, chunk, started, started.layout)
    await resources.db.execute("DELETE FROM categories WHERE slug = 'fruit'", purpose="test")
    done = await worked(resources, started)
    assert (done.stage, done.rows_created, done.rows_failed) == (Stage.COMPLETED, 1, 1)
    assert await faults(resources, done) == [(3, "category", "has gone since the file was checked")]


async def test_only_so_many_faults_are_kept_and_all_are_counted(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = resources.settings.model_copy(update={"import_faults_kept": 3})
    monkeypatch.setattr(resources.db, "settings", few)
    bad = "".join(f"1,S-{n},Eggs,eggs,x,1\n" for n in range(5))
    done = await worked(resources, await upload(resources, bad, lines(1, 1, 1)))
    assert done.faults == 7
    assert [row for row, _, _ in await faults(resources, done)] == [2, 3, 4]


async def test_the_import_says_when_it_was_applied(resources: Resources) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)  # all that SQLite's clock tells
    done = await worked(resources, await upload(resources, lines(1)))
    assert done.accepted_at is not None
    assert done.applying_at is not None
    assert done.finished_at is not None
    assert before <= done.created_at <= done.accepted_at <= done.applying_at <= done.finished_at
