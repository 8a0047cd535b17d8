"""Work that must not be lost: rows that workers claim under a lease, finish, or put off.

One implementation for every work table (columns ``state, attempts, next_attempt_at, lease_token,
lease_until, last_error, finished_at``). It decides who may work on a row and when; it knows nothing
of what the work is. A claim sets ``next_attempt_at`` to the end of its lease, so one index range,
``state = 'pending' AND next_attempt_at <= now``, finds due rows and those of dead workers alike.
All times come from the database's clock, inside the statement that uses them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coordination.cache_plane import fresh_token
from models.database import Connection, Database, Row, retrying
from models.placeholders import placeholders

__all__ = [
    "Backoff",
    "Claim",
    "Pick",
    "WorkTable",
    "claim_due",
    "claim_ids",
    "complete",
    "count_due",
    "give_back",
    "purge_done",
    "renew",
    "retry",
]

_ERROR_CHARACTERS = 500
_PURGE_PURPOSE = "purge"


@dataclass(frozen=True, slots=True)
class WorkTable:
    """A work table: its name, the columns a worker needs beside ``id`` and ``attempts``.

    ``released``: what becomes of columns of its own whenever a worker lets go of a row, in SQL
    (``column = value, ...``); may be empty.
    """

    name: str
    columns: tuple[str, ...]
    released: str = ""


@dataclass(frozen=True, slots=True)
class Pick:
    """Which of the rows a claim takes, and what it notes on them; both in SQL of ours.

    ``condition`` narrows the choice. ``notes`` (``column = value, ...``) may be empty. A claim that
    does not ``count`` goes on with an attempt that was counted before.
    """

    condition: str = "1 = 1"
    notes: str = ""
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait doubles from ``first_ms`` with each attempt and never exceeds ``most_ms``."""

    first_ms: int
    most_ms: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Rows that are ours until the lease ends; ``token`` proves it. ``rows`` may be empty.

    A row's ``attempts`` already counts this one.
    """

    token: str
    rows: tuple[Row, ...]

    @property
    def ids(self) -> list[int]:
        """The ids of the claimed rows."""
        return [int(row["id"]) for row in self.rows]


_ANY: Final = Pick()


async def claim_due(db: Database, table: WorkTable, *, limit: int, lease_ms: int) -> Claim:
    """Take up to ``limit`` rows that are due or whose lease ran out, oldest first.

    Finding fewer than ``limit`` does not prove that no more are due: others may hold them.
    """
    # Read without locks first: a locking range scan would hold the gaps that writers insert into,
    # and on SQLite an idle look would take the write lock. Spare ids serve concurrent claimers.
    found = await db.fetch(
        f"""SELECT id FROM {table.name}
            WHERE state = 'pending' AND next_attempt_at <= {db.dialect.now}
            ORDER BY next_attempt_at, id LIMIT %s""",
        [limit * 4],
        purpose="work_due",
    )
    ids = [int(row["id"]) for row in found]
    due = f"next_attempt_at <= {db.dialect.now}"
    return await _claim(db, table, ids, due, limit, lease_ms, _ANY)


async def claim_ids(
    db: Database,
    table: WorkTable,
    ids: Sequence[int],
    *,
    lease_ms: int,
    limit: int | None = None,
    pick: Pick = _ANY,
) -> Claim:
    """Take those of ``ids`` that are unfinished and that no running lease holds, due or not.

    Up to ``limit`` of them, all by default.
    """
    free = f"(lease_until IS NULL OR lease_until <= {db.dialect.now})"
    most = len(ids) if limit is None else limit
    return await _claim(db, table, sorted(set(ids)), free, most, lease_ms, pick)


async def _claim(
    db: Database,
    table: WorkTable,
    ids: Sequence[int],
    condition: str,
    limit: int,
    lease_ms: int,
    pick: Pick,
) -> Claim:
    token = fresh_token()
    dialect = db.dialect
    # Point look-ups on the primary key lock these rows and nothing between them.
    hint = "" if dialect.is_sqlite else dialect.index_hint.format("PRIMARY")
    if ids and not dialect.has("skip_locked"):
        ids = await _unheld(db, table, ids, f"{condition} AND {pick.condition}", hint)
    if not ids:
        return Claim(token, ())
    columns = ", ".join(("id", "attempts", *table.columns))
    lease_end = dialect.now_plus_us.format("%s")
    counted = int(pick.counts)

    async def unit() -> list[Row]:
        # SQLite's transactions begin with the write lock, so nobody comes between these two.
        async with db.transaction() as conn:
            rows = await db.fetch(
                f"""SELECT {columns} FROM {table.name} {hint}
                    WHERE id IN ({placeholders(ids)}) AND state = 'pending' AND {condition}
                      AND {pick.condition}
                    ORDER BY id LIMIT %s {dialect.skip_locked}""",
                [*ids, limit],
                purpose="work_claim",
                conn=conn,
            )
            if rows:
                taken = [int(row["id"]) for row in rows]
                await db.execute(
                    f"""UPDATE {table.name}
                        SET lease_token = %s, attempts = attempts + {counted},
                            lease_until = {lease_end}, next_attempt_at = {lease_end}
                            {_also(pick.notes)}
                        WHERE id IN ({placeholders(taken)})""",
                    [token, lease_ms * 1000, lease_ms * 1000, *taken],
                    purpose="work_claim",
                    conn=conn,
                )
            return rows

    rows = await retrying(unit)
    return Claim(token, tuple({**row, "attempts": int(row["attempts"]) + counted} for row in rows))


async def _unheld(
    db: Database, table: WorkTable, ids: Sequence[int], condition: str, hint: str
) -> list[int]:
    """Those of ``ids`` that may be claimed, seen without a lock.

    Where locked rows cannot be skipped, a claim would wait at every row that is being worked on
    until its transaction ends. What is left to wait at are other claims, which are short, and the
    rows of a worker that froze past its lease in the middle of a transaction.
    """
    rows = await db.fetch(
        f"""SELECT id FROM {table.name} {hint}
            WHERE id IN ({placeholders(ids)}) AND state = 'pending' AND {condition} ORDER BY id""",
        list(ids),
        purpose="work_claim",
    )
    return [int(row["id"]) for row in rows]


async def renew(
    db: Database,
    table: WorkTable,
    token: str,
    ids: Sequence[int],
    *,
    lease_ms: int,
    notes: str = "",
) -> int:
    """Let the lease run anew from now where it is still ours; returns for how many rows.

    ``notes``: what to set beside it, in SQL. Waits for a transaction that has the rows locked.
    """
    if not ids:
        return 0
    lease_end = db.dialect.now_plus_us.format("%s")
    return await db.execute(
        f"""UPDATE {table.name}
            SET lease_until = {lease_end}, next_attempt_at = {lease_end} {_also(notes)}
            WHERE id IN ({placeholders(ids)}) AND lease_token = %s""",
        [lease_ms * 1000, lease_ms * 1000, *ids, token],
        purpose="work_renew",
    )


async def complete(
    db: Database,
    table: WorkTable,
    token: str,
    ids: Sequence[int],
    *,
    conn: Connection | None = None,
) -> int:
    """Mark rows done where the lease is still ours; returns how many were.

    With ``conn``, run it first in the transaction that carries the effects, and roll back unless
    the number is the expected one: it locks the rows.
    """
    if not ids:
        return 0
    return await db.execute(
        f"""UPDATE {table.name}
            SET state = 'done', finished_at = {db.dialect.now}, lease_token = NULL,
                lease_until = NULL, last_error = NULL {_also(table.released)}
            WHERE id IN ({placeholders(ids)}) AND lease_token = %s""",
        [*ids, token],
        purpose="work_complete",
        conn=conn,
    )


async def retry(
    db: Database,
    table: WorkTable,
    token: str,
    ids: Sequence[int],
    *,
    error: str,
    backoff: Backoff,
    conn: Connection | None = None,
) -> int:
    """Put rows off where the lease is still ours; returns how many were."""
    if not ids:
        return 0
    first_us, most_us = backoff.first_ms * 1000, backoff.most_ms * 1000
    spread_us = random.randrange(first_us // 4 + 1)  # noqa: S311 - spreads retries
    wait = (
        "(CASE WHEN attempts > 20 OR (%s << (attempts - 1)) > %s THEN %s"
        " ELSE (%s << (attempts - 1)) END + %s)"
    )
    return await db.execute(
        f"""UPDATE {table.name}
            SET lease_token = NULL, lease_until = NULL, last_error = %s,
                next_attempt_at = {db.dialect.now_plus_us.format(wait)} {_also(table.released)}
            WHERE id IN ({placeholders(ids)}) AND lease_token = %s""",
        [error[:_ERROR_CHARACTERS], first_us, most_us, most_us, first_us, spread_us, *ids, token],
        purpose="work_retry",
        conn=conn,
    )


async def give_back(
    db: Database, table: WorkTable, token: str, ids: Sequence[int], *, error: str, wait_ms: int
) -> int:
    """Undo a claim that counted, where the lease is still ours; returns for how many rows.

    The attempt was not the rows' own failure and is not counted. They are due after ``wait_ms``.
    """
    if not ids:
        return 0
    return await db.execute(
        f"""UPDATE {table.name}
            SET lease_token = NULL, lease_until = NULL, last_error = %s,
                attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END,
                next_attempt_at = {db.dialect.now_plus_us.format("%s")} {_also(table.released)}
            WHERE id IN ({placeholders(ids)}) AND lease_token = %s""",
        [error[:_ERROR_CHARACTERS], wait_ms * 1000, *ids, token],
        purpose="work_give_back",
    )


async def count_due(db: Database, table: WorkTable, *, limit: int) -> int:
    """How many rows are due, counted no further than ``limit``."""
    rows = await db.fetch(
        f"""SELECT COUNT(*) AS due FROM (
              SELECT id FROM {table.name}
              WHERE state = 'pending' AND next_attempt_at <= {db.dialect.now} LIMIT %s
            ) AS found""",
        [limit],
        purpose="work_due",
    )
    return int(rows[0]["due"])


async def purge_done(db: Database, table: WorkTable, *, older_than_s: int, limit: int) -> int:
    """Delete up to ``limit`` rows that were done longer ago; returns how many it deleted."""
    found = await db.fetch(
        f"""SELECT id FROM {table.name}
            WHERE state = 'done'
              AND finished_at < {db.dialect.now_plus_us.format("%s")}
            ORDER BY finished_at LIMIT %s""",
        [-older_than_s * 1_000_000, limit],
        purpose=_PURGE_PURPOSE,
    )
    ids = [int(row["id"]) for row in found]
    if not ids:
        return 0
    return await db.execute(
        f"DELETE FROM {table.name} WHERE id IN ({placeholders(ids)})",
        ids,
        purpose=_PURGE_PURPOSE,
    )


def _also(assignments: str) -> str:
    return f", {assignments}" if assignments else ""
