"""Records of NDJSON: one line each. Only the first is looked into; ``checking`` reads the rest."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from coordination.settings import Settings
from models.imports.layout import Layout
from models.imports.options import FileFormat, ImportOptions
from models.imports.reading.columns import match_members
from models.imports.reading.lines import LineCutter, Stretch, decode_without_nul, newlines_only
from models.imports.reading.refusals import WHOLE_FILE, refused, row_pointer, too_long

__all__ = ["NdjsonRecords", "ndjson_records"]


class NdjsonRecords:
    """Takes text as it comes. Raises ``InvalidInput`` for a mapping that cannot be."""

    def __init__(self, options: ImportOptions, settings: Settings) -> None:
        members, problems = match_members(options)
        if problems:
            raise refused(WHOLE_FILE, *problems)
        self.layout = Layout(members=members)
        self.offset = 0
        self._most_bytes = settings.import_max_record_bytes
        self._lines = LineCutter(newlines_only)
        self._row = 0
        self._is_first = True

    def feed(self, data: bytes, *, last: bool) -> Iterator[tuple[int, bytes, bool]]:
        """Row and text of each line that is whole now, and whether it is a record.

        Raises ``InvalidInput``.
        """
        lines = self._lines.cut(data, last=last)
        stretch = Stretch(lines, self._row, self.offset)
        for position, line in enumerate(lines):
            self._row += 1
            if len(line) > self._most_bytes:
                raise refused(row_pointer(self._row), too_long(self._most_bytes))
            try:
                decode_without_nul(line)
            except UnicodeDecodeError as error:
                reason = stretch.undecodable(position, error, FileFormat.NDJSON)
                raise refused(row_pointer(self._row), reason) from None
            is_record = bool(line.strip())
            if is_record and self._is_first:
                self._check_first(line)
            yield self._row, line, is_record
        self.offset += sum(map(len, lines))
        if self._lines.held_bytes > self._most_bytes:
            raise refused(row_pointer(self._row + 1), too_long(self._most_bytes))

    def finish(self) -> None:
        """Raises ``InvalidInput`` when there was no record."""
        if self._is_first:
            raise refused(WHOLE_FILE, "is empty")

    def _check_first(self, line: bytes) -> None:
        self._is_first = False
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            reason = "is not a JSON object; NDJSON holds one object on each line, and nothing else"
            raise refused(row_pointer(self._row), reason)


def ndjson_records(first_row: int, text: bytes) -> Iterator[tuple[int, bytes]]:
    """Rows and lines, without their ends, of the records in a text beginning with ``first_row``."""
    for row, line in enumerate(newlines_only(text), start=first_row):
        record = line.strip()
        if record:
            yield row, record
