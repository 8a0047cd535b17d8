"""What is deleted of imports that are over, when, and that nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from models import retention
from models.database import Database
from models.imports.retention import purge_chunks
from models.imports.row_values import RowFault
from models.imports.stages import OVER, Stage
from tests.databases import DATABASES, database_url, migrated, settings_for
from tests.imports import add_faults, import_options
from tests.servers import SqlServer

DAY_US = 86_400_000_000


@pytest.fixture(params=DATABASES)
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = database_url(request.param, tmp_path, request)
    settings = settings_for(tmp_path, url, purge_batch=2, retention_imports_s=30 * 86_400)
    async with migrated(settings) as opened:
        yield opened


async def put(
    db: Database, stage: Stage, days: float = 0, *, chunks: int = 0, faults: int = 0
) -> int:
    """An import that reached this stage days ago, with all it has left."""
    state = "done" if stage in OVER else "pending"
    moment = db.dialect.now_plus_us.format("%s")
    age_us = -int(days * DAY_US)
    import_id = await db.insert(
        f"""INSERT INTO imports (public_id, options, stage, created_at, state, next_attempt_at,
              finished_at) VALUES (%s, %s, %s, {moment}, %s, {moment},
              {moment if state == "done" else "NULL"})""",
        [uuid4().bytes, import_options().encode(), stage.value, age_us, state]
        + [age_us] * (2 if state == "done" else 1),
        purpose="test",
    )
    for position in range(chunks):
        await db.execute(
            f"""INSERT INTO import_chunks (import_id, position, first_row, row_count, phase,
                  payload, state, next_attempt_at)
                VALUES (%s, %s, 2, 1, 'check', 'x', 'done', {db.dialect.now})""",
            [import_id, position],
            purpose="test",
        )
    if faults:
        await add_faults(db, import_id, [RowFault(row, "a", "b") for row in range(faults)])
    return import_id


async def left(db: Database, table: str, column: str = "import_id") -> list[int]:
    rows = await db.fetch(f"SELECT {column} AS x FROM {table} ORDER BY x, id", purpose="test")
    return [int(row["x"]) for row in rows]


async def purged(db: Database, batches: int = 200) -> tuple[int, int, int]:
    deleted = await retention.purge_all(db, batches)
    return deleted["import_chunks"], deleted["import_faults"], deleted["imports"]


async def test_chunks_go_once_their_import_is_over_and_the_rest_after_its_retention(
    db: Database,
) -> None:
    old = [await put(db, stage, 31, chunks=1, faults=1) for stage in sorted(OVER)]
    recent = [await put(db, stage, 29, chunks=3, faults=3) for stage in sorted(OVER)]
    assert await purged(db) == (16, 4, 4)
    assert await left(db, "imports", "id") == recent
    assert await left(db, "import_chunks") == []
    assert await left(db, "import_faults") == sorted(recent * 3)
    assert old[-1] < recent[0]
    assert await purged(db) == (0, 0, 0)


async def test_nothing_is_purged_of_an_import_that_is_not_over(db: Database) -> None:
    """Also of one that was begun long ago; a batch full of others does not hide the rest."""
    stages = [stage for stage in Stage if stage not in OVER]
    running = [await put(db, stage, 400, chunks=3, faults=3) for stage in stages]
    over = await put(db, Stage.COMPLETED, 400, chunks=5, faults=5)
    running += [await put(db, stage, 400, chunks=3, faults=3) for stage in stages]
    assert await purged(db) == (5, 5, 1)
    assert over not in running
    assert await left(db, "imports", "id") == running
    assert await left(db, "import_chunks") == sorted(running * 3)
    assert await left(db, "import_faults") == sorted(running * 3)


async def test_one_run_is_bounded_and_an_import_goes_last_of_all_it_has(db: Database) -> None:
    big = await put(db, Stage.COMPLETED, 50, chunks=7, faults=7)
    await put(db, Stage.FAILED, 40)
    assert await purged(db, batches=1) == (2, 2, 1)
    assert await purged(db, batches=2) == (4, 4, 0)
    assert await left(db, "imports", "id") == [big]
    assert await purged(db, batches=2) == (1, 1, 1)


async def test_looking_for_chunks_leaps_over_those_of_running_imports(
    tmp_path: Path, fresh_database: str, mariadb: SqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file under way has thousands, and they are looked at every few minutes."""
    asked: list[tuple[str, list[object]]] = []
    real = Database.fetch

    async def watched(db: Database, sql: str, params: Sequence[object] = (), **others: Any) -> Any:
        asked.append((sql, list(params)))
        return await real(db, sql, params, **others)

    async with migrated(settings_for(tmp_path, fresh_database)) as db:
        for _ in range(5):
            await put(db, Stage.APPLYING)
        await db.execute(
            f"""INSERT INTO import_chunks (import_id, position, first_row, row_count, phase, state,
                  next_attempt_at)
                SELECT i.id, s.seq, 2, 1, 'check', 'pending', {db.dialect.now}
                FROM imports i, seq_1_to_2000 s""",
            purpose="test",
        )
        await db.fetch("ANALYZE TABLE import_chunks", purpose="test")
        monkeypatch.setattr(Database, "fetch", watched)
        assert await purge_chunks(db) == 0
    name = urlsplit(fresh_database).path[1:]
    ((sql, params),) = asked
    _, reads = mariadb.handler_reads(sql, params, database=name)
    assert 0 < sum(reads.values()) < 100, reads
