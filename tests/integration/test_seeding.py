"""Seeding both kinds of database: only what is missing is added, and the indexes stay whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.cursors import Cursor

from coordination.errors import DatabaseUnavailable, Misconfigured
from coordination.keys import GENERATION_ALL
from coordination.settings import Settings
from models.migrate import migrate
from ops.seed import mysql, sqlite
from ops.seed.postponed_indexes import postpone, postponed
from ops.seed.seeding import (
    SeedReport,
    ensure_migrated,
    open_store,
    seed_catalogue,
    void_caches,
)
from tests.databases import DATABASES, database_url, migrated, settings_for
from tests.servers import PrivateRedis, SqlServer

SEARCH = {
    "mariadb": "SELECT COUNT(*) AS n FROM products"
    " WHERE MATCH (name, description) AGAINST ('cheese')",
    "sqlite": "SELECT COUNT(*) AS n FROM idx_products_search"
    " WHERE idx_products_search MATCH 'cheese'",
}
INDEXES = {
    "mariadb": "SELECT DISTINCT INDEX_NAME AS name FROM information_schema.STATISTICS"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'products'",
    "sqlite": "SELECT name FROM sqlite_master WHERE tbl_name = 'products'",
}
NAMES = "SELECT COUNT(*) AS n FROM products WHERE LOWER(description) LIKE '%%cheese%%'"


def nothing(_: object) -> None:
    return None


def seeded(settings: Settings, count: int, progress: Callable[[int], None] = nothing) -> SeedReport:
    return seed_catalogue(settings, count=count, seed=1, progress=progress, phase=nothing)


@pytest.fixture(params=DATABASES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def settings(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of a migrated, empty database."""
    settings = settings_for(tmp_path, database_url(kind, tmp_path, request))
    await migrate(settings)
    return settings


@pytest.fixture
def small_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of rows count as a bulk load."""
    monkeypatch.setattr(mysql, "_POSTPONE_FROM_ROWS", 100)
    monkeypatch.setattr(sqlite, "_BULK_FROM_ROWS", 100)


async def numbers(settings: Settings, *queries: str) -> list[int]:
    async with migrated(settings) as db:
        return [int((await db.fetch(sql, purpose="test"))[0]["n"]) for sql in queries]


async def index_names(settings: Settings, kind: str) -> set[Any]:
    async with migrated(settings) as db:
        return {row["name"] for row in await db.fetch(INDEXES[kind], purpose="test")}


async def test_seeding_again_adds_only_what_is_missing(settings: Settings) -> None:
    assert seeded(settings, 300).added == 300
    assert seeded(settings, 300).added == 0
    assert seeded(settings, 500).added == 200
    async with migrated(settings) as db:
        # What people changed or took away is theirs: a change stays, a removed product returns.
        await db.execute("UPDATE products SET price_minor = 1, stock = 7", purpose="test")
        await db.execute("DELETE FROM products WHERE sku = 'NDB-03279'", purpose="test")
    assert seeded(settings, 500).added == 1
    counts = await numbers(
        settings,
        "SELECT COUNT(*) AS n FROM products",
        "SELECT COUNT(*) AS n FROM products WHERE price_minor = 1",
        "SELECT COUNT(*) AS n FROM farms",
        "SELECT COUNT(*) AS n FROM categories",
    )
    assert counts == [500, 499, 1_543, 25]


async def test_places_that_are_there_are_used(settings: Settings) -> None:
    async with migrated(settings) as db:
        category = await db.insert(
            "INSERT INTO categories (slug, name, created_at, updated_at) VALUES (%s, %s, %s, %s)",
            ["beef-products", "Our beef", *["2026-01-01 00:00:00.000000"] * 2],
            purpose="test",
        )
    seeded(settings, 200)
    ours, names = await numbers(
        settings,
        f"SELECT COUNT(*) AS n FROM products WHERE category_id = {category}",
        "SELECT COUNT(*) AS n FROM categories WHERE name = 'Our beef'",
    )
    assert ours > 0
    assert names == 1


@pytest.mark.usefixtures("small_bulk")
async def test_a_bulk_load_leaves_every_index_and_a_filled_search(
    settings: Settings, kind: str
) -> None:
    before = await index_names(settings, kind)
    done: list[int] = []
    assert seeded(settings, 2_500, done.append).added == 2_500
    assert sum(done) == 2_500
    assert await index_names(settings, kind) == before
    found, named = await numbers(settings, SEARCH[kind], NAMES)
    assert 0 < found <= named
    # By trigger or by index, later rows are found too.
    seeded(settings, 3_000)
    assert (await numbers(settings, SEARCH[kind]))[0] > found


class CutShortError(Exception):
    """What a Ctrl-C does to the loader."""


def interrupt(_: int) -> None:
    raise CutShortError


@pytest.mark.usefixtures("small_bulk")
async def test_an_interrupted_bulk_load_leaves_every_index(settings: Settings, kind: str) -> None:
    before = await index_names(settings, kind)
    with pytest.raises(CutShortError):
        seeded(settings, 5_000, interrupt)
    assert await index_names(settings, kind) == before
    added = seeded(settings, 5_000).added
    assert added > 0
    assert await numbers(settings, "SELECT COUNT(*) AS n FROM products") == [5_000]


async def test_a_load_that_was_killed_is_completed_by_the_next(
    mariadb: SqlServer, fresh_database: str, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, fresh_database)
    await migrate(settings)
    before = await index_names(settings, "mariadb")
    seeded(settings, 100)
    # What a killed loader leaves: some rows, and indexes only in the journal.
    with closing(plain_connection(mariadb, fresh_database)) as connection:
        postpone(connection, "products")
        gone = before - await index_names(settings, "mariadb")
        assert "idx_products_search" in gone
        assert set(postponed(connection) or ()) == gone
    assert seeded(settings, 150).added == 50
    assert await index_names(settings, "mariadb") == before


async def test_two_seeders_at_once_are_refused(fresh_database: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, fresh_database)
    refused = pytest.raises(DatabaseUnavailable, match="Another process is seeding")
    with closing(open_store(settings)), refused:
        open_store(settings)
    open_store(settings).close()


def plain_connection(server: SqlServer, url: str) -> pymysql.Connection[Cursor]:
    return pymysql.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        database=url.rpartition("/")[2],
        connect_timeout=5,
        read_timeout=30,
    )


async def test_a_database_that_is_not_migrated_is_named(kind: str, settings: Settings) -> None:
    await ensure_migrated(settings)
    async with migrated(settings) as db:
        await db.execute("DELETE FROM tortoise_migrations", purpose="test")
    with pytest.raises(Misconfigured, match="farmlokal migrate"):
        await ensure_migrated(settings)


async def test_seeding_voids_everything_the_cache_knew(
    fresh_redis: PrivateRedis, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, "", redis_url=fresh_redis.url)
    with fresh_redis.client() as client:
        client.set(GENERATION_ALL, "old")
        assert await void_caches(settings)
        assert client.get(GENERATION_ALL) != b"old"
    fresh_redis.kill()
    assert not await void_caches(settings)
