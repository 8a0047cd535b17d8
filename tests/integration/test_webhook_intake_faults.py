"""Storing deliveries when something fails: who is told, and who must not notice."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from coordination.errors import DatabaseUnavailable, Unavailable
from models import tallies
from models.migrate import migrate
from models.resources import Resources, open_resources
from models.webhooks import intake as intake_module
from models.webhooks.intake import Bounds, Intake, Stored
from tests.databases import settings_for
from tests.deliveries import Gate, accepting, assert_counted, delivery, rows, seen_of
from tests.integration.conftest import HintLog
from tests.polling import eventually_async
from tests.servers import PrivateMariaDB, PrivateRedis


@pytest.fixture
async def intake(db_resources: Resources) -> AsyncIterator[Intake]:
    opened = Intake(db_resources)
    yield opened
    await opened.close()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


@pytest.mark.parametrize(
    "fault",
    [{"type": None}, {"payload": "no bytes", "body_digest": None}, {"partner_id": "x" * 20}],
    ids=str,
)
async def test_a_row_that_cannot_be_stored_harms_no_other(
    db_resources: Resources, intake: Intake, gate: Gate, fault: dict[str, Any]
) -> None:
    if db_resources.db.dialect.is_sqlite and "partner_id" in fault:
        pytest.skip("SQLite stores any value in any column")
    good = [delivery() for _ in range(5)]
    bad = delivery(**fault)
    tasks = await accepting(intake, gate, [*good[:3], bad, *good[3:]])
    gate.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(3), Exception)
    assert all(isinstance(answer, Stored) and answer.is_new for answer in answers)
    await assert_counted(db_resources.db, 5)


async def test_a_text_that_is_too_long_is_refused_not_cut(
    db_resources: Resources, intake: Intake
) -> None:
    """INSERT IGNORE would cut it, and two keys might become one."""
    if db_resources.db.dialect.is_sqlite:
        pytest.skip("SQLite's columns have no length")
    with pytest.raises(Exception, match=r"too long"):
        await intake.accept(delivery("k" * 129))
    await assert_counted(db_resources.db, 0)


async def test_clients_that_leave_harm_nobody(
    db_resources: Resources, intake: Intake, gate: Gate
) -> None:
    """A result set on a waiter that is gone would end the loop for good."""
    tasks = await accepting(intake, gate, [delivery() for _ in range(10)])
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks[::2], return_exceptions=True)
    gate.open.set()
    answers = await asyncio.gather(*tasks[1::2])
    assert all(answer.is_new for answer in answers)
    await assert_counted(db_resources.db, 10)  # what was sent is stored all the same
    assert (await intake.accept(delivery())).is_new


async def test_the_loop_survives_whatever_happens(
    db_resources: Resources, intake: Intake, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.faults = [RuntimeError("a defect"), RuntimeError("the same"), DatabaseUnavailable("away")]
    with pytest.raises(RuntimeError):
        await intake.accept(delivery())
    with pytest.raises(RuntimeError):
        await intake.accept(delivery())
    with pytest.raises(DatabaseUnavailable, match="away"):
        await intake.accept(delivery())
    assert "A delivery cannot be stored" in caplog.text
    assert (await intake.accept(delivery())).is_new


async def test_all_of_a_batch_are_told_that_the_database_is_away(
    intake: Intake, gate: Gate
) -> None:
    gate.faults = [DatabaseUnavailable("away")]
    tasks = await accepting(intake, gate, [delivery() for _ in range(3)])
    gate.open.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 3


async def test_a_cancellation_from_below_ends_no_loop(intake: Intake, gate: Gate) -> None:
    """A pool that gives up cancels who waits for it; every later delivery would wait in vain."""
    gate.faults = [asyncio.CancelledError()]
    with pytest.raises(DatabaseUnavailable):
        await intake.accept(delivery())
    assert (await intake.accept(delivery())).is_new


@pytest.mark.parametrize("bounds", [Bounds(waiting_rows=3), Bounds(waiting_bytes=36)], ids=str)
async def test_no_more_waits_than_is_bearable(
    db_resources: Resources, gate: Gate, bounds: Bounds
) -> None:
    intake = Intake(db_resources, bounds)
    tasks = await accepting(intake, gate, [delivery()])
    tasks += [asyncio.create_task(intake.accept(delivery())) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="Too many"):
        await intake.accept(delivery())
    gate.open.set()
    await asyncio.gather(*tasks)
    assert (await intake.accept(delivery())).is_new
    await intake.close()
    await assert_counted(db_resources.db, 5)


async def test_closing_has_a_deadline(db_resources: Resources, gate: Gate) -> None:
    """Nobody is left waiting: those under way and those behind them are told."""
    intake = Intake(db_resources, Bounds(batch_rows=2))
    tasks = await accepting(intake, gate, [delivery() for _ in range(5)])
    await intake.close(deadline_s=0.05)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 5
    await assert_counted(db_resources.db, 0)


async def test_nobody_waits_longer_than_partners_do(
    db_resources: Resources, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose commit hangs and those behind it are told alike; all of it is stored later."""
    monkeypatch.setattr(intake_module, "_ANSWER_WITHIN_S", 0.05)
    intake = Intake(db_resources, Bounds(batch_rows=2))
    tasks = await accepting(intake, gate, [delivery() for _ in range(5)])
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(1), asyncio.CancelledError)
    assert {type(answer) for answer in answers} == {DatabaseUnavailable}
    monkeypatch.undo()
    gate.open.set()
    assert (await intake.accept(delivery())).is_new
    await intake.close()
    await assert_counted(db_resources.db, 6)


