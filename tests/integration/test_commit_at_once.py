"""A transaction in one round trip: all of it or nothing, and values that arrive as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordination.errors import DatabaseUnavailable
from models import tallies
from models.database import Database, DuplicateKey, Literal, TransactionConflict, open_database
from models.migrate import migrate
from models.webhooks import deliveries as deliveries_module
from models.webhooks.deliveries import store
from tests.databases import settings_for
from tests.deliveries import assert_counted, delivery, rows

_ONE = "INSERT INTO tallies (name, shard, amount) VALUES ('test.one', 0, 1)"


@pytest.fixture
async def db(fresh_database: str, tmp_path: Path) -> AsyncIterator[Database]:
    settings = settings_for(tmp_path, fresh_database, database_pool_size=1)
    await migrate(settings)
    opened = await open_database(settings)
    try:
        if not opened.can_commit_at_once:
            pytest.skip("this server or driver takes one statement at a time")
        yield opened
    finally:
        await opened.close()


async def _commit(db: Database, *statements: str) -> list[tuple[object, ...]]:
    return await db.commit_at_once(lambda _: statements, purpose="test")


async def test_what_its_statements_return_comes_in_their_order(db: Database) -> None:
    assert await _commit(db, "SELECT 1", _ONE, "SELECT 2 UNION ALL SELECT 3") == [(1,), (2,), (3,)]
    assert await tallies.read(db, "test.") == {"test.one": 1}


@pytest.mark.parametrize("number", range(3))
async def test_nothing_is_done_when_one_fails(db: Database, number: int) -> None:
    """Also when statements follow it; and the pool's one connection is none the worse for it."""
    statements = [_ONE.replace("one", name) for name in ("two", "three")]
    statements.insert(number, _ONE)
    await _commit(db, _ONE)
    with pytest.raises(DuplicateKey):
        await _commit(db, *statements)
    assert await tallies.read(db, "test.") == {"test.one": 1}
    assert await _commit(db, "SELECT @@in_transaction") == [(1,)]
    assert await db.fetch("SELECT @@in_transaction AS n", purpose="test") == [{"n": 0}]


async def test_who_leaves_in_the_middle_takes_no_answer_from_the_next(db: Database) -> None:
    """What was under way may have been done or not, all of it; its connection is not used again."""
    task = asyncio.create_task(_commit(db, "SELECT SLEEP(2)", _ONE))
    done, _ = await asyncio.wait([task], timeout=0.2)
    assert not done
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(1.5):
        assert await _commit(db, "SELECT 5") == [(5,)]


async def test_a_server_that_is_away_is_told_apart_from_a_refusal(db: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        await _commit(db, "KILL CONNECTION_ID()", _ONE)
    assert await _commit(db, _ONE) == []


async def test_every_value_is_stored_as_it_came(db: Database) -> None:
    """Sent as text: nothing in it may end a literal, a statement, or be taken for a mark."""
    strange = "it's\\'\";%s%%--\\"
    body = bytes(range(256)) * 3 + b"'; DROP TABLE webhook_events; --"
    given = delivery(strange, body, label=strange, type=strange, request_id=strange)
    await store(db, [given, delivery("plain", b"")])
    first, second = sorted(await rows(db), key=lambda row: row["dedup_key"] == "plain")
    kept = [first[name] for name in ("dedup_key", "label", "type", "request_id")]
    assert kept == [strange] * 4
    assert bytes(first["payload"]) == body
    assert bytes(second["payload"]) == b""
    await assert_counted(db, 2)


async def test_new_deliveries_make_one_round_trip(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the price of a batch would be that of seven statements."""
    monkeypatch.setattr(Database, "transaction", None)
    monkeypatch.setattr(Database, "fetch", None)
    batch = await store(db, [delivery("a"), delivery("b"), delivery("a")])
    assert [stored.is_new for stored in batch.stored] == [True, True, False]
    assert len(batch.new_ids) == 2


async def test_the_longest_body_there_may_be_fits_into_a_packet(db: Database) -> None:
    """Written out in hexadecimal it would not."""
    longest = delivery("evt", b" " * (8 * 1024 * 1024))
    assert (await store(db, [longest])).stored[0].is_new
    await assert_counted(db, 1)


@pytest.mark.parametrize("fault", [DuplicateKey, TransactionConflict])
async def test_a_batch_that_is_not_all_new_is_looked_at(
    db: Database, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    """Whatever the quick way met, the careful one finds out."""

    async def refuse(_db: Database, _deliveries: object) -> None:
        raise fault("of the test")

    known = await store(db, [delivery("a")])
    monkeypatch.setattr(deliveries_module, "_insert_at_once", refuse)
    batch = await store(db, [delivery("b"), delivery("a")])
    assert [stored.is_new for stored in batch.stored] == [True, False]
    assert batch.stored[1].receipt == known.stored[0].receipt
    await assert_counted(db, 2)


async def test_a_value_is_written_by_the_driver(db: Database) -> None:
    def compose(literal: Literal) -> list[str]:
        return [f"SELECT {literal(None)}, {literal(-7)}, {literal('ä')}, {literal(bytes(2))}"]

    assert await db.commit_at_once(compose, purpose="test") == [(None, -7, "ä", bytes(2))]
