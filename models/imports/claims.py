"""Who may work on which chunk or import, and what a transaction of theirs must begin and end with.

A chunk is claimed while its phase is that of its import's stage, so no stage begins or ends by
touching all chunks, which would read all their payloads.

A transaction that carries a chunk's effects begins by locking the chunk under its lease
(``keep_checked``, ``complete_chunk``) and ends by counting them on the import (``count_chunk``),
which works only while the import is still in the stage that the chunk was claimed for. So a worker
that was frozen past its lease, or whose import was cancelled meanwhile, applies nothing. The
import's row is always locked last. Whoever counts the last chunk makes the import itself due.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from coordination.errors import LeaseLost
from models import durable_work
from models.database import Connection, Database
from models.durable_work import Backoff, Pick, WorkTable
from models.imports.imports import COLUMNS, Import, import_of
from models.imports.stages import Phase, Stage
from models.placeholders import literal_bytes

__all__ = [
    "CHUNKS",
    "IMPORTS",
    "Chunk",
    "ClaimedImport",
    "backoff_of",
    "claim_chunk",
    "claim_import",
    "complete_chunk",
    "count_chunk",
    "count_due",
    "keep_checked",
    "read_import",
    "unfinished",
]

CHUNKS: Final = WorkTable(
    "import_chunks",
    ("import_id", "position", "first_row", "row_count", "phase", "payload", "excluded_rows"),
)
IMPORTS: Final = WorkTable("imports", COLUMNS[1:])
_STAGE_OF: Final = {Phase.CHECK: Stage.VALIDATING, Phase.APPLY: Stage.APPLYING}
_PHASE_OF: Final = {stage.value: phase for phase, stage in _STAGE_OF.items()}
_AT_WORK: Final = f"i.state = 'waiting' AND i.stage IN ('{Stage.VALIDATING}', '{Stage.APPLYING}')"
"""Of an import: its chunks are worked on."""
_MOST_IMPORTS: Final = 100
_SPARE: Final = 8


@dataclass(frozen=True, slots=True)
class Chunk:
    """A claimed chunk. ``packed`` is its payload, ``noted`` the rows not to apply, as kept."""

    id: int
    token: str
    import_id: int
    position: int
    first_row: int
    row_count: int
    phase: Phase
    packed: bytes
    noted: str | None
    attempts: int

    @property
    def payload(self) -> bytes:
        """Its text, or the rows that were found valid in it.

        Unpacked by who works on it, not by the claim: what cannot be is then a failed attempt.
        """
        return zlib.decompress(self.packed)

    @property
    def excluded(self) -> frozenset[int]:
        """Rows that repeat earlier ones."""
        return frozenset(orjson.loads(self.noted)) if self.noted else frozenset()

    @property
    def stage(self) -> Stage:
        """The stage that its import must be in."""
        return _STAGE_OF[self.phase]


@dataclass(frozen=True, slots=True)
class ClaimedImport:
    """An import that itself needs a worker."""

    token: str
    attempts: int
    found: Import


def backoff_of(db: Database) -> Backoff:
    """How chunks that failed are put off."""
    return Backoff(db.settings.import_backoff_first_ms, db.settings.import_backoff_most_ms)


async def claim_chunk(db: Database) -> Chunk | None:
    """Take one chunk that is due: of any import, so that a short one need not wait for a long one.

    ``None`` when none is, or others were faster.
    """
    rows = await db.fetch(
        f"SELECT i.id, i.stage FROM imports i WHERE {_AT_WORK} ORDER BY i.created_at LIMIT %s",
        [_MOST_IMPORTS],
        purpose="import_due",
    )
    random.shuffle(rows)
    for held in rows:
        due = f"phase = '{_PHASE_OF[held['stage']]}' AND next_attempt_at <= {db.dialect.now}"
        found = await db.fetch(
            f"""SELECT id FROM import_chunks
                WHERE import_id = %s AND state = 'pending' AND {due}
                ORDER BY next_attempt_at, id LIMIT %s""",
            [held["id"], _SPARE],
            purpose="import_due",
        )
        claim = await durable_work.claim_ids(
            db,
            CHUNKS,
            [int(row["id"]) for row in found],
            lease_ms=db.settings.import_lease_s * 1000,
            limit=1,
            pick=Pick(condition=due),
        )
        if claim.rows:
            row = claim.rows[0]
            return Chunk(
                id=int(row["id"]),
                token=claim.token,
                import_id=int(row["import_id"]),
                position=int(row["position"]),
                first_row=int(row["first_row"]),
                row_count=int(row["row_count"]),
                phase=Phase(row["phase"]),
                packed=bytes(row["payload"] or b""),
                noted=row["excluded_rows"],
                attempts=int(row["attempts"]),
            )
    return None


async def claim_import(db: Database) -> ClaimedImport | None:
    """Take one import that waits for a worker of its own."""
    lease_ms = db.settings.import_lease_s * 1000
    claim = await durable_work.claim_due(db, IMPORTS, limit=1, lease_ms=lease_ms)
    if not claim.rows:
        return None
    row = claim.rows[0]
    return ClaimedImport(claim.token, int(row["attempts"]), import_of(row))


async def read_import(db: Database, import_id: int) -> Import:
    """The import of a chunk. Raises ``LeaseLost`` when it has been deleted."""
    rows = await db.fetch(
        f"SELECT {', '.join(COLUMNS)} FROM imports WHERE id = %s",
        [import_id],
        purpose="import",
    )
    if not rows:
        raise LeaseLost("The import is gone.")
    return import_of(rows[0])


async def keep_checked(
    db: Database, conn: Connection, chunk: Chunk, payload: bytes, keys: bytes, missing: str | None
) -> None:
    """Lock a checked chunk and make it one to apply, once its import is. Call it first.

    Raises ``LeaseLost`` when it is not ours.
    """
    kept = await db.execute(
        f"""UPDATE import_chunks
            SET phase = '{Phase.APPLY}', payload = {literal_bytes(payload)},
              row_keys = {literal_bytes(keys)}, missing = %s, attempts = 0,
              next_attempt_at = {db.dialect.now}, lease_token = NULL, lease_until = NULL,
              last_error = NULL
            WHERE id = %s AND lease_token = %s""",
        [missing, chunk.id, chunk.token],
        purpose="import_checked",
        conn=conn,
    )
    if kept != 1:
        raise LeaseLost("Another worker holds this chunk.")


async def complete_chunk(db: Database, conn: Connection, chunk: Chunk) -> None:
    """Lock the chunk and mark it done. Call it first. Raises ``LeaseLost`` when it is not ours."""
    if await durable_work.complete(db, CHUNKS, chunk.token, [chunk.id], conn=conn) != 1:
        raise LeaseLost("Another worker holds this chunk.")


async def count_chunk(
    db: Database, conn: Connection, chunk: Chunk, counts: Mapping[str, int]
) -> None:
    """Add to the import's counters, of which ``counts`` names some. Call it last.

    Raises ``LeaseLost`` when the import has left the chunk's stage: let it roll everything back.
    """
    now = db.dialect.now
    added = "".join(f"{name} = {name} + %s, " for name in counts)
    # MariaDB assigns from left to right: the chunks last, while the old number still stands.
    touched = await db.execute(
        f"""UPDATE imports SET {added}
              state = CASE WHEN chunks_left = 1 THEN 'pending' ELSE state END,
              attempts = CASE WHEN chunks_left = 1 THEN 0 ELSE attempts END,
              next_attempt_at = CASE WHEN chunks_left = 1 THEN {now} ELSE next_attempt_at END,
              chunks_left = chunks_left - 1
            WHERE id = %s AND stage = %s""",
        [*counts.values(), chunk.import_id, chunk.stage.value],
        purpose="import_count",
        conn=conn,
    )
    if touched != 1:
        raise LeaseLost("The import was ended meanwhile.")


async def count_due(db: Database, limit: int) -> int:
    """How many chunks and imports are due, counted no further than ``limit``."""
    imports = await durable_work.count_due(db, IMPORTS, limit=limit)
    rows = await db.fetch(
        f"""SELECT COUNT(*) AS due FROM (
              SELECT c.id FROM imports i JOIN import_chunks c ON c.import_id = i.id
                AND c.phase = CASE i.stage WHEN '{Stage.VALIDATING}' THEN '{Phase.CHECK}'
                                           ELSE '{Phase.APPLY}' END
              WHERE {_AT_WORK} AND c.state = 'pending' AND c.next_attempt_at <= {db.dialect.now}
              LIMIT %s
            ) AS found""",
        [limit],
        purpose="import_due",
    )
    return min(limit, imports + int(rows[0]["due"]))


async def unfinished(db: Database) -> bool:
    """Whether anything is due now."""
    return await count_due(db, 1) > 0
