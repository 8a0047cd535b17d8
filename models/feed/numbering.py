"""The sequencer: gives committed changes their place in the feed.

Writers leave ``seq`` NULL, because a number taken inside a transaction says nothing of the order in
which transactions commit: a follower that had read number 8 would never look for 7 again, which
commits a moment later. So numbers are given afterwards, by one sequencer at a time, which holds the
row of ``feed_position`` and numbers what it finds committed.

*Nothing is skipped.* What is to be numbered is found by ``seq IS NULL``, never by a position: a
change that commits late, under an id long passed, is found then and gets the next number. Numbers
are consecutive from 1, and a follower sees a number only once everything below it is committed,
because they commit together, in the order of the lock.

*Each product's changes keep the order of their commits.* A writer inserts a change only while it
holds what the product's other writers need first: the product's row, for one that is to be created
its unique key, and for reported ones the watermark of its existence as well. So the second writer
inserts after the first has committed, and draws the higher id (one primary server: its counter only
grows). A look that finds the second therefore finds the first too, with the lower id, or finds it
numbered; and a look takes the lowest ids first. Ids of different products say nothing of their
commits, and the feed promises nothing there but that everybody sees the same order.

*Who takes numbers for first changes* (``models.feed.position.take_numbers``) keeps both: it holds
the row of ``feed_position`` until it commits, as the sequencer does, so its numbers come into sight
in the order of the lock, too; and before a product's first change none can be waiting.

READ COMMITTED, so that the look, the first read after the lock, sees what was committed while the
lock was awaited, and so that no gap is locked that writers insert into.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from coordination.metrics import CHANGES_NUMBERED
from models.database import Connection, Database, retrying
from models.feed.position import lock_position
from models.placeholders import placeholders
from models.resources import Resources

__all__ = ["count_unnumbered", "number_all", "number_changes"]

_PURPOSE: Final = "changes_number"
# Every row is compared with the runs of its statement one by one.
_RUNS_PER_STATEMENT: Final = 100
# 10,000 ids by default: Vitess hands out no more rows than that.
_BATCHES_PER_LOOK: Final = 10


async def number_changes(resources: Resources) -> int:
    """Number what is committed by now; returns how many changes were.

    Cheap to call after every write, from any number of workers: a process makes one pass at a time
    (``Passes``), and where nothing waits it takes no lock. Where a pass of this process is about to
    begin, it returns 0 and leaves everything to that one. Processes wait for each other at the
    lock. To pass on instead, because somebody numbers already, would be wrong: that one may have
    looked before our change was committed, and the change would wait for the next sweep.

    Raises ``DatabaseUnavailable``; what is left, the sweep finds.
    """
    return await resources.numbering.join(partial(number_all, resources.db))


async def count_unnumbered(db: Database, limit: int) -> int:
    """How many changes wait for their number, counted no further than ``limit``."""
    rows = await db.fetch(
        f"""SELECT COUNT(*) AS waiting FROM (
              SELECT id FROM product_changes {_by_seq(db)} WHERE seq IS NULL LIMIT %s
            ) AS found""",
        [limit],
        purpose=_PURPOSE,
    )
    return int(rows[0]["waiting"])


async def number_all(db: Database) -> int:
    """The same, for whoever numbers alone in a process."""
    numbered, found = 0, _Found()
    # The first look is without a lock: on SQLite that would be the lock of all writers.
    while found.ids or await count_unnumbered(db, 1):
        count, found = await retrying(partial(_number_batch, db, found))
        numbered += count
        CHANGES_NUMBERED.inc(count)
        if count < db.settings.changes_batch:
            break
    return numbered


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look found beyond its own batch: the lowest ids, good as long as ``position`` stands.

    Whoever numbers moves the position, so while it stands they are without a number still. A change
    that was committed since the look has a higher id than every change of its product among them,
    and comes after them.
    """

    ids: Sequence[int] = ()
    position: int = 0


async def _number_batch(db: Database, found: _Found) -> tuple[int, _Found]:
    """Number up to ``CHANGES_BATCH`` changes in one transaction; returns how many, and the rest."""
    batch = db.settings.changes_batch
    async with db.transaction(read_committed=True) as conn:
        feed = await lock_position(db, conn)
        ids = found.ids
        if not ids or found.position != feed.position:
            ids = await _look(db, conn, batch * _BATCHES_PER_LOOK)
        taken, rest = ids[:batch], ids[batch:]
        position = feed.position + len(taken)
        if taken:
            await _assign(db, conn, taken, feed.position)
            await db.execute(
                "UPDATE feed_position SET position = %s WHERE id = 1",
                [position],
                purpose=_PURPOSE,
                conn=conn,
            )
    return len(taken), _Found(rest, position)


async def _look(db: Database, conn: Connection, limit: int) -> Sequence[int]:
    """The lowest ids without a number. The server sorts all there are, so one look finds many."""
    rows = await db.fetch(
        f"SELECT id FROM product_changes {_by_seq(db)} WHERE seq IS NULL ORDER BY id LIMIT %s",
        [limit],
        purpose=_PURPOSE,
        conn=conn,
    )
    return [int(row["id"]) for row in rows]


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive ids; ``id + offset`` is the number of each."""

    first: int
    last: int
    offset: int


async def _assign(db: Database, conn: Connection, ids: Sequence[int], position: int) -> None:
    """Number these rows, sorted by id, from ``position + 1``: one statement for many runs of ids.

    On the primary key it touches exactly the rows that were read, and never waits at one that some
    writer has not committed: READ COMMITTED passes over such a row at the end of a run. Where
    there is none, a run would lock the gap behind it, and its rows are looked up one by one.
    """
    by_id = "" if db.dialect.is_sqlite else db.dialect.index_hint.format("PRIMARY")
    by_runs = db.dialect.has("isolation_levels")
    every = list(_runs(ids, position))
    for start in range(0, len(every), _RUNS_PER_STATEMENT):
        runs = every[start : start + _RUNS_PER_STATEMENT]
        cases = " ".join(["WHEN id <= %s THEN id + %s"] * len(runs))
        if by_runs:
            which = " OR ".join(["id BETWEEN %s AND %s"] * len(runs))
            named = [row_id for run in runs for row_id in (run.first, run.last)]
        else:
            named = [row_id for run in runs for row_id in range(run.first, run.last + 1)]
            which = f"id IN ({placeholders(named)})"
        await db.execute(
            f"UPDATE product_changes {by_id} SET seq = CASE {cases} END WHERE {which}",
            [*(value for run in runs for value in (run.last, run.offset)), *named],
            purpose=_PURPOSE,
            conn=conn,
        )


def _runs(ids: Sequence[int], position: int) -> Iterator[_Run]:
    first = previous = ids[0]
    number = position + 1
    for row_id in ids[1:]:
        if row_id != previous + 1:
            yield _Run(first, previous, number - first)
            number += previous - first + 1
            first = row_id
        previous = row_id
    yield _Run(first, previous, number - first)


def _by_seq(db: Database) -> str:
    # SQLite's index of the unique column has no name that could be asked for.
    return "" if db.dialect.is_sqlite else db.dialect.index_hint.format("uq_product_changes_seq")
