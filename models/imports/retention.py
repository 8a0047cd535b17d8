"""Deletes what is of no more use of imports that are over, and none of any that is not.

Chunks go as soon as their import is over, faults and the import itself after
``RETENTION_IMPORTS_S``. Each call deletes one batch of one table.
"""

from __future__ import annotations

from typing import Final

from models.database import Database, Row, retrying

__all__ = ["purge_chunks", "purge_faults", "purge_imports"]

_PURPOSE: Final = "purge"


async def purge_chunks(db: Database) -> int:
    """Delete one batch of chunks whose import is over."""
    over = await db.fetch(
        # The distinct imports are read from the index, by leaps; those with chunks are few.
        """SELECT held.import_id AS id FROM (SELECT DISTINCT import_id FROM import_chunks) held
           LEFT JOIN imports i ON i.id = held.import_id
           WHERE i.id IS NULL OR i.state = 'done'
           ORDER BY held.import_id LIMIT %s""",
        [db.settings.purge_batch],
        purpose=_PURPOSE,
    )
    left = db.settings.purge_batch
    for row in over:
        found = await db.fetch(
            "SELECT id FROM import_chunks WHERE import_id = %s LIMIT %s",
            [row["id"], left],
            purpose=_PURPOSE,
        )
        left -= await _delete(db, "import_chunks", found)
        if left <= 0:
            break
    return db.settings.purge_batch - left


async def purge_faults(db: Database) -> int:
    """Delete one batch of faults of imports that were over longer than the retention."""
    by_finish = db.dialect.index_hint.format("idx_imports_finished")
    found = await db.fetch(
        f"""{db.dialect.straight_join} f.id FROM imports i {by_finish}
            {db.dialect.join} import_faults f ON f.import_id = i.id
            WHERE i.state = 'done' AND i.finished_at < {_moment(db)} LIMIT %s""",
        [_age_us(db), db.settings.purge_batch],
        purpose=_PURPOSE,
    )
    return await _delete(db, "import_faults", found)


async def purge_imports(db: Database) -> int:
    """Delete one batch of imports that were over longer than the retention.

    One that still has chunks or faults waits until they are purged.
    """
    found = await db.fetch(
        f"""SELECT i.id FROM imports i {db.dialect.index_hint.format("idx_imports_finished")}
            WHERE i.state = 'done' AND i.finished_at < {_moment(db)}
              AND NOT EXISTS (SELECT 1 FROM import_chunks c WHERE c.import_id = i.id)
              AND NOT EXISTS (SELECT 1 FROM import_faults f WHERE f.import_id = i.id)
            ORDER BY i.finished_at LIMIT %s""",
        [_age_us(db), db.settings.purge_batch],
        purpose=_PURPOSE,
    )
    return await _delete(db, "imports", found)


def _moment(db: Database) -> str:
    return db.dialect.now_plus_us.format("%s")


def _age_us(db: Database) -> int:
    return -db.settings.retention_imports_s * 1_000_000


async def _delete(db: Database, table: str, found: list[Row]) -> int:
    ids = [int(row["id"]) for row in found]
    if not ids:
        return 0
    marks = ", ".join(["%s"] * len(ids))
    # What an import that is over has is never taken up again.
    sql = f"DELETE FROM {table} WHERE id IN ({marks})"
    return await retrying(lambda: db.execute(sql, ids, purpose=_PURPOSE))
