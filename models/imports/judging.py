"""Decides, once every chunk is checked, whether and which rows are applied."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from coordination.errors import LeaseLost
from coordination.metrics import IMPORTS_ENDED
from models import durable_work
from models.catalog.watermarks import Mark
from models.database import Connection, Database, retrying
from models.imports import ending, faults
from models.imports.claims import IMPORTS, ClaimedImport
from models.imports.creating import create_missing
from models.imports.hinting import hint_workers
from models.imports.imports import Import
from models.imports.layout import Layout
from models.imports.options import Missing, Policy, Subject
from models.imports.repeated_rows import Repeated, find_repeated
from models.imports.row_values import RowFault
from models.imports.stages import Reason, Stage
from models.resources import Resources

__all__ = ["judge", "mark_of"]

_log = logging.getLogger(__name__)
_EMPTY: Final = Layout()


def mark_of(found: Import) -> Mark:
    """When an import's rows were said, and by whom: they are as old as its upload's beginning."""
    return Mark(found.created_at, f"import:{found.public_id}")


async def judge(resources: Resources, claimed: ClaimedImport) -> None:
    """Refuse the import, or let its valid rows be applied.

    Raises ``LeaseLost``, ``DatabaseUnavailable``; then it is judged again.
    """
    db, found = resources.db, claimed.found
    alive = partial(_renew, db, claimed)
    tell = max(0, db.settings.import_faults_kept - found.faults)
    repeated = await find_repeated(db, found.id, found.rows_total, tell=tell, alive=alive)
    invalid = found.rows_invalid + repeated.rows
    if invalid and found.options.policy is Policy.ALL:
        await _conclude(db, claimed, repeated, Reason.INVALID_ROWS)
    elif invalid == found.rows_total:
        await _conclude(db, claimed, repeated, Reason.NO_VALID_ROWS)
    else:
        if Missing.CREATE in {found.options.missing_categories, found.options.missing_farms}:
            await create_missing(db, found.id, mark_of(found), alive=alive)
        await _conclude(db, claimed, repeated, None)
        # Whoever found nothing to do meanwhile has stopped looking.
        hint_workers(resources, found.chunks_total)


async def _renew(db: Database, claimed: ClaimedImport) -> None:
    lease_ms = db.settings.import_lease_s * 1000
    ids = [claimed.found.id]
    if await durable_work.renew(db, IMPORTS, claimed.token, ids, lease_ms=lease_ms) != 1:
        raise LeaseLost("Another worker judges this import.")


async def _conclude(
    db: Database, claimed: ClaimedImport, repeated: Repeated, reason: Reason | None
) -> None:
    """Commit the judgement with the faults it found; ``reason``: why nothing is applied."""
    found = claimed.found
    column = "sku" if found.options.subject is Subject.PRODUCTS else "external_id"
    named = faults.column_of(found.layout or _EMPTY, column)
    told = [
        RowFault(row, named, f"repeats row {earlier}; a file may name it once")
        for row, earlier in repeated.first_rows.items()
    ]

    async def unit() -> None:
        async with db.transaction(read_committed=True) as conn:
            await faults.keep(db, conn, found.id, told, kept=found.faults)
            if reason is None:
                await _begin_applying(db, conn, claimed, repeated)
            else:
                await ending.refuse(db, conn, claimed, reason, repeated.rows)

    await retrying(unit)
    if reason is not None:
        IMPORTS_ENDED.labels(Stage.REFUSED.value).inc()
    _log.info(
        "Import judged",
        extra={
            "import": str(found.public_id),
            "rows": found.rows_total,
            "invalid": found.rows_invalid + repeated.rows,
            "refused": reason,
        },
    )


async def _begin_applying(
    db: Database, conn: Connection, claimed: ClaimedImport, repeated: Repeated
) -> None:
    taken = await db.execute(
        f"""UPDATE imports
            SET stage = %s, applying_at = {db.dialect.now}, chunks_left = chunks_total,
              state = 'waiting', attempts = 0, lease_token = NULL, lease_until = NULL,
              last_error = NULL, rows_invalid = rows_invalid + %s, faults = faults + %s
            WHERE id = %s AND lease_token = %s AND stage = %s""",
        [
            Stage.APPLYING.value,
            repeated.rows,
            repeated.rows,
            claimed.found.id,
            claimed.token,
            Stage.VALIDATING.value,
        ],
        purpose="import_judged",
        conn=conn,
    )
    if taken != 1:
        raise LeaseLost("Another worker judged this import.")
