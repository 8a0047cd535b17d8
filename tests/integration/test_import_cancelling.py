"""Cancelling an import in each of its stages: whoever is at it can commit nothing more."""

from __future__ import annotations

import asyncio
import contextvars
from uuid import uuid4

import pytest

from coordination.errors import Conflict, NotFound
from coordination.jobs import PROCESS_IMPORTS
from models import durable_work
from models.database import Database
from models.durable_work import WorkTable
from models.imports.cancelling import cancel
from models.imports.stages import OVER, Stage
from models.resources import Resources
from tests.imports import import_row, start_upload, upload
from tests.integration.conftest import HintLog

IMPORTS = WorkTable("imports", ("public_id", "stage"))
TEXT = "1,A,Apples,fruit,2.50,3\n"


@pytest.fixture
def db(db_resources: Resources) -> Database:
    return db_resources.db


async def put(db: Database, import_id: int, stage: Stage, state: str) -> None:
    await db.execute(
        "UPDATE imports SET stage = %s, state = %s, attempts = 3 WHERE id = %s",
        [stage.value, state, import_id],
        purpose="test",
    )


async def test_of_fifty_at_once_all_are_told_the_same_and_it_is_cancelled_once(
    db: Database, db_resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    found = await upload(db_resources, TEXT)
    await put(db, found.id, Stage.APPLYING, "waiting")
    told = await asyncio.gather(*(cancel(db_resources, found.public_id) for _ in range(50)))
    assert {(one.id, one.stage) for one in told} == {(found.id, Stage.CANCELLING)}
    assert sum(record.message == "Import cancelled" for record in caplog.records) == 1
    row = await import_row(db, found.id)
    assert (row["state"], row["attempts"], row["reason"]) == ("pending", 0, None)
    claim = await durable_work.claim_due(db, IMPORTS, limit=9, lease_ms=60_000)
    assert claim.ids == [found.id]


@pytest.mark.parametrize("stage", [Stage.VALIDATING, Stage.APPLYING])
async def test_a_worker_that_holds_it_loses_it_and_another_is_hinted(
    db: Database, db_resources: Resources, hint_log: HintLog, stage: Stage
) -> None:
    found = await upload(db_resources, TEXT)
    await put(db, found.id, stage, "pending")
    held = await durable_work.claim_due(db, IMPORTS, limit=1, lease_ms=60_000)
    assert held.ids == [found.id]
    assert (await cancel(db_resources, found.public_id)).stage is Stage.CANCELLING
    assert await durable_work.complete(db, IMPORTS, held.token, held.ids) == 0
    # Whoever ends it keeps it, however often it is cancelled again.
    ender = await durable_work.claim_due(db, IMPORTS, limit=1, lease_ms=60_000)
    assert (await cancel(db_resources, found.public_id)).stage is Stage.CANCELLING
    assert await durable_work.complete(db, IMPORTS, ender.token, ender.ids) == 1
    await db_resources.hints.close()
    hints = [message.actor_name for message in hint_log.messages]
    assert hints == [PROCESS_IMPORTS.name] * 3  # of the upload, and of each cancellation


async def test_an_upload_under_way_can_be_cancelled(db: Database, db_resources: Resources) -> None:
    started = await start_upload(db_resources, TEXT)
    assert (await cancel(db_resources, started.public_id)).stage is Stage.CANCELLING
    assert await durable_work.count_due(db, IMPORTS, limit=9) == 1


async def test_an_end_that_is_being_committed_is_waited_for_and_stands(
    db: Database, db_resources: Resources
) -> None:
    found = await upload(db_resources, TEXT)
    async with db.transaction() as conn:
        await db.execute(
            f"UPDATE imports SET stage = '{Stage.COMPLETED}', state = 'done' WHERE id = %s",
            [found.id],
            purpose="test",
            conn=conn,
        )
        # A context of its own: a task begun here would take part in this transaction.
        cancelling = asyncio.create_task(
            cancel(db_resources, found.public_id), context=contextvars.Context()
        )
        done, _ = await asyncio.wait([cancelling], timeout=0.5)
        assert not done
    with pytest.raises(Conflict):
        await cancelling
    assert (await import_row(db, found.id))["stage"] == Stage.COMPLETED


@pytest.mark.parametrize("stage", sorted(OVER))
async def test_what_is_over_stays_as_it_is(
    db: Database, db_resources: Resources, stage: Stage
) -> None:
    found = await upload(db_resources, TEXT)
    await put(db, found.id, stage, "done")
    before = await import_row(db, found.id)
    if stage is Stage.CANCELLED:
        assert (await cancel(db_resources, found.public_id)).stage is Stage.CANCELLED
    else:
        with pytest.raises(Conflict, match=f"The import is {stage} and can no longer be cancelled"):
            await cancel(db_resources, found.public_id)
    assert await import_row(db, found.id) == before


async def test_cancelling_what_is_not_there(db_resources: Resources) -> None:
    with pytest.raises(NotFound):
        await cancel(db_resources, uuid4())
