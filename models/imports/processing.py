"""Takes imports through their stages: one chunk, or one import itself, at a time.

While next to nobody reads, a process works on up to ``IMPORT_CONCURRENCY`` of them at once
(``room``). One job of it does; further hints are answered by that one.

Whatever fails is put off and tried again. A chunk or a judgement that fails at its last attempt
ends its import; the end itself is tried for as long as it takes. A database that is away or takes
no writes counts against nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from coordination.errors import DatabaseUnavailable, LeaseLost
from coordination.metrics import IMPORT_CHUNK_DURATION, IMPORTS_ENDED
from models import durable_work
from models.database import Database, TransactionConflict
from models.durable_work import WorkTable
from models.feed.numbering import number_changes
from models.imports import ending
from models.imports.chunk_applying import apply
from models.imports.chunk_checking import check
from models.imports.claims import (
    CHUNKS,
    IMPORTS,
    Chunk,
    ClaimedImport,
    backoff_of,
    claim_chunk,
    claim_import,
    count_due,
    read_import,
    unfinished,
)
from models.imports.hinting import hint_workers
from models.imports.interrupting import give_up
from models.imports.judging import judge
from models.imports.stages import Phase, Stage
from models.resources import Resources

__all__ = ["count_due", "process"]

_log = logging.getLogger(__name__)

# Begins nothing new after it: a chunk takes a second, and judging a long list fits into the job's
# time limit.
_JOB_S: Final = 10.0
_LET_GO_S: Final = 2.0
_FAILED: Final = "A worker could not deal with a chunk; its log says why."
_AWAY: Final = "The database was away or took no writes."
_CRASHED: Final = "Workers crashed or froze with a chunk, every time it was tried."
_NOT_JUDGED: Final = "Workers could not judge its rows as a whole; their logs say why."


async def process(resources: Resources) -> int:
    """Work on whatever is due, for about ten seconds; returns how many things were dealt with.

    Hints the next to go on where it stops before all is done. Raises ``DatabaseUnavailable`` when
    nothing could be claimed; what was claimed is put off or given back.
    """
    gate = resources.import_gate
    if gate.locked():
        return 0
    until = asyncio.get_running_loop().time() + _JOB_S
    async with gate:
        dealt_with, is_done = await _work_until(resources, until)
    if not is_done and await unfinished(resources.db):
        hint_workers(resources)
    return dealt_with


async def _work_until(resources: Resources, until: float) -> tuple[int, bool]:
    """Work on as much at once as there is room for, and finish what is begun.

    Returns how many things were dealt with, and whether nothing more was due. After a fault nothing
    new is begun; the others finish, and the first fault is raised.
    """
    now = asyncio.get_running_loop().time
    dealt_with, was_found = 0, True
    tasks: set[asyncio.Task[bool]] = set()
    faults: list[BaseException] = []
    try:
        while tasks or (was_found and now() < until):
            # Where one found nothing to do, the next look is after another has done something.
            while was_found and now() < until and len(tasks) < await resources.import_room.places():
                tasks.add(asyncio.create_task(_one(resources)))
            if not tasks:
                break  # the time was up between two looks at the clock
            ended, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            faults += [fault for task in ended if (fault := task.exception()) is not None]
            found = sum(task.result() for task in ended if task.exception() is None)
            was_found = found > 0 and not faults
            dealt_with += found
    except BaseException:
        # The job's time is up: what was claimed is given back.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    for fault in faults[1:]:
        _log.warning("Another fault beside the first", extra={"reason": str(fault)})
    if faults:
        raise faults[0]
    return dealt_with, not was_found


async def _one(resources: Resources) -> bool:
    """Work on one thing that is due; whether there was one."""
    return await _one_import(resources) or await _one_chunk(resources)


async def _one_import(resources: Resources) -> bool:
    """Work on one import that is due itself; whether there was one."""
    claimed = await claim_import(resources.db)
    if claimed is None:
        return False
    db, ids = resources.db, [claimed.found.id]
    async with _given_back_when_cancelled(db, IMPORTS, claimed.token, ids):
        try:
            await _step(resources, claimed)
        except LeaseLost as error:
            _log.info("Import left to another", extra={"id": ids[0], "reason": str(error)})
        except Exception as error:
            _log_failure("Import", ids[0], error)
            await _put_off(db, IMPORTS, claimed.token, ids, error)
    return True


async def _step(resources: Resources, claimed: ClaimedImport) -> None:
    match claimed.found.stage:
        case Stage.RECEIVING:
            if await give_up(resources.db, claimed.found.id, lease_token=claimed.token):
                IMPORTS_ENDED.labels(Stage.FAILED.value).inc()
        case Stage.VALIDATING if claimed.attempts > resources.settings.import_max_attempts:
            await ending.give_up_judging(resources.db, claimed, _NOT_JUDGED)
        case Stage.VALIDATING:
            await judge(resources, claimed)
        case _:
            await ending.end(resources, claimed)


async def _one_chunk(resources: Resources) -> bool:
    """Work on one chunk that is due; whether there was one."""
    db = resources.db
    chunk = await claim_chunk(db)
    if chunk is None:
        return False
    if chunk.attempts > db.settings.import_max_attempts:
        await _settled(lambda: ending.give_up(db, chunk, _CRASHED))
        return True
    async with _given_back_when_cancelled(db, CHUNKS, chunk.token, [chunk.id]):
        try:
            with IMPORT_CHUNK_DURATION.labels(chunk.phase.value).time():
                await _work(resources, chunk)
        except LeaseLost as error:
            _log.info("Chunk left to another", extra={"id": chunk.id, "reason": str(error)})
        except Exception as error:
            _log_failure("Chunk", chunk.id, error)
            is_last = chunk.attempts >= db.settings.import_max_attempts
            if is_last and not _is_away(error):
                await _settled(lambda: ending.give_up(db, chunk, _FAILED))
            else:
                await _put_off(db, CHUNKS, chunk.token, [chunk.id], error)
    if chunk.phase is Phase.APPLY:
        await number_changes(resources)
    return True


async def _work(resources: Resources, chunk: Chunk) -> None:
    found = await read_import(resources.db, chunk.import_id)
    if found.layout is None or found.stage is not chunk.stage:
        raise LeaseLost("The import was ended meanwhile.")
    if chunk.phase is Phase.CHECK:
        await check(resources, chunk, found, found.layout)
        return
    await apply(resources, chunk, found, found.layout)


@asynccontextmanager
async def _given_back_when_cancelled(
    db: Database, table: WorkTable, token: str, ids: Sequence[int]
) -> AsyncIterator[None]:
    """The job's time is up, or the worker stops: it was not the work's doing."""
    try:
        yield
    except asyncio.CancelledError:
        reason = "the worker was stopped"
        letting_go = durable_work.give_back(db, table, token, ids, error=reason, wait_ms=0)
        await asyncio.shield(asyncio.ensure_future(_settled(lambda: letting_go)))
        raise


async def _put_off(
    db: Database, table: WorkTable, token: str, ids: Sequence[int], error: Exception
) -> None:
    backoff = backoff_of(db)

    async def put_off() -> None:
        if _is_away(error):
            wait_ms = backoff.first_ms
            await durable_work.give_back(db, table, token, ids, error=_AWAY, wait_ms=wait_ms)
        else:
            await durable_work.retry(db, table, token, ids, error=_FAILED, backoff=backoff)

    await _settled(put_off)


def _is_away(error: Exception) -> bool:
    """Whether it was the database's doing alone: a lost lock may be the work's own."""
    return isinstance(error, DatabaseUnavailable) and not isinstance(error, TransactionConflict)


async def _settled(action: Callable[[], Awaitable[object]]) -> None:
    """Do it if the database lets us soon; else the lease ends by itself."""
    try:
        async with asyncio.timeout(_LET_GO_S):
            await action()
    except (DatabaseUnavailable, TimeoutError):
        _log.warning("Claimed work of an import not let go; its lease will end")


def _log_failure(what: str, id_: int, error: Exception) -> None:
    if isinstance(error, DatabaseUnavailable):
        _log.warning("%s put off", what, extra={"id": id_, "reason": str(error)})
    else:
        _log.error("%s failed", what, extra={"id": id_}, exc_info=error)
