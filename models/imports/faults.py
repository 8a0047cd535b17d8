"""Keeps what is wrong with an import's rows, up to a bound, in the transaction that counts it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from models.database import Connection, Database
from models.imports.layout import Layout
from models.imports.row_values import RowFault

__all__ = ["column_of", "keep", "of_row"]

_A_STATEMENT: Final = 1_000
_COLUMN_CHARACTERS: Final = 200
_REASON_CHARACTERS: Final = 500
_VALUE_CHARACTERS: Final = 200


def column_of(layout: Layout, field: str) -> str:
    """What the file itself calls the column or member that holds this field."""
    for heading, column in zip(layout.headings, layout.columns, strict=True):
        if column == field:
            return heading
    return layout.members.get(field, field)


def of_row(layout: Layout, row: int, field: str, reason: str, value: object = None) -> RowFault:
    """A fault of one field of a row."""
    return RowFault(row, column_of(layout, field), reason, None if value is None else str(value))


async def keep(
    db: Database, conn: Connection, import_id: int, faults: Iterable[RowFault], *, kept: int
) -> None:
    """Keep these faults; ``kept``: how many of the import are kept already.

    No more than ``IMPORT_FAULTS_KEPT`` of one import are, give or take what others keep at once.
    """
    left = islice(faults, max(0, db.settings.import_faults_kept - kept))
    while batch := list(islice(left, _A_STATEMENT)):
        await db.execute(
            "INSERT INTO import_faults (import_id, file_row, column_name, reason, value) VALUES "
            + ", ".join(["(%s, %s, %s, %s, %s)"] * len(batch)),
            _values(import_id, batch),
            purpose="import_faults",
            conn=conn,
        )


def _values(import_id: int, faults: Sequence[RowFault]) -> list[object]:
    return [
        value
        for fault in faults
        for value in (
            import_id,
            fault.row,
            fault.column[:_COLUMN_CHARACTERS],
            fault.reason[:_REASON_CHARACTERS],
            None if fault.value is None else fault.value[:_VALUE_CHARACTERS],
        )
    ]
