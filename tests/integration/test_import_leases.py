"""Imports whose workers fail, freeze, die or are too many, and those that are cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from coordination.errors import LeaseLost
from coordination.jobs import PROCESS_IMPORTS
from models.imports import chunk_applying, chunk_checking, claims, inspection, judging, processing
from models.imports.cancelling import cancel
from models.imports.processing import count_due, process
from models.imports.room import Room
from models.imports.stages import Phase, Reason, Stage
from models.resources import Resources
from tests.import_work import found, lines, make_due, worked
from tests.imports import chunk_rows, start_upload, upload
from tests.integration.conftest import HintLog
from tests.partner_news import catalogue, changes


@pytest.fixture
def resources(import_resources: Resources) -> Resources:
    """On both databases."""
    return import_resources


@pytest.mark.parametrize("phase", list(Phase), ids=str)
async def test_a_chunk_that_fails_once_is_done_once(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, phase: Phase
) -> None:
    """Whatever its failed transaction had written is gone with it."""
    module = chunk_checking if phase is Phase.CHECK else chunk_applying
    count = claims.count_chunk
    failed: list[bool] = []

    async def failing(*args: Any) -> None:
        await count(*args)
        if not failed:
            failed.append(True)
            raise RuntimeError("of the test")

    monkeypatch.setattr(module, "count_chunk", failing)
    started = await upload(resources, lines(1, 2), lines(3))
    await process(resources)
    await make_due(resources.db)
    done = await worked(resources, started)
    assert failed
    assert (done.stage, done.rows_checked, done.rows_created) == (Stage.COMPLETED, 3, 3)
    assert await changes(resources.db) == [("created", 1)] * 3


@pytest.mark.parametrize("phase", list(Phase), ids=str)
async def test_a_worker_that_was_frozen_past_its_lease_changes_nothing(
    resources: Resources, phase: Phase
) -> None:
    started = await upload(resources, lines(1, 2))
    if phase is Phase.APPLY:
        chunk = await claims.claim_chunk(resources.db)
        assert chunk is not None
        assert started.layout is not None
        await chunk_checking.check(resources, chunk, started, started.layout)
        claimed = await claims.claim_import(resources.db)
        assert claimed is not None
        await judging.judge(resources, claimed)
    late = await claims.claim_chunk(resources.db)
    assert late is not None
    assert late.phase is phase
    await make_due(resources.db)  # its lease has ended
    done = await worked(resources, started)
    assert done.stage is Stage.COMPLETED
    work = chunk_checking.check if phase is Phase.CHECK else chunk_applying.apply
    assert done.layout is not None
    with pytest.raises(LeaseLost):
        await work(resources, late, done, done.layout)
    assert await found(resources, done) == done
    assert await changes(resources.db) == [("created", 1)] * 2


async def test_a_chunk_that_always_fails_ends_the_import(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = chunk_applying._write_products
    poisoned = "S-3"

    async def failing(db: Any, conn: Any, of: Any, layout: Any, rows: Any) -> Any:
        if any(row.sku == poisoned for row in rows):
            raise RuntimeError("of the test")
        return await apply(db, conn, of, layout, rows)

    monkeypatch.setattr(chunk_applying, "_write_products", failing)
    started = await upload(resources, lines(1, 2), lines(3))
    for _ in range(4):
        await process(resources)
        await make_due(resources.db)
    done = await worked(resources, started)
    assert (done.stage, done.reason) == (Stage.FAILED, Reason.EXHAUSTED)
    assert done.detail
    assert (done.rows_created, set(await catalogue(resources.db))) == (2, {(1, "S-1"), (1, "S-2")})
    assert await count_due(resources.db, 10) == 0


async def test_a_chunk_that_kills_its_workers_ends_the_import(resources: Resources) -> None:
    started = await upload(resources, lines(1))
    for _ in range(resources.settings.import_max_attempts):
        assert await claims.claim_chunk(resources.db) is not None
        await make_due(resources.db)
    done = await worked(resources, started)
    assert (done.stage, done.reason) == (Stage.FAILED, Reason.EXHAUSTED)
    assert await catalogue(resources.db) == {}


async def test_cancelling_keeps_what_was_applied_and_applies_no_more(resources: Resources) -> None:
    started = await upload(resources, lines(1), lines(2))
    for _ in range(2):
        chunk = await claims.claim_chunk(resources.db)
        assert chunk is not None
        assert started.layout is not None
        await chunk_checking.check(resources, chunk, started, started.layout)
    claimed = await claims.claim_import(resources.db)
    assert claimed is not None
    await judging.judge(resources, claimed)
    now = await found(resources, started)
    assert now.layout is not None
    first = await claims.claim_chunk(resources.db)
    second = await claims.claim_chunk(resources.db)
    assert first is not None
    assert second is not None
    await chunk_applying.apply(resources, first, now, now.layout)
    await cancel(resources, started.public_id)
    with pytest.raises(LeaseLost):
        await chunk_applying.apply(resources, second, now, now.layout)
    done = await worked(resources, started)
    assert (done.stage, done.rows_applied, done.rows_created) == (Stage.CANCELLED, 1, 1)
    assert len(await catalogue(resources.db)) == 1
    assert await count_due(resources.db, 10) == 0


async def test_an_upload_that_went_silent_is_given_up(resources: Resources) -> None:
    silent = await start_upload(resources, lines(1))
    assert await process(resources) == 0
    held = await inspection.find(resources.db, silent.public_id)
    assert held is not None
    assert held.stage is Stage.RECEIVING
    await make_due(resources.db)
    done = await worked(resources, held)
    assert (done.stage, done.reason) == (Stage.FAILED, Reason.INTERRUPTED)
    rows = await resources.db.fetch("SELECT id FROM import_chunks", purpose="test")
    assert rows == []


async def test_many_workers_at_once_do_each_chunk_once(resources: Resources) -> None:
    texts = [lines(*range(start, start + 5)) for start in range(0, 100, 5)]
    started = await upload(resources, *texts)
    resources.import_gate._value = 6  # places for all of them
    await asyncio.gather(*(process(resources) for _ in range(6)))
    await make_due(resources.db)
    done = await worked(resources, started)
    assert (done.stage, done.rows_checked, done.rows_created) == (Stage.COMPLETED, 100, 100)
    assert await changes(resources.db) == [("created", 1)] * 100


async def test_two_lists_of_one_farm_at_once_end_with_the_newer(resources: Resources) -> None:
    older = await upload(resources, *(lines(n, name="Older") for n in range(10)))
    newer = await upload(resources, *(lines(n, name="Newer") for n in reversed(range(10))))
    resources.import_gate._value = 4
    await asyncio.gather(*(process(resources) for _ in range(4)))
    await make_due(resources.db)
    await process(resources)
    assert (await found(resources, older)).stage is Stage.COMPLETED
    assert (await found(resources, newer)).stage is Stage.COMPLETED
    names = {row["name"].split()[0] for row in (await catalogue(resources.db)).values()}
    assert names == {"Newer"}


async def test_who_stops_early_hints_the_next(
    resources: Resources, hint_log: HintLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = await upload(resources, lines(1), lines(2))
    monkeypatch.setattr("models.imports.processing._JOB_S", 0.0)
    await process(resources)
    await resources.hints.close()
    hints_of_the_upload = 2
    assert [message.actor_name for message in hint_log.messages] == [PROCESS_IMPORTS.name] * (
        hints_of_the_upload + 1
    )
    assert (await found(resources, started)).stage is Stage.VALIDATING


async def test_a_short_list_need_not_wait_for_a_long_one(resources: Resources) -> None:
    await upload(resources, *(lines(n) for n in range(60)))
    short = await upload(resources, lines(100, farm=2))
    mine = 0
    for _ in range(40):
        chunk = await claims.claim_chunk(resources.db)
        assert chunk is not None
        mine = mine or chunk.import_id == short.id
    assert mine


async def _asked_often() -> int:
    return 0


async def _in_two_places(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> tuple[Resources, asyncio.Barrier]:
    """A process with room for two chunks, each of which waits for the other before it is done."""
    moments = iter(range(1_000_000))
    quiet = Room(2, _asked_often, lambda: float(next(moments)))
    for _ in range(10):
        await quiet.places()
    assert await quiet.places() == 2
    both = asyncio.Barrier(2)
    work = processing._work

    async def together(resources: Resources, chunk: claims.Chunk) -> None:
        await both.wait()
        await work(resources, chunk)

    monkeypatch.setattr(processing, "_work", together)
    return replace(resources, import_room=quiet), both


async def test_where_there_is_room_one_job_works_on_two_chunks_at_once(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy, both = await _in_two_places(resources, monkeypatch)
    started = await upload(roomy, *(lines(n, n + 50) for n in range(4)))
    async with asyncio.timeout(20):
        await process(roomy)
    done = await found(resources, started)
    assert (done.stage, done.rows_created) == (Stage.COMPLETED, 8)
    assert both.n_waiting == 0
    assert await changes(resources.db) == [("created", 1)] * 8


async def test_a_job_that_is_stopped_gives_back_all_it_works_on(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    roomy, _ = await _in_two_places(resources, monkeypatch)
    started = await upload(roomy, lines(1), lines(2))
    reached = asyncio.Event()
    at_work = 0

    async def stuck(_: Resources, chunk: claims.Chunk) -> None:
        nonlocal at_work
        at_work += 1
        if at_work == 2:
            reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(processing, "_work", stuck)
    job = asyncio.create_task(process(roomy))
    async with asyncio.timeout(20):
        await reached.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    held = await chunk_rows(resources.db, started.id)
    assert [(row["lease_token"], row["attempts"]) for row in held] == [(None, 0)] * 2
