"""What became of imports, for clients and operators to read. It changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from models.database import Connection, Database, Row
from models.dialects import Dialect
from models.fields import to_column
from models.imports.imports import COLUMNS, Import, import_of
from models.imports.row_values import RowFault
from models.imports.stages import Stage

__all__ = [
    "FaultPage",
    "FaultPosition",
    "Page",
    "Position",
    "find",
    "iterate_faults",
    "list_faults",
    "list_imports",
]

Position = tuple[str, int]
"""The ``created_at`` column and the id of the last import that was seen."""
FaultPosition = tuple[int, int]
"""The row and the id of the last fault that was seen."""

_COLUMNS: Final = ", ".join(COLUMNS)
_FAULTS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """Imports, newest first; ``next_after`` is the position to go on from, ``None`` at the end."""

    imports: tuple[Import, ...]
    next_after: Position | None


@dataclass(frozen=True, slots=True)
class FaultPage:
    """Faults in order of row, each with its id; ``next_after`` as of ``Page``."""

    faults: tuple[tuple[int, RowFault], ...]
    next_after: FaultPosition | None


async def find(
    db: Database, public_id: UUID, *, conn: Connection | None = None, lock: str = ""
) -> Import | None:
    """The import with this id. ``lock``: SQL of the dialect's, with ``conn``."""
    rows = await db.fetch(
        f"SELECT {_COLUMNS} FROM imports WHERE public_id = %s {lock}",
        [public_id.bytes],
        purpose="import",
        conn=conn,
    )
    return import_of(rows[0]) if rows else None


async def list_imports(
    db: Database, *, stage: Stage | None = None, limit: int, after: Position | None = None
) -> Page:
    """A page of imports, newest first, of all stages or of one."""
    clauses, params = ["1 = 1"], []
    index = "idx_imports_created"
    if stage is not None:
        clauses.append("stage = %s")
        params.append(stage.value)
        index = "idx_imports_stage"
    clause, values = _beyond(db.dialect, "created_at", "<", after)
    rows = await db.fetch(
        f"""SELECT {_COLUMNS} FROM imports {db.dialect.index_hint.format(index)}
            WHERE {" AND ".join([*clauses, clause])}
            ORDER BY created_at DESC, id DESC LIMIT %s""",
        [*params, *values, limit + 1],
        purpose="imports",
        timeout_ms=db.settings.list_timeout_ms,
    )
    imports = tuple(import_of(row) for row in rows[:limit])
    if len(rows) <= limit:
        return Page(imports, None)
    return Page(imports, (to_column(imports[-1].created_at), imports[-1].id))


async def list_faults(
    db: Database, import_id: int, *, limit: int, after: FaultPosition | None = None
) -> FaultPage:
    """A page of what is wrong with an import's rows, in order of row.

    While the import is being checked, faults of earlier rows may still come.
    """
    clause, values = _beyond(db.dialect, "file_row", ">", after)
    rows = await db.fetch(
        f"""SELECT id, file_row, column_name, reason, value
            FROM import_faults {db.dialect.index_hint.format("idx_import_faults_row")}
            WHERE import_id = %s AND {clause}
            ORDER BY file_row, id LIMIT %s""",
        [import_id, *values, limit + 1],
        purpose="import_faults",
        timeout_ms=db.settings.list_timeout_ms,
    )
    faults = tuple((int(row["id"]), _fault(row)) for row in rows[:limit])
    if len(rows) <= limit:
        return FaultPage(faults, None)
    last_id, last = faults[-1]
    return FaultPage(faults, (last.row, last_id))


async def iterate_faults(
    db: Database, import_id: int, *, at_once: int = _FAULTS_AT_ONCE
) -> AsyncIterator[list[RowFault]]:
    """All kept faults in order of row, some at a time; none is no piece at all.

    Holds no connection in between, so a slow reader costs nothing.
    """
    after: FaultPosition | None = None
    while True:
        page = await list_faults(db, import_id, limit=at_once, after=after)
        if page.faults:
            yield [fault for _, fault in page.faults]
        if page.next_after is None:
            return
        after = page.next_after


def _fault(row: Row) -> RowFault:
    return RowFault(int(row["file_row"]), row["column_name"], row["reason"], row["value"])


def _beyond(
    dialect: Dialect, column: str, sign: str, after: tuple[object, int] | None
) -> tuple[str, list[object]]:
    """What follows a position, in the form each engine finds in an index; see ``page_sql``."""
    if after is None:
        return "1 = 1", []
    value, last_id = after
    if dialect.is_sqlite:
        return f"({column}, id) {sign} (%s, %s)", [value, last_id]
    return f"({column} {sign} %s OR ({column} = %s AND id {sign} %s))", [value, value, last_id]
