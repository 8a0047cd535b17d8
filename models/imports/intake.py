"""Stores an upload as it comes: chunk by chunk at first, then all of it becomes work at once.

Until its acceptance an import is in stage ``receiving``, in which nobody claims its chunks. Its row
is due when the upload's heartbeat lapses; a worker then gives it up. Every transaction of an upload
ends by changing that row under the condition that it is still the upload's, so what was cancelled
or given up takes in nothing more. It knows nothing of HTTP, nor of what is in the chunks.
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from coordination.errors import LeaseLost, Unavailable
from coordination.logs import current_request_id
from coordination.settings import Settings
from models.database import Connection, Database, retrying
from models.imports.chunks import RawChunk
from models.imports.hinting import hint_workers
from models.imports.imports import COLUMNS, Import, import_of
from models.imports.interrupting import UNCLAIMED, give_up
from models.imports.layout import Layout
from models.imports.options import ImportOptions
from models.imports.stages import Phase, Stage
from models.placeholders import literal_bytes
from models.resources import Resources

__all__ = ["Upload", "heartbeat_s", "open_upload"]

_log = logging.getLogger(__name__)

_LEVEL: Final = 1
"""Of zlib. Higher ones cost several times the time and save little of such text."""
_STATEMENT_BYTES: Final = 4 * 1024 * 1024
"""Servers take 16 MiB in one statement by default; bytes are written out, each as two."""
_BEAT_EVERY_S: Final = 5.0
_LOST: Final = "The import was cancelled or given up while its file was being sent."

Hook = Callable[[Connection, Import], Awaitable[None]]
"""Runs in the acceptance's transaction, last before its commit; again if that is repeated. What it
raises rolls everything back."""
_Packed = tuple[RawChunk, bytes]


def heartbeat_s(settings: Settings) -> int:
    """How long after its last sign an upload counts as interrupted.

    A client is given up after ``IMPORT_IDLE_TIMEOUT_S``; this is longer, because then its own
    process is gone too.
    """
    return 2 * settings.import_idle_timeout_s + 30


async def open_upload(
    resources: Resources,
    *,
    options: ImportOptions,
    owner_id: int | None,
    clock: Callable[[], float] = time.monotonic,
) -> Upload:
    """Begin an import in stage ``receiving``. Raises ``DatabaseUnavailable``.

    ``owner_id``: the API key it came with.
    """
    db = resources.db
    public_id = uuid7()
    now, lapse = db.dialect.now, db.dialect.now_plus_us.format("%s")
    import_id = await db.insert(
        f"""INSERT INTO imports (public_id, owner_id, request_id, options, stage, state, attempts,
              next_attempt_at, created_at)
            VALUES (%s, %s, %s, %s, '{Stage.RECEIVING}', 'pending', 0, {lapse}, {now})""",
        [
            public_id.bytes,
            owner_id,
            (current_request_id() or "")[:64] or None,
            options.encode(),
            heartbeat_s(db.settings) * 1_000_000,
        ],
        purpose="import_open",
    )
    return Upload(resources, import_id, public_id, clock)


class Upload:
    """One upload under way, used by one task. End it by ``accept`` or ``abort``."""

    def __init__(
        self, resources: Resources, import_id: int, public_id: UUID, clock: Callable[[], float]
    ) -> None:
        self.import_id: Final = import_id
        self.public_id: Final = public_id
        self._resources = resources
        self._db: Database = resources.db
        self._clock = clock
        self._last_beat = clock()
        self._chunks = 0
        """One more than the highest position."""

    async def add(self, chunks: Sequence[RawChunk]) -> None:
        """Store these chunks, all or none, and renew the heartbeat.

        Raises ``LeaseLost`` when the import was cancelled or given up meanwhile, and
        ``DatabaseUnavailable``, after which the upload can only be aborted: they may be stored.
        """
        if not chunks:
            await self.keep_alive()
            return
        # Off the loop: zlib lets other threads run while it packs.
        packed = await asyncio.to_thread(_pack, chunks)

        async def unit() -> None:
            async with self._db.transaction(read_committed=True) as conn:
                for part in _statements(packed):
                    await self._insert(conn, part)
                await self._beat(conn)

        await retrying(unit)
        self._chunks += len(chunks)
        self._last_beat = self._clock()

    async def keep_alive(self) -> None:
        """Renew the heartbeat while nothing is stored; every few seconds at most, so call freely.

        Raises ``LeaseLost`` as ``add`` does, ``DatabaseUnavailable``.
        """
        if self._clock() - self._last_beat >= _BEAT_EVERY_S:
            await retrying(lambda: self._beat(None))
            self._last_beat = self._clock()

    async def accept(
        self,
        *,
        layout: Layout,
        rows: int,
        body_bytes: int,
        body_digest: bytes,
        in_transaction: Hook | None = None,
    ) -> Import:
        """Make the import ``validating``, so that its chunks are checked, and hint the workers.

        One transaction, in which ``in_transaction`` runs last. Raises ``LeaseLost`` when the
        import was cancelled or given up meanwhile, and ``DatabaseUnavailable``, after which it may
        have been accepted or not: ``abort`` finds out.
        """

        async def unit() -> Import:
            async with self._db.transaction(read_committed=True) as conn:
                await self._become_work(conn, layout, rows, body_bytes, body_digest)
                accepted = await self._read(conn)
                if in_transaction is not None:
                    await in_transaction(conn, accepted)
                return accepted

        accepted = await retrying(unit)
        hint_workers(self._resources, self._chunks)
        return accepted

    async def abort(self) -> None:
        """Remove every trace of an upload that will not be accepted; never raises.

        Without effect on one that was accepted, cancelled or given up. Fails open: when the
        database is away the heartbeat lapses, and a worker gives the import up.
        """
        told = {"import": str(self.public_id)}
        try:
            if await give_up(self._db, self.import_id):
                await self._db.execute(
                    "DELETE FROM imports WHERE id = %s", [self.import_id], purpose="import_abort"
                )
        except Unavailable:
            _log.warning("Upload not removed; its heartbeat will lapse", extra=told)
        except Exception:
            # Whoever aborts has an error of its own to tell, which a defect here must not replace.
            _log.exception("Upload could not be removed", extra=told)

    async def _insert(self, conn: Connection, part: Sequence[_Packed]) -> None:
        rows, values = [], list[object]()
        for chunk, payload in part:
            rows.append(
                f"(%s, %s, %s, %s, '{Phase.CHECK}', {literal_bytes(payload)}, 'pending', 0,"
                f" {self._db.dialect.now})"
            )
            values += [self.import_id, chunk.position, chunk.first_row, chunk.row_count]
        await self._db.execute(
            "INSERT INTO import_chunks (import_id, position, first_row, row_count, phase, payload,"
            f" state, attempts, next_attempt_at) VALUES {', '.join(rows)}",
            values,
            purpose="import_add",
            conn=conn,
        )

    async def _beat(self, conn: Connection | None) -> None:
        lapse = self._db.dialect.now_plus_us.format("%s")
        beaten = await self._db.execute(
            f"UPDATE imports SET next_attempt_at = {lapse} WHERE id = %s AND {UNCLAIMED}",
            [heartbeat_s(self._db.settings) * 1_000_000, self.import_id],
            purpose="import_heartbeat",
            conn=conn,
        )
        if beaten != 1:
            raise LeaseLost(_LOST)

    async def _become_work(
        self, conn: Connection, layout: Layout, rows: int, body_bytes: int, body_digest: bytes
    ) -> None:
        now = self._db.dialect.now
        # Without chunks nobody will find that none is left: then its own row is due.
        state = "waiting" if self._chunks else "pending"
        accepted = await self._db.execute(
            f"""UPDATE imports
                SET layout = %s, rows_total = %s, body_bytes = %s, body_digest = %s,
                    chunks_total = %s, chunks_left = %s, accepted_at = {now},
                    stage = '{Stage.VALIDATING}', state = %s, next_attempt_at = {now}
                WHERE id = %s AND {UNCLAIMED}""",
            [
                layout.encode(),
                rows,
                body_bytes,
                body_digest,
                self._chunks,
                self._chunks,
                state,
                self.import_id,
            ],
            purpose="import_accept",
            conn=conn,
        )
        if accepted != 1:
            raise LeaseLost(_LOST)

    async def _read(self, conn: Connection) -> Import:
        (row,) = await self._db.fetch(
            f"SELECT {', '.join(COLUMNS)} FROM imports WHERE id = %s",
            [self.import_id],
            purpose="import_accept",
            conn=conn,
        )
        return import_of(row)


def _pack(chunks: Sequence[RawChunk]) -> list[_Packed]:
    return [(chunk, zlib.compress(chunk.text, _LEVEL)) for chunk in chunks]


def _statements(packed: Sequence[_Packed]) -> Iterator[list[_Packed]]:
    """As few parts as may each go into one statement."""
    part: list[_Packed] = []
    size = 0
    for chunk, payload in packed:
        size += len(payload)
        if part and size > _STATEMENT_BYTES:
            yield part
            part, size = [], len(payload)
        part.append((chunk, payload))
    if part:
        yield part
