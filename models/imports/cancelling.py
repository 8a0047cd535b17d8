"""Takes an import away from whoever is at it; a worker then ends it, and what was applied stays.

The row is locked first and judged then. Without its lease and its stage, no transaction of an
upload or of a worker that is under way can commit any more.
"""

from __future__ import annotations

import logging
from typing import Final
from uuid import UUID

from coordination.errors import Conflict, NotFound
from models.database import Connection, Database, retrying
from models.imports import inspection
from models.imports.hinting import hint_workers
from models.imports.imports import Import
from models.imports.stages import Stage
from models.resources import Resources

__all__ = ["cancel"]

_log = logging.getLogger(__name__)
_CANCELLED: Final = frozenset({Stage.CANCELLING, Stage.CANCELLED})


async def cancel(resources: Resources, public_id: UUID) -> Import:
    """Let the import be ended where it stands; returns it ``cancelling``, or ``cancelled`` before.

    Repeating it is fine. Raises ``NotFound``, ``Conflict`` when the import is over otherwise, and
    ``DatabaseUnavailable``.
    """
    db = resources.db

    async def unit() -> tuple[Import, bool]:
        async with db.transaction(read_committed=True) as conn:
            found = await _locked(db, conn, public_id)
            if found.stage in _CANCELLED:
                return found, False
            if found.is_over:
                raise Conflict(f"The import is {found.stage} and can no longer be cancelled.")
            await _take_away(db, conn, found)
            return await _locked(db, conn, public_id), True

    found, taken = await retrying(unit)
    if taken:
        _log.info("Import cancelled", extra={"import": str(public_id)})
    if found.stage is Stage.CANCELLING:
        hint_workers(resources)
    return found


async def _locked(db: Database, conn: Connection, public_id: UUID) -> Import:
    found = await inspection.find(db, public_id, conn=conn, lock=db.dialect.for_update)
    if found is None:
        raise NotFound("There is no such import.")
    return found


async def _take_away(db: Database, conn: Connection, found: Import) -> None:
    await db.execute(
        f"""UPDATE imports
            SET stage = '{Stage.CANCELLING}', state = 'pending', attempts = 0,
                next_attempt_at = {db.dialect.now}, lease_token = NULL, lease_until = NULL,
                last_error = NULL
            WHERE id = %s""",
        [found.id],
        purpose="import_cancel",
        conn=conn,
    )
