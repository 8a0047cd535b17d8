"""Puts records together to chunks."""

from __future__ import annotations

from coordination.settings import Settings
from models.imports.chunks import RawChunk

__all__ = ["Chunker"]


class Chunker:
    """A chunk is full with ``IMPORT_CHUNK_ROWS`` records or ``IMPORT_CHUNK_BYTES`` of text.

    ``records``: how many there were so far, in all chunks.
    """

    def __init__(self, settings: Settings) -> None:
        self._most_rows = settings.import_chunk_rows
        self._most_bytes = settings.import_chunk_bytes
        self._position = 0
        self._first_row = 0
        self._count = 0
        self._text = bytearray()
        self.records = 0

    def add(self, row: int, text: bytes, is_record: bool) -> RawChunk | None:
        """Take the next row in; the chunk, if it is full now. None begins with an empty row."""
        if is_record:
            if not self._count:
                self._first_row = row
            self._count += 1
            self.records += 1
        elif not self._count:
            return None
        self._text += text
        if self._count < self._most_rows and len(self._text) < self._most_bytes:
            return None
        return self.cut()

    def cut(self) -> RawChunk | None:
        """The chunk as it is, unless it is empty; the next one begins."""
        if not self._count:
            return None
        chunk = RawChunk(self._position, self._first_row, self._count, bytes(self._text))
        self._position += 1
        self._count = 0
        self._text.clear()
        return chunk
