"""The records of a chunk."""

from __future__ import annotations

from collections.abc import Iterator

from models.imports.layout import Layout
from models.imports.reading.csv_parsing import csv_records
from models.imports.reading.ndjson_records import ndjson_records

__all__ = ["records"]


def records(layout: Layout, first_row: int, text: bytes) -> Iterator[tuple[int, list[str] | bytes]]:
    """Row and cells (CSV) or row and line (NDJSON) of each record; empty rows are counted only.

    ``text`` is a chunk's as ``UploadReader`` made it.
    """
    if layout.delimiter is None:
        yield from ndjson_records(first_row, text)
    else:
        yield from csv_records(layout.delimiter, first_row, text)
