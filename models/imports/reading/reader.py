"""Reads an upload: from the body's pieces to chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coordination.settings import Settings
from models.imports.chunks import RawChunk
from models.imports.layout import Layout
from models.imports.options import FileFormat, ImportOptions
from models.imports.reading.beginnings import BEGINNING_BYTES, check_beginning
from models.imports.reading.chunking import Chunker
from models.imports.reading.csv_records import CsvRecords
from models.imports.reading.decompressing import PIECE_BYTES, Gunzip, Plain, Unpacker
from models.imports.reading.ndjson_records import NdjsonRecords
from models.imports.reading.refusals import WHOLE_FILE, refused

__all__ = ["UploadReader"]

# A slice may hold a row for each of its bytes.
_STEP_ROWS: Final = 1_024


class UploadReader:
    """Takes one body in, piece by piece. After an exception it is of no more use.

    What it yields does not depend on where the body was cut into pieces: the text is worked on in
    slices of ``slice_bytes`` (4 at least), counted from its beginning.
    """

    def __init__(
        self,
        options: ImportOptions,
        settings: Settings,
        *,
        compressed: bool,
        slice_bytes: int = PIECE_BYTES,
    ) -> None:
        self._format = options.format
        self._is_compressed = compressed
        self._unpacker: Unpacker = Gunzip(settings) if compressed else Plain(settings)
        self._records: CsvRecords | NdjsonRecords = (
            CsvRecords(options, settings)
            if options.format is FileFormat.CSV
            else NdjsonRecords(options, settings)
        )
        self._chunker = Chunker(settings)
        self._slice_bytes = max(slice_bytes, BEGINNING_BYTES)
        self._gathered = bytearray()
        self._is_beginning = True

    @property
    def layout(self) -> Layout:
        """Which field stands where; empty before the heading, ``empty`` empty before the end."""
        return self._records.layout

    @property
    def rows(self) -> int:
        """Records so far."""
        return self._chunker.records

    def feed(self, data: bytes) -> Iterator[RawChunk | None]:
        """The chunks that are full now, and ``None`` after each millisecond of work, more or less.

        Raises ``InvalidInput`` for what cannot be read, ``TooLarge`` beyond ``IMPORT_MAX_BYTES``.
        """
        for piece in self._unpacker.unpack(data):
            self._gathered += piece
            while len(self._gathered) >= self._slice_bytes:
                text = bytes(self._gathered[: self._slice_bytes])
                del self._gathered[: self._slice_bytes]
                yield from self._read(text, last=False)
            if not piece:
                yield None

    def finish(self) -> Iterator[RawChunk | None]:
        """The last chunks, once the body is over. Raises as ``feed`` does."""
        self._unpacker.finish()
        yield from self._read(bytes(self._gathered), last=True)
        self._gathered.clear()
        self._records.finish()
        if not self.rows:
            raise refused(WHOLE_FILE, "holds no rows, only a heading")
        yield self._chunker.cut()

    def _read(self, text: bytes, *, last: bool) -> Iterator[RawChunk | None]:
        if self._is_beginning:
            self._is_beginning = False
            marks = check_beginning(text, self._format, was_compressed=self._is_compressed)
            self._records.offset += marks
            text = text[marks:]
        rows = self._records.feed(text, last=last)
        for count, (row, line, is_record) in enumerate(rows, start=1):
            chunk = self._chunker.add(row, line, is_record)
            if chunk is not None:
                yield chunk
            if not count % _STEP_ROWS:
                yield None
        yield None
