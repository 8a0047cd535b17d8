"""Imports that cannot be finished end as failed, on both databases: none is tried for ever."""

from __future__ import annotations

from typing import Any

import pytest

from coordination.errors import DatabaseUnavailable
from models.imports import chunk_checking, claims, ending, processing
from models.imports.imports import Import
from models.imports.processing import count_due, process
from models.imports.stages import OVER, Reason, Stage
from models.resources import Resources
from tests.import_work import ATTEMPTS, found, make_due
from tests.imports import upload

_ROW = "1,S-1,Eggs,eggs,1.50,7\n"


@pytest.fixture
def resources(import_resources: Resources) -> Resources:
    """On both databases."""
    return import_resources


async def tried_out(resources: Resources, started: Import) -> Import:
    """The import after more tries than there are attempts."""
    for _ in range(ATTEMPTS + 2):
        await process(resources)
        await make_due(resources.db)
    await process(resources)
    return await found(resources, started)


@pytest.mark.parametrize("payload", [b"no zlib stream", None], ids=["garbled", "gone"])
async def test_a_chunk_that_cannot_be_unpacked_fails_its_import(
    resources: Resources, payload: bytes | None
) -> None:
    """A claim that fell over it would take no other chunk either."""
    started = await upload(resources, _ROW)
    sound = await upload(resources, _ROW)
    await resources.db.execute(
        "UPDATE import_chunks SET payload = %s WHERE import_id = %s",
        [payload, started.id],
        purpose="test",
    )
    done = await tried_out(resources, started)
    assert (done.stage, done.reason) == (Stage.FAILED, Reason.EXHAUSTED)
    assert (await found(resources, sound)).stage is Stage.COMPLETED
    assert await count_due(resources.db, 10) == 0


async def test_an_import_that_cannot_be_judged_is_failed(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[int] = []

    async def failing(_: Resources, claimed: Any) -> None:
        judged.append(claimed.attempts)
        raise RuntimeError("of the test")

    monkeypatch.setattr(processing, "judge", failing)
    started = await upload(resources, _ROW)
    done = await tried_out(resources, started)
    assert judged == list(range(1, ATTEMPTS + 1))
    assert (done.stage, done.reason, done.rows_applied) == (Stage.FAILED, Reason.EXHAUSTED, 0)
    assert done.detail
    assert await count_due(resources.db, 10) == 0


async def test_a_worker_that_lost_the_answer_to_its_commit_does_not_fail_the_import(
    resources: Resources,
) -> None:
    """At its last attempt: the chunk was checked, although its worker does not know."""
    started = await upload(resources, _ROW)
    chunk = await claims.claim_chunk(resources.db)
    assert chunk is not None
    assert started.layout is not None
    await chunk_checking.check(resources, chunk, started, started.layout)
    await ending.give_up(resources.db, chunk, "of the test")
    await process(resources)
    assert (await found(resources, started)).stage is Stage.COMPLETED


@pytest.mark.parametrize("step", ["judge", "apply"])
async def test_a_database_without_room_fails_no_import(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """However often it is met: claims need no room, so attempts could run out in minutes."""

    async def refused(*_: Any) -> None:
        raise DatabaseUnavailable("The database takes no writes at present.")

    started = await upload(resources, _ROW)
    with monkeypatch.context() as patch:
        patch.setattr(processing, step, refused)
        assert (await tried_out(resources, started)).stage not in OVER
    await make_due(resources.db)
    await process(resources)
    done = await found(resources, started)
    assert (done.stage, done.rows_applied) == (Stage.COMPLETED, 1)
