"""Imports that cannot be finished end as failed, on both databases: none is tried for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from models.database import Database
from models.imports import chunk_checking, claims, ending, inspection, processing
from models.imports.imports import Import
from models.imports.processing import count_due, process
from models.imports.stages import Reason, Stage
from models.migrate import migrate
from models.resources import Resources, open_resources
from tests.databases import DATABASES, database_url, settings_for
from tests.imports import upload
from tests.integration.conftest import HintLog
from tests.partner_news import add_places
from tests.servers import PrivateRedis

_ROW = "1,S-1,Eggs,eggs,1.50,7\n"
_ATTEMPTS = 3


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    """With farms and categories, and few attempts."""
    url = database_url(request.param, tmp_path, request)
    settings = settings_for(tmp_path, url, redis_url=fresh_redis.url, import_max_attempts=_ATTEMPTS)
    await migrate(settings)
    opened = await open_resources(settings, hint_log)
    try:
        await add_places(opened.db)
        yield opened
    finally:
        await opened.close()


async def now(resources: Resources, started: Import) -> Import:
    """The import as it is now."""
    held = await inspection.find(resources.db, started.public_id)
    assert held is not None
    return held


async def make_due(db: Database) -> None:
    """Let every wait and every lease be over."""
    for table in ("import_chunks", "imports"):
        await db.execute(
            f"UPDATE {table} SET next_attempt_at = {db.dialect.now_plus_us.format(-1)},"
            f" lease_until = {db.dialect.now_plus_us.format(-1)} WHERE state = 'pending'",
            purpose="test",
        )


async def tried_out(resources: Resources, started: Import) -> Import:
    """The import after more tries than there are attempts."""
    for _ in range(_ATTEMPTS + 2):
        await process(resources)
        await make_due(resources.db)
    await process(resources)
    return await now(resources, started)


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
    assert (await now(resources, sound)).stage is Stage.COMPLETED
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
    assert judged == list(range(1, _ATTEMPTS + 1))
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
    assert (await now(resources, started)).stage is Stage.COMPLETED
