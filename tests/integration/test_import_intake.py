"""Uploads stored chunk by chunk: what they leave, and who may take them from whom."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Awaitable
from typing import Any

import pytest

from coordination.errors import DatabaseUnavailable, LeaseLost
from coordination.jobs import PROCESS_IMPORTS
from coordination.logs import request_id_bound
from models import durable_work
from models.database import Connection, Database
from models.durable_work import WorkTable
from models.fields import from_column
from models.imports import claims, intake, interrupting
from models.imports.cancelling import cancel
from models.imports.imports import Import
from models.imports.intake import Upload, open_upload
from models.imports.options import Policy
from models.imports.stages import Reason, Stage
from models.resources import Resources
from tests.imports import (
    PRODUCT_LAYOUT,
    chunk_rows,
    import_options,
    import_row,
    raw_chunks,
    start_upload,
    upload,
)
from tests.integration.conftest import HintLog
from tests.polling import eventually_async

IMPORTS = WorkTable("imports", ("public_id", "stage"))
TEXTS = ["1,A,Apples,fruit,2.50,3\n1,B,Bread,bread,3.00,1\n", "1,C,Cheese ö,dairy,9.99,0\n"]
DIGEST = hashlib.sha256("".join(TEXTS).encode()).digest()


@pytest.fixture
def db(db_resources: Resources) -> Database:
    return db_resources.db


def accepting(started: Upload, **others: Any) -> Awaitable[Import]:
    return started.accept(
        layout=PRODUCT_LAYOUT, rows=3, body_bytes=70, body_digest=DIGEST, **others
    )


async def lapse(db: Database, started: Upload) -> None:
    sql = "UPDATE imports SET next_attempt_at = '2020-01-01 00:00:00.000000' WHERE id = %s"
    assert await db.execute(sql, [started.import_id], purpose="test") == 1


async def claimed(db: Database, started: Upload) -> str:
    claim = await durable_work.claim_due(db, IMPORTS, limit=1, lease_ms=60_000)
    assert claim.ids == [started.import_id]
    return claim.token


async def left_of_heartbeat_s(db: Database, import_id: int) -> float:
    row = await import_row(db, import_id)
    (clock,) = await db.fetch(f"SELECT {db.dialect.now} AS t", purpose="test")
    lapses_in = from_column(row["next_attempt_at"]) - from_column(clock["t"])
    return lapses_in.total_seconds()


async def test_an_accepted_upload_is_work_and_keeps_all_it_was_told(
    db_resources: Resources, hint_log: HintLog
) -> None:
    db, options = db_resources.db, import_options(policy=Policy.VALID, file_name="list.csv")
    with request_id_bound("req-1"):
        started = await open_upload(db_resources, options=options, owner_id=7)
    assert (await import_row(db, started.import_id))["stage"] == Stage.RECEIVING
    first, second = raw_chunks(TEXTS)
    await started.add([first])
    await started.add([second])
    assert await claims.claim_chunk(db) is None
    accepted = await accepting(started)
    assert accepted.public_id == started.public_id
    assert (accepted.stage, accepted.options, accepted.layout) == (
        Stage.VALIDATING,
        options,
        PRODUCT_LAYOUT,
    )
    assert (accepted.owner_id, accepted.rows_total, accepted.body_bytes) == (7, 3, 70)
    assert (accepted.body_digest, accepted.chunks_total, accepted.chunks_left) == (DIGEST, 2, 2)
    assert accepted.accepted_at is not None
    assert accepted.accepted_at >= accepted.created_at
    row = await import_row(db, started.import_id)
    assert (row["state"], row["request_id"]) == ("waiting", "req-1")
    rows = await chunk_rows(db, started.import_id)
    assert [zlib.decompress(bytes(chunk["payload"])).decode() for chunk in rows] == TEXTS
    assert [(c["position"], c["first_row"], c["row_count"]) for c in rows] == [(0, 2, 2), (1, 4, 1)]
    assert await claims.count_due(db, 9) == 2
    assert {chunk["phase"] for chunk in rows} == {"check"}
    await eventually_async(lambda: len(hint_log.messages) == 2)
    assert {message.actor_name for message in hint_log.messages} == {PROCESS_IMPORTS.name}


async def test_many_chunks_at_once_need_several_statements_and_few_hints(
    db_resources: Resources, hint_log: HintLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_STATEMENT_BYTES", 100)
    texts = [f"1,S{n},{'x' * (n * 7 % 90)},fruit,1,1\n" for n in range(40)]
    accepted = await upload(db_resources, *texts)
    rows = await chunk_rows(db_resources.db, accepted.id)
    assert [zlib.decompress(bytes(chunk["payload"])).decode() for chunk in rows] == texts
    assert accepted.chunks_left == 40
    await db_resources.hints.close()
    assert len(hint_log.messages) == 4


async def test_a_file_without_chunks_is_due_itself(db: Database, db_resources: Resources) -> None:
    """Nobody would ever find that none of its chunks is left."""
    started = await start_upload(db_resources)
    await accepting(started)
    assert await claimed(db, started)


async def test_an_upload_that_shows_no_sign_becomes_due_and_can_store_nothing_more(
    db: Database, db_resources: Resources
) -> None:
    started = await start_upload(db_resources, *TEXTS)
    assert await durable_work.count_due(db, IMPORTS, limit=1) == 0
    await lapse(db, started)
    token = await claimed(db, started)
    with pytest.raises(LeaseLost):
        await started.add(raw_chunks(["1,D,D,d,1,1\n"], position=2))
    with pytest.raises(LeaseLost):
        await accepting(started)
    assert await claims.claim_chunk(db) is None
    assert len(await chunk_rows(db, started.import_id)) == 2

    assert not await interrupting.give_up(db, started.import_id, lease_token="another")
    await started.abort()  # it is the worker's to end
    assert len(await chunk_rows(db, started.import_id)) == 2
    assert await interrupting.give_up(db, started.import_id, lease_token=token)
    row = await import_row(db, started.import_id)
    assert (row["stage"], row["reason"]) == (Stage.FAILED, Reason.INTERRUPTED)
    assert (row["state"], row["lease_token"]) == ("done", None)
    assert row["finished_at"] is not None
    assert await chunk_rows(db, started.import_id) == []
    assert not await interrupting.give_up(db, started.import_id, lease_token=token)


async def test_storing_and_mere_presence_renew_the_heartbeat(
    db: Database, db_resources: Resources
) -> None:
    now_s = 1_000.0
    started = await open_upload(
        db_resources, options=import_options(), owner_id=None, clock=lambda: now_s
    )
    most = intake.heartbeat_s(db.settings)
    assert most > 2 * db.settings.import_idle_timeout_s
    await lapse(db, started)
    await started.add(raw_chunks(TEXTS))
    assert most - 20 < await left_of_heartbeat_s(db, started.import_id) <= most
    await lapse(db, started)
    now_s += 4
    await started.keep_alive()  # costs nothing so soon
    assert await left_of_heartbeat_s(db, started.import_id) < 0
    now_s += 2
    await started.keep_alive()
    assert most - 20 < await left_of_heartbeat_s(db, started.import_id) <= most
    await cancel(db_resources, started.public_id)
    now_s += 6
    with pytest.raises(LeaseLost):
        await started.keep_alive()


async def test_what_fails_in_the_acceptance_rolls_all_of_it_back(
    db: Database, db_resources: Resources, hint_log: HintLog
) -> None:
    started = await start_upload(db_resources, *TEXTS)
    seen: list[Import] = []

    async def store(conn: Connection, accepted: Import) -> None:
        seen.append(accepted)
        await db.execute("UPDATE imports SET detail = 'stored'", purpose="test", conn=conn)
        raise LeaseLost("The key is another's.")

    with pytest.raises(LeaseLost):
        await accepting(started, in_transaction=store)
    assert [accepted.stage for accepted in seen] == [Stage.VALIDATING]
    row = await import_row(db, started.import_id)
    assert (row["stage"], row["state"], row["detail"]) == (Stage.RECEIVING, "pending", None)
    assert await claims.claim_chunk(db) is None
    await started.abort()
    assert await db.fetch("SELECT id FROM imports", purpose="test") == []
    await db_resources.hints.close()
    assert hint_log.messages == []


async def test_an_aborted_upload_leaves_nothing(
    db: Database, db_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await start_upload(db_resources, *TEXTS)
    started = await start_upload(db_resources, *TEXTS, *TEXTS)
    monkeypatch.setattr(db, "settings", db.settings.model_copy(update={"purge_batch": 3}))
    await started.abort()
    await started.abort()
    (row,) = await db.fetch("SELECT id FROM imports", purpose="test")
    assert row["id"] == other.import_id
    (row,) = await db.fetch("SELECT COUNT(*) AS n FROM import_chunks", purpose="test")
    assert row["n"] == 2


async def test_aborting_does_no_harm_to_what_was_accepted_or_cancelled(
    db: Database, db_resources: Resources
) -> None:
    """The answer to a commit may be lost: then the upload aborts what was accepted."""
    accepted, cancelled = [await start_upload(db_resources, *TEXTS) for _ in range(2)]
    await accepting(accepted)
    await cancel(db_resources, cancelled.public_id)
    await accepted.abort()
    await cancelled.abort()
    assert (await import_row(db, accepted.import_id))["stage"] == Stage.VALIDATING
    assert (await import_row(db, cancelled.import_id))["stage"] == Stage.CANCELLING
    assert len(await chunk_rows(db, accepted.import_id)) == 2


async def test_aborting_fails_open(
    db_resources: Resources, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = await start_upload(db_resources)

    async def failing(*_: object, **__: object) -> int:
        raise faults.pop()

    faults: list[Exception] = [RuntimeError("a defect"), DatabaseUnavailable("away")]
    monkeypatch.setattr(Database, "execute", failing)
    await started.abort()
    assert "heartbeat will lapse" in caplog.text
    await started.abort()
    assert "could not be removed" in caplog.text


async def test_cancelling_while_chunks_come_in_stops_the_upload(
    db: Database, db_resources: Resources
) -> None:
    """However the two meet: nothing that was stored becomes work, and the upload is told."""
    started = await start_upload(db_resources)
    stored = 0

    async def keep_adding() -> None:
        nonlocal stored
        for position in range(1_000):
            await started.add(raw_chunks(["1,A,A,a,1,1\n"], position=position))
            stored += 1

    adding = asyncio.create_task(keep_adding())
    await eventually_async(lambda: stored >= 3)
    await cancel(db_resources, started.public_id)
    before = stored
    with pytest.raises(LeaseLost):
        await adding
    assert stored <= before + 1
    assert len(await chunk_rows(db, started.import_id)) == stored
    assert await claims.claim_chunk(db) is None
    with pytest.raises(LeaseLost):
        await accepting(started)
    assert await claims.claim_chunk(db) is None
    assert (await import_row(db, started.import_id))["stage"] == Stage.CANCELLING


async def test_of_acceptance_cancellation_and_giving_up_at_once_the_outcomes_agree(
    db: Database, db_resources: Resources
) -> None:
    """Each pair races a few times; who comes second finds what the first one left."""
    for _ in range(6):
        started = await start_upload(db_resources, *TEXTS)
        accepted, cancelled = await asyncio.gather(
            accepting(started), cancel(db_resources, started.public_id), return_exceptions=True
        )
        assert isinstance(cancelled, Import)
        assert (await import_row(db, started.import_id))["stage"] == Stage.CANCELLING
        lost = isinstance(accepted, LeaseLost)
        assert lost or isinstance(accepted, Import)
        assert await claims.claim_chunk(db) is None

        started = await start_upload(db_resources, *TEXTS)
        accepted, _ = await asyncio.gather(
            accepting(started), started.abort(), return_exceptions=True
        )
        if isinstance(accepted, Import):
            assert (await import_row(db, started.import_id))["stage"] == Stage.VALIDATING
            await cancel(db_resources, started.public_id)
        else:
            assert isinstance(accepted, LeaseLost)
            assert await chunk_rows(db, started.import_id) == []
