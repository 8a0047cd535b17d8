"""Imports put straight into a database, as an upload stores them, and the rows they became.

Nothing reads the texts here: they must be whole records, one on each line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from models.database import Database, Row
from models.imports.chunks import RawChunk
from models.imports.imports import Import
from models.imports.intake import Upload, open_upload
from models.imports.layout import Layout
from models.imports.options import FileFormat, ImportOptions, Subject
from models.imports.row_values import RowFault
from models.resources import Resources

__all__ = [
    "PRODUCT_LAYOUT",
    "add_faults",
    "chunk_rows",
    "csv_layout",
    "import_options",
    "import_row",
    "raw_chunks",
    "start_upload",
    "upload",
]


def csv_layout(*fields: str | None) -> Layout:
    """Of a comma-separated file whose headings are the names of the fields they fill."""
    headings = tuple(field or f"Column {n}" for n, field in enumerate(fields, start=1))
    return Layout(delimiter=",", headings=headings, columns=fields)


PRODUCT_LAYOUT = csv_layout("farm", "sku", "name", "category", "price", "stock")


def import_options(**changes: Any) -> ImportOptions:
    """Options of a CSV file of products in USD, but for the changes."""
    given = {"subject": Subject.PRODUCTS, "format": FileFormat.CSV, "currency": "USD", **changes}
    return ImportOptions(**given)


def raw_chunks(texts: Sequence[str], *, first_row: int = 2, position: int = 0) -> list[RawChunk]:
    """One chunk of each text. A CSV file's first record is row 2."""
    chunks = []
    for number, text in enumerate(texts, start=position):
        count = len(text.splitlines())
        chunks.append(RawChunk(number, first_row, count, text.encode()))
        first_row += count
    return chunks


async def start_upload(resources: Resources, *texts: str, **options: Any) -> Upload:
    """An upload that has stored a chunk of each text and is not accepted yet."""
    opened = await open_upload(resources, options=import_options(**options), owner_id=1)
    await opened.add(raw_chunks(texts))
    return opened


async def upload(
    resources: Resources, *texts: str, layout: Layout = PRODUCT_LAYOUT, **options: Any
) -> Import:
    """An accepted import with a chunk of each text."""
    started = await start_upload(resources, *texts, **options)
    whole = "".join(texts).encode()
    return await started.accept(
        layout=layout,
        rows=sum(len(text.splitlines()) for text in texts),
        body_bytes=len(whole),
        body_digest=hashlib.sha256(whole).digest(),
    )


async def import_row(db: Database, import_id: int) -> Row:
    """The import's row with all its columns."""
    (row,) = await db.fetch("SELECT * FROM imports WHERE id = %s", [import_id], purpose="test")
    return row


async def chunk_rows(db: Database, import_id: int) -> list[Row]:
    """The import's chunks with all their columns, in order."""
    return await db.fetch(
        "SELECT * FROM import_chunks WHERE import_id = %s ORDER BY position",
        [import_id],
        purpose="test",
    )


async def add_faults(db: Database, import_id: int, faults: Sequence[RowFault]) -> None:
    """Faults as a worker keeps them."""
    values = [v for f in faults for v in (import_id, f.row, f.column, f.reason, f.value)]
    await db.execute(
        "INSERT INTO import_faults (import_id, file_row, column_name, reason, value) VALUES "
        + ", ".join(["(%s, %s, %s, %s, %s)"] * len(faults)),
        values,
        purpose="test",
    )