async def test_redis_away_changes_nothing_that_counts(
    db_resources: Resources, intake: Intake, fresh_redis: PrivateRedis
) -> None:
    fresh_redis.kill()
    answers = [await intake.accept(delivery("evt")) for _ in range(5)]
    assert [answer.is_new for answer in answers] == [True, False, False, False, False]
    assert len({answer.receipt for answer in answers}) == 1
    fresh_redis.restart()

    async def marked() -> bool:
        await intake.accept(delivery("evt"))
        return seen_of(fresh_redis, "evt") is not None

    # A repetition that the database knew is marked, too, once Redis is back.
    await eventually_async(marked)
    await assert_counted(db_resources.db, 1)


Harm = Callable[[PrivateMariaDB], None]


@pytest.mark.parametrize(
    "harm", [PrivateMariaDB.kill, PrivateMariaDB.freeze], ids=["kill", "freeze"]
)
async def test_the_database_away_stores_and_marks_nothing(
    breakable_mariadb: PrivateMariaDB,
    fresh_redis: PrivateRedis,
    hint_log: HintLog,
    tmp_path: Path,
    harm: Harm,
) -> None:
    name = f"farmlokal_{secrets.token_hex(6)}"
    settings = settings_for(
        tmp_path,
        breakable_mariadb.create_database(name),
        redis_url=fresh_redis.url,
        database_query_timeout_ms=500,
        database_acquire_timeout_ms=500,
    )
    await migrate(settings)
    resources = await open_resources(settings, hint_log)
    intake = Intake(resources)
    try:
        assert (await intake.accept(delivery())).is_new
        harm(breakable_mariadb)
        answers = await asyncio.gather(
            *(intake.accept(delivery(f"evt-{n}")) for n in range(20)), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {DatabaseUnavailable}
        breakable_mariadb.revive()
        for number in range(20):
            assert seen_of(fresh_redis, f"evt-{number}") is None

        async def back() -> bool:
            try:
                return (await intake.accept(delivery())).is_new
            except DatabaseUnavailable:
                return False

        await eventually_async(back, deadline_s=30)
        # Sent again, each is there once, whatever became of the first attempt.
        again = await asyncio.gather(*(intake.accept(delivery(f"evt-{n}")) for n in range(20)))
        assert len({answer.receipt for answer in again}) == 20
        found = await rows(resources.db)
        assert len({row["dedup_key"] for row in found}) == len(found)
        counted = await tallies.read(resources.db, "webhooks.accepted")
        assert counted == {"webhooks.accepted": len(found)}
    finally:
        await intake.close()
        await resources.close()
        breakable_mariadb.drop_database(name)
