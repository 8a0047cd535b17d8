"""The sequencer on real databases: order, completeness, and what a process leaves that dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.work import sweep
from coordination.clients import open_lock_client
from coordination.errors import DatabaseUnavailable
from coordination.jobs import NUMBER_CHANGES
from models.database import Row, retrying
from models.feed.numbering import count_unnumbered, number_changes
from models.feed.passes import Passes
from models.feed.position import fetch_position
from models.migrate import migrate
from models.resources import Resources, open_resources
from tests.databases import DATABASES, database_url, settings_for
from tests.feed import add_changes, numbered
from tests.integration.conftest import HintLog
from tests.polling import eventually_async
from tests.processes import environment_for
from tests.servers import PrivateRedis, SqlServer
from tests.service import Service

_BATCH = 7


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    url = database_url(request.param, tmp_path, request)
    settings = settings_for(
        tmp_path,
        url,
        redis_url=fresh_redis.url,
        changes_batch=_BATCH,
        database_query_timeout_ms=1_000,
    )
    await migrate(settings)
    opened = await open_resources(settings, hint_log)
    yield opened
    await opened.close()


def only_on_the_server(resources: Resources) -> str:
    """The database's name, for a test that needs a second connection of its own."""
    if resources.db.dialect.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    return resources.settings.database_url.rpartition("/")[2]


async def test_numbers_are_consecutive_in_the_order_of_the_ids(resources: Resources) -> None:
    names = [f"p{number}" for number in range(3 * _BATCH + 2)]
    await add_changes(resources.db, names)
    assert await count_unnumbered(resources.db, 1_000) == len(names)
    assert await count_unnumbered(resources.db, 5) == 5
    assert await number_changes(resources) == len(names)
    assert await numbered(resources.db) == list(enumerate(names, start=1))
    assert await count_unnumbered(resources.db, 1_000) == 0
    assert await number_changes(resources) == 0
    await add_changes(resources.db, ["late", "later"])
    assert await number_changes(resources) == 2
    assert (await numbered(resources.db))[-2:] == [(24, "late"), (25, "later")]
    assert (await fetch_position(resources.db)).position == 25


