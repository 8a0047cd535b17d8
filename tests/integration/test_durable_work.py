"""Claims, leases and retention on real databases: a row is one worker's, and never lost."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from coordination.logs import request_id_bound
from models import durable_work, outbox, retention
from models.catalog.changes import everything_changed, product_changed
from models.database import Database, retrying
from models.durable_work import Backoff, WorkTable
from models.fields import from_column
from tests.databases import DATABASES, database_url, migrated, settings_for
from tests.polling import eventually_async

OUTBOX = WorkTable("outbox", ("kind", "payload", "request_id"))
LONG_AGO = "2020-01-01 00:00:00.000000"
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(params=[*DATABASES, "mariadb without skip_locked"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    kind, _, without = str(request.param).partition(" without ")
    url = database_url(kind, tmp_path, request)
    settings = settings_for(
        tmp_path,
        url,
        outbox_grace_ms=0,
        outbox_batch=7,
        purge_batch=2,
        database_without=without,
    )
    async with migrated(settings) as opened:
        yield opened


async def add(db: Database, count: int = 1) -> list[int]:
    async def unit() -> int:
        async with db.transaction() as conn:
            return await outbox.record(db, conn, product_changed("product.updated", uuid4(), 1))

    return [await retrying(unit) for _ in range(count)]


async def row(db: Database, row_id: int) -> dict[str, object]:
    (found,) = await db.fetch("SELECT * FROM outbox WHERE id = %s", [row_id], purpose="test")
    return found


async def test_a_record_is_what_is_claimed_with_its_request_id(db: Database) -> None:
    change = product_changed("product.updated", uuid4(), 3, 4)
    with request_id_bound("req-1"):
        async with db.transaction() as conn:
            row_id = await outbox.record(db, conn, change)
    (entry,) = (await outbox.claim(db)).entries
    assert (entry.id, entry.change, entry.request_id) == (row_id, change, "req-1")


async def test_a_rolled_back_write_leaves_no_record(db: Database) -> None:
    async def fail_after_recording() -> None:
        async with db.transaction() as conn:
            await outbox.record(db, conn, everything_changed("farm.updated"))
            raise LookupError

    with pytest.raises(LookupError):
        await fail_after_recording()
    assert (await outbox.claim(db)).entries == ()


async def test_due_rows_are_claimed_oldest_first_up_to_the_limit(db: Database) -> None:
    ids = await add(db, 5)
    first = await durable_work.claim_due(db, OUTBOX, limit=3, lease_ms=60_000)
    rest = await durable_work.claim_due(db, OUTBOX, limit=3, lease_ms=60_000)
    assert (first.ids, rest.ids) == (ids[:3], ids[3:])
    assert await durable_work.count_due(db, OUTBOX, limit=10) == 0


async def test_a_hint_claims_before_the_time_but_not_under_anothers_lease(db: Database) -> None:
    (row_id,) = await add(db)
    await db.execute(
        f"UPDATE outbox SET next_attempt_at = {db.dialect.now_plus_us.format('%s')}",
        [60_000_000],
        purpose="test",
    )
    assert (await durable_work.claim_due(db, OUTBOX, limit=5, lease_ms=60_000)).ids == []
    assert (await durable_work.claim_ids(db, OUTBOX, [row_id, 999], lease_ms=60_000)).ids == [
        row_id
    ]
    assert (await durable_work.claim_ids(db, OUTBOX, [row_id], lease_ms=60_000)).ids == []


async def test_a_lease_that_ran_out_is_claimed_anew_and_the_late_worker_changes_nothing(
    db: Database,
) -> None:
    (row_id,) = await add(db)
    late = await durable_work.claim_due(db, OUTBOX, limit=1, lease_ms=50)
    again = await eventually_async(lambda: _claimed(db), deadline_s=5)
    assert again.ids == [row_id]
    assert again.rows[0]["attempts"] == 2

    before = await row(db, row_id)
    assert await durable_work.complete(db, OUTBOX, late.token, late.ids) == 0
    assert (
        await durable_work.retry(
            db, OUTBOX, late.token, late.ids, error="late", backoff=Backoff(1, 1)
        )
        == 0
    )
    assert await row(db, row_id) == before
    assert await durable_work.complete(db, OUTBOX, again.token, again.ids) == 1
    assert (await durable_work.claim_ids(db, OUTBOX, [row_id], lease_ms=50)).ids == []


async def _claimed(db: Database) -> durable_work.Claim | None:
    claim = await durable_work.claim_due(db, OUTBOX, limit=1, lease_ms=60_000)
    return claim if claim.rows else None


@pytest.mark.parametrize(
    ("attempts", "least_s", "most_s"), [(1, 2, 2.6), (3, 8, 8.6), (6, 40, 40.6), (70, 40, 40.6)]
)
async def test_the_wait_doubles_up_to_its_bound(
    db: Database, attempts: int, least_s: float, most_s: float
) -> None:
    (row_id,) = await add(db)
    await db.execute("UPDATE outbox SET attempts = %s", [attempts - 1], purpose="test")
    claim = await durable_work.claim_due(db, OUTBOX, limit=1, lease_ms=60_000)
    backoff = Backoff(first_ms=2_000, most_ms=40_000)
    error = "x" * 900
    assert (
        await durable_work.retry(db, OUTBOX, claim.token, [row_id], error=error, backoff=backoff)
        == 1
    )
    (found,) = await db.fetch(
        f"SELECT last_error, lease_token, next_attempt_at, {db.dialect.now} AS now_at FROM outbox",
        purpose="test",
    )
    wait_s = (from_column(found["next_attempt_at"]) - from_column(found["now_at"])).total_seconds()
    # A busy machine may have taken a while to look.
    assert least_s - 1 <= wait_s <= most_s
    assert (found["last_error"], found["lease_token"]) == ("x" * 500, None)


async def test_two_concurrent_claims_in_one_process_share_no_row(db: Database) -> None:
    ids = await add(db, 40)
    claims = await asyncio.gather(
        *(durable_work.claim_due(db, OUTBOX, limit=10, lease_ms=60_000) for _ in range(8))
    )
    taken = [row_id for claim in claims for row_id in claim.ids]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(ids)
    hinted = await asyncio.gather(
        *(durable_work.claim_ids(db, OUTBOX, ids, lease_ms=60_000) for _ in range(4))
    )
    taken += [row_id for claim in hinted for row_id in claim.ids]
    assert sorted(taken) == ids


async def test_claiming_processes_share_no_row_while_writers_write(
    db: Database, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "FARMLOKAL_HOME": str(tmp_path),
        "DATABASE_URL": db.settings.effective_database_url,
        "DATABASE_WITHOUT": ",".join(db.settings.database_without),
        "OUTBOX_BATCH": "5",
        "OUTBOX_LEASE_S": "60",
        "STOP_FILE": str(stop),
    }
    claimers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.claimer",
            env=environment,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    try:
        for claimer in claimers:
            assert claimer.stdout is not None
            assert await asyncio.wait_for(claimer.stdout.readline(), 30) == b"ready\n"
        written = await asyncio.gather(*(add(db, 60) for _ in range(4)))
        stop.touch()
        async with asyncio.timeout(60):
            said = [await claimer.communicate() for claimer in claimers]
    finally:
        for claimer in claimers:
            if claimer.returncode is None:
                claimer.kill()
    assert [claimer.returncode for claimer in claimers] == [0, 0, 0], said
    taken = [json.loads(output) for output, _ in said]
    assert sorted(row_id for ids in taken for row_id in ids) == sorted(
        row_id for ids in written for row_id in ids
    )
    # A race in which one process took all proves nothing.
    assert sum(map(bool, taken)) >= 2


async def test_purging_deletes_old_done_rows_and_nothing_else(db: Database) -> None:
    ids = await add(db, 7)
    claimed = await outbox.claim(db, ids[:6])
    await outbox.complete(db, claimed)
    await db.execute(
        "UPDATE outbox SET finished_at = %s WHERE id IN (%s, %s, %s, %s, %s)",
        [LONG_AGO, *ids[:5]],
        purpose="test",
    )
    await db.execute("UPDATE outbox SET created_at = %s", [LONG_AGO], purpose="test")
    assert (await retention.purge_all(db, batches=2))["outbox"] == 4
    assert (await retention.purge_all(db))["outbox"] == 1
    left = await db.fetch("SELECT id FROM outbox ORDER BY id", purpose="test")
    assert [found["id"] for found in left] == ids[5:]


async def test_purging_spares_a_running_idempotency_key_and_fresh_ones(db: Database) -> None:
    for key, state, lease_us, created in (
        ("old", "done", -1, LONG_AGO),
        ("crashed", "running", -1, LONG_AGO),
        ("running", "running", 60_000_000, LONG_AGO),
        ("fresh", "done", -1, None),
    ):
        await db.execute(
            f"""INSERT INTO idempotency_keys (owner_id, idempotency_key, request_digest, state,
                  lease_token, lease_until, created_at)
                VALUES (1, %s, %s, %s, 'x', {db.dialect.now_plus_us.format("%s")},
                  COALESCE(%s, {db.dialect.now}))""",
            [key, b"\0" * 32, state, lease_us, created],
            purpose="test",
        )
    assert (await retention.purge_all(db))["idempotency_keys"] == 2
    left = await db.fetch("SELECT idempotency_key FROM idempotency_keys", purpose="test")
    assert {found["idempotency_key"] for found in left} == {"running", "fresh"}


async def test_purging_deletes_old_changes(db: Database) -> None:
    for number, created in enumerate((LONG_AGO, LONG_AGO, LONG_AGO, None), start=1):
        await db.execute(
            f"""INSERT INTO product_changes
                  (seq, product_id, farm_id, sku, kind, version, created_at)
                VALUES (%s, %s, 1, 's', 'updated', 1, COALESCE(%s, {db.dialect.now}))""",
            [number, uuid4().bytes, created],
            purpose="test",
        )
    assert (await retention.purge_all(db))["product_changes"] == 3
