"""Bodies read as an upload's are: piece by piece to chunks, and the chunks to records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from coordination.errors import InvalidInput
from coordination.settings import Settings
from models.imports.chunks import RawChunk
from models.imports.layout import Layout
from models.imports.options import ImportOptions
from models.imports.reading import UploadReader, records
from tests.imports import import_options

__all__ = ["HEADING", "Reading", "csv_file", "read", "reader_of", "refusal"]

HEADING = b"farm,sku,name,category,price\n"
SETTINGS = Settings()


@dataclass(frozen=True)
class Reading:
    """What became of a body."""

    chunks: list[RawChunk]
    layout: Layout

    @property
    def records(self) -> list[tuple[int, list[str] | bytes]]:
        """Of all chunks."""
        return [
            record
            for chunk in self.chunks
            for record in records(self.layout, chunk.first_row, chunk.text)
        ]


def csv_file(*lines: bytes) -> bytes:
    """A file of products with these lines under its heading."""
    return HEADING + b"".join(line + b"\n" for line in lines)


def reader_of(
    options: ImportOptions | None = None,
    *,
    compressed: bool = False,
    slice_bytes: int = 65_536,
    **settings: Any,
) -> UploadReader:
    """A reader with these settings, the others as they are by default."""
    return UploadReader(
        options or import_options(),
        SETTINGS.model_copy(update=settings),
        compressed=compressed,
        slice_bytes=slice_bytes,
    )


def read(
    body: bytes, options: ImportOptions | None = None, piece: int = 1_000, **how: Any
) -> Reading:
    """Feed a body in pieces of this size; what the chunks say of themselves is checked."""
    reader = reader_of(options, **how)
    steps: list[RawChunk | None] = []
    for data in pieces(body, piece):
        steps += reader.feed(data)
    steps += reader.finish()
    chunks = [chunk for chunk in steps if chunk is not None]
    assert [chunk.position for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        found = list(records(reader.layout, chunk.first_row, chunk.text))
        assert len(found) == chunk.row_count > 0
        assert found[0][0] == chunk.first_row
    assert reader.rows == sum(chunk.row_count for chunk in chunks)
    return Reading(chunks, reader.layout)


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    """The body in pieces of this size."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


def refusal(
    body: bytes, options: ImportOptions | None = None, piece: int = 1_000, **how: Any
) -> tuple[str, str]:
    """Where a body is refused, and why: one reason only."""
    with pytest.raises(InvalidInput) as caught:
        read(body, options, piece, **how)
    (error,) = caught.value.errors
    assert error.where == "pointer"
    return error.name, error.detail
