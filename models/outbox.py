"""The outbox: committed changes whose caches a worker must make void, whatever else fails.

A row is written in the writer's own transaction. It is never dead: a voiding that fails because the
cache is away is put off and tried again, a few seconds apart, until the cache is back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coordination.logs import current_request_id
from coordination.metrics import OUTBOX_ROWS
from models import durable_work
from models.catalog.changes import Change, everything_changed
from models.database import Connection, Database, Row
from models.durable_work import Backoff, WorkTable

__all__ = ["Claimed", "Entry", "claim", "complete", "count_due", "purge", "record", "retry"]

_log = logging.getLogger(__name__)
_TABLE: Final = WorkTable("outbox", ("kind", "payload", "request_id"))
_BACKOFF: Final = Backoff(first_ms=250, most_ms=5_000)


@dataclass(frozen=True, slots=True)
class Entry:
    """One claimed row: the change it tells of, and the request that made it."""

    id: int
    change: Change
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """Entries that are ours while the lease of ``token`` lasts."""

    token: str
    entries: tuple[Entry, ...]


async def record(db: Database, conn: Connection, change: Change) -> int:
    """Write the change's row in the writer's transaction; returns its id for ``announce``.

    The sweep leaves it to the writer's own hint for ``OUTBOX_GRACE_MS``.
    """
    now = db.dialect.now
    due = db.dialect.now_plus_us.format("%s")
    return await db.insert(
        f"""INSERT INTO outbox
              (kind, payload, request_id, state, attempts, next_attempt_at, created_at)
            VALUES (%s, %s, %s, 'pending', 0, {due}, {now})""",
        [
            change.kind,
            change.encode(),
            (current_request_id() or "")[:64] or None,
            db.settings.outbox_grace_ms * 1000,
        ],
        purpose="outbox_record",
        conn=conn,
    )


async def claim(db: Database, ids: Sequence[int] = ()) -> Claimed:
    """Claim the named rows, or without names up to ``OUTBOX_BATCH`` that are due."""
    lease_ms = db.settings.outbox_lease_s * 1000
    if ids:
        taken = await durable_work.claim_ids(db, _TABLE, ids, lease_ms=lease_ms)
    else:
        batch = db.settings.outbox_batch
        taken = await durable_work.claim_due(db, _TABLE, limit=batch, lease_ms=lease_ms)
    return Claimed(
        taken.token,
        tuple(Entry(int(row["id"]), _change(row), row["request_id"]) for row in taken.rows),
    )


def _change(row: Row) -> Change:
    """The row's change. One that cannot be read voids everything, which is always right."""
    try:
        return Change.decode(row["kind"], row["payload"])
    except (ValueError, KeyError, TypeError):
        _log.exception("Outbox row cannot be read; everything is voided", extra={"row": row["id"]})
        _count("unreadable", 1)
        return everything_changed(str(row["kind"]))


async def complete(db: Database, claimed: Claimed) -> int:
    """Mark the claimed rows done; returns how many were still ours."""
    ids = [entry.id for entry in claimed.entries]
    done = await durable_work.complete(db, _TABLE, claimed.token, ids)
    _count("done", done)
    _count("lost", len(ids) - done)
    return done


async def retry(db: Database, claimed: Claimed, error: str) -> int:
    """Put the claimed rows off for a moment; returns how many were still ours."""
    ids = [entry.id for entry in claimed.entries]
    count = await durable_work.retry(db, _TABLE, claimed.token, ids, error=error, backoff=_BACKOFF)
    _count("retried", count)
    return count


async def count_due(db: Database, limit: int) -> int:
    """How many rows wait past their time, counted no further than ``limit``."""
    return await durable_work.count_due(db, _TABLE, limit=limit)


async def purge(db: Database) -> int:
    """Delete one batch of rows done longer ago than ``RETENTION_OUTBOX_S``."""
    settings = db.settings
    return await durable_work.purge_done(
        db, _TABLE, older_than_s=settings.retention_outbox_s, limit=settings.purge_batch
    )


def _count(outcome: str, rows: int) -> None:
    if rows:
        OUTBOX_ROWS.labels(outcome).inc(rows)
