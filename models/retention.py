"""Deletes what outlived its retention: in small batches by index, a bounded number of them a run.

Small batches keep locks short; what one run leaves, the next one takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from models import outbox
from models.database import Database
from models.feed.retention import purge_changes
from models.imports.retention import purge_chunks, purge_faults, purge_imports
from models.webhooks.retention import purge_events, purge_payloads

__all__ = ["purge_all", "purge_idempotency_keys"]

_BATCHES_PER_RUN: Final = 200


async def purge_all(db: Database, batches: int = _BATCHES_PER_RUN) -> dict[str, int]:
    """Purge every table with a retention, ``batches`` each at most; returns rows by table.

    Of webhook events the payloads go first, and count by a name of their own.
    """
    purges: dict[str, Callable[[Database], Awaitable[int]]] = {
        "outbox": outbox.purge,
        "product_changes": purge_changes,
        "idempotency_keys": purge_idempotency_keys,
        "webhook_payloads": purge_payloads,
        "webhook_events": purge_events,
        "import_chunks": purge_chunks,
        "import_faults": purge_faults,
        "imports": purge_imports,
    }
    deleted: dict[str, int] = {}
    for table, purge in purges.items():
        deleted[table] = 0
        for _ in range(batches):
            count = await purge(db)
            deleted[table] += count
            if count < db.settings.purge_batch:
                break
    return deleted


async def purge_idempotency_keys(db: Database) -> int:
    """Delete one batch of keys older than ``IDEMPOTENCY_TTL_S``, never one still running."""
    running = f"(state = 'running' AND lease_until > {db.dialect.now})"
    return await _purge(db, "idempotency_keys", db.settings.idempotency_ttl_s, f"NOT {running}")


async def _purge(db: Database, table: str, older_than_s: int, condition: str) -> int:
    outlived = f"created_at < {db.dialect.now_plus_us.format('%s')} AND {condition}"
    age_us = -older_than_s * 1_000_000
    found = await db.fetch(
        f"SELECT id FROM {table} WHERE {outlived} ORDER BY created_at LIMIT %s",
        [age_us, db.settings.purge_batch],
        purpose="purge",
    )
    ids = [int(row["id"]) for row in found]
    if not ids:
        return 0
    marks = ", ".join(["%s"] * len(ids))
    return await db.execute(
        # The condition again: a key may have been taken up anew since it was read.
        f"DELETE FROM {table} WHERE id IN ({marks}) AND {outlived}",
        [*ids, age_us],
        purpose="purge",
    )