async def test_one_look_serves_many_batches(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sorts all that waits for each look: a backlog's time must not grow with it so."""
    looks, fetch = 0, resources.db.fetch

    async def counting(sql: str, *arguments: Any, **named: Any) -> list[Row]:
        nonlocal looks
        looks += "ORDER BY id" in sql
        return await fetch(sql, *arguments, **named)

    monkeypatch.setattr(resources.db, "fetch", counting)
    names = [f"p{number:03}" for number in range(10 * _BATCH + 3)]
    await add_changes(resources.db, names)
    assert await number_changes(resources) == len(names)
    assert looks == 2
    assert await numbered(resources.db) == list(enumerate(names, start=1))


async def test_what_another_numbered_since_the_look_is_not_numbered_again(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between two batches of one look, and takes of those that the look had found."""
    names = [f"p{number:03}" for number in range(5 * _BATCH)]
    await add_changes(resources.db, names)
    other, real, batches = replace(resources, numbering=Passes()), retrying, 0

    async def beside_another(unit: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal batches
        batches += 1
        if batches == 3:
            assert await number_changes(other) == 3 * _BATCH
            await add_changes(resources.db, ["late"])
        return await real(unit)

    monkeypatch.setattr("models.feed.numbering.retrying", beside_another)
    assert await number_changes(resources) == 2 * _BATCH + 1
    assert await numbered(resources.db) == list(enumerate([*names, "late"], start=1))


async def test_ids_with_gaps_get_numbers_without(resources: Resources, tmp_path: Path) -> None:
    """Transactions that were rolled back leave gaps of every length."""
    names = [f"p{number:03}" for number in range(600)]
    await add_changes(resources.db, names)
    # Runs of one and of three, more than fit into one statement; and a long one at the end.
    gone = [row_id for row_id in range(1, 500) if row_id % 7 in {1, 3, 5}]
    marks = ", ".join(["%s"] * len(gone))
    await resources.db.execute(
        f"DELETE FROM product_changes WHERE id IN ({marks})", gone, purpose="test"
    )
    left = await resources.db.fetch("SELECT sku FROM product_changes ORDER BY id", purpose="test")
    settings = resources.settings.model_copy(update={"changes_batch": 1_000})
    resources.db.settings = settings
    assert await number_changes(resources) == len(left)
    expected = [(number, row["sku"]) for number, row in enumerate(left, start=1)]
    assert await numbered(resources.db) == expected


async def test_a_change_that_commits_late_is_numbered_late_and_holds_nobody_up(
    resources: Resources, mariadb: SqlServer
) -> None:
    """Its id is the lowest; whoever follows by id would have passed it for ever. Another's is the
    next behind the run of those that are numbered."""
    name = only_on_the_server(resources)
    slow = (
        "INSERT INTO product_changes (product_id, farm_id, sku, kind, version, created_at)"
        " VALUES (REPEAT('x', 16), 1, %s, 'updated', 1, UTC_TIMESTAMP(6))"
    )
    with (
        mariadb.connect(name) as writing,
        mariadb.connect(name) as later,
        writing.cursor() as cursor,
        later.cursor() as another,
    ):
        writing.begin()
        cursor.execute(slow, ["slow"])
        await add_changes(resources.db, ["quick", "second"])
        later.begin()
        another.execute(slow, ["slower"])
        async with asyncio.timeout(0.9):  # less than it would wait for a lock
            assert await number_changes(resources) == 2
        writing.commit()
        later.commit()
    assert await number_changes(resources) == 2
    assert [sku for _, sku in await numbered(resources.db)] == ["quick", "second", "slow", "slower"]


async def test_a_numberer_waits_for_another_instead_of_passing_on(
    resources: Resources, mariadb: SqlServer
) -> None:
    """The other may have looked before our change was committed."""
    name = only_on_the_server(resources)
    await add_changes(resources.db, ["one"])
    with mariadb.connect(name) as other, other.cursor() as cursor:
        other.begin()
        cursor.execute("SELECT position FROM feed_position WHERE id = 1 FOR UPDATE")
        waiting = asyncio.create_task(number_changes(resources))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        await add_changes(resources.db, ["two"])  # committed while it waits
        other.rollback()
    assert await waiting == 2
    assert await numbered(resources.db) == [(1, "one"), (2, "two")]


async def test_what_could_not_be_numbered_is_found_by_the_sweep(
    resources: Resources, mariadb: SqlServer, hint_log: HintLog
) -> None:
    name = only_on_the_server(resources)
    await add_changes(resources.db, ["one"])
    with mariadb.connect(name) as other, other.cursor() as cursor:
        other.begin()
        cursor.execute("SELECT position FROM feed_position WHERE id = 1 FOR UPDATE")
        with pytest.raises(DatabaseUnavailable):
            await number_changes(resources)
    queue = open_lock_client(resources.settings)
    assert await sweep(resources, queue) == 1
    await queue.aclose()
    await eventually_async(lambda: hint_log.messages)
    assert [hint.actor_name for hint in hint_log.messages] == [NUMBER_CHANGES.name]
    assert await number_changes(resources) == 1


async def test_many_numberers_at_once_number_each_change_once(resources: Resources) -> None:
    """Each stands for a process: their turns are taken at the database."""
    await add_changes(resources.db, [f"p{number}" for number in range(60)])
    processes = [replace(resources, numbering=Passes()) for _ in range(4)]
    counts = await asyncio.gather(*(number_changes(one) for one in processes for _ in range(5)))
    # A race in which one of them did it all proves nothing.
    assert sum(any(counts[start : start + 5]) for start in range(0, 20, 5)) >= 2
    found = await numbered(resources.db)
    assert [number for number, _ in found] == list(range(1, 61))
    assert [name for _, name in found] == [f"p{number}" for number in range(60)]


class Numberer(Service):
    """Holds the sequencer's lock, everything written and nothing committed."""

    module = "tests.integration.numberer"


async def test_a_numberer_killed_before_its_commit_loses_nothing(resources: Resources) -> None:
    names = [f"p{number}" for number in range(5)]
    await add_changes(resources.db, names)
    settings = resources.settings
    environment = environment_for(
        Path(settings.farmlokal_home),
        database_url=settings.database_url,
        redis_url=settings.redis_url,
    )
    with Numberer(environment) as doomed:
        assert await numbered(resources.db) == []
        doomed.kill()
    # The server may take a moment to notice.
    await eventually_async(
        lambda: number_changes(resources), deadline_s=10, retry_on=DatabaseUnavailable
    )
    assert await numbered(resources.db) == list(enumerate(names, start=1))
    assert (await fetch_position(resources.db)).position == 5
