"""Records of CSV, from text as it comes."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from coordination.settings import Settings
from models.imports.layout import Layout
from models.imports.options import ImportOptions
from models.imports.reading.csv_parsing import (
    NEVER_CLOSED,
    CsvRun,
    check_line_count,
    has_values,
)
from models.imports.reading.heading import find_heading
from models.imports.reading.lines import (
    LineCutter,
    Stretch,
    any_line_ends,
    decode_without_nul,
)
from models.imports.reading.refusals import (
    HEADING,
    WHOLE_FILE,
    refused,
    row_pointer,
    too_long,
)

__all__ = ["CsvRecords"]

_HEADING_BYTES: Final = 65_536
# By which Excel is told the delimiter. It may be quoted, as a program writes a row's first cell.
_DELIMITER_LINE: Final = re.compile(rb'("?)sep=([,;|\t])\1\s*', re.IGNORECASE)


class CsvRecords:
    """Takes text as it comes. ``layout`` is empty until the heading was read."""

    def __init__(self, options: ImportOptions, settings: Settings) -> None:
        self.layout = Layout()
        self.offset = 0
        self._options = options
        self._most_bytes = settings.import_max_record_bytes
        self._lines = LineCutter(any_line_ends)
        self._decode: Callable[[bytes], str] = bytes.decode
        # Lines of a record whose quoted field is not closed yet, or of the heading.
        self._open: list[bytes] = []
        self._row = 0
        self._is_beginning = True
        # Positions of mapped columns that had no value so far.
        self._unseen: list[int] = []

    def feed(self, data: bytes, *, last: bool) -> Iterator[tuple[int, bytes, bool]]:
        """Row and text of each row that is whole now, and whether it is a record.

        Raises ``InvalidInput``.
        """
        if b"\0" in data:
            self._decode = decode_without_nul
        run = self._run(self._lines.cut(data, last=last), last=last)
        if run is not None:
            most_bytes = self._most_bytes
            for row, text, cells in run:
                if len(text) > most_bytes:
                    reason = too_long(most_bytes, is_quoted=b'"' in text)
                    raise refused(row_pointer(row), reason)
                is_record = has_values(cells)
                if is_record and self._unseen:
                    self._look_for_values(cells)
                yield row, text, is_record
            self._advance(run.taken, run.row)
        self._check_open(last=last)

    def finish(self) -> None:
        """Raises ``InvalidInput`` when there was no heading."""
        if not self._has_heading:
            raise refused(WHOLE_FILE, "is empty")
        headings = tuple(self.layout.headings[position] for position in self._unseen)
        self.layout = replace(self.layout, empty=headings)

    @property
    def _has_heading(self) -> bool:
        return self.layout.delimiter is not None

    def _run(self, new: list[bytes], *, last: bool) -> CsvRun | None:
        """Over what is open and new; ``None`` where that cannot complete a record."""
        is_open = bool(self._open)
        self._open += new
        if self.layout.delimiter is None:
            self._read_heading(last=last)
        elif is_open and not _has_quote(new):
            return None
        if self.layout.delimiter is None:
            return None
        return CsvRun(self._stretch(), self.layout.delimiter)

    def _read_heading(self, *, last: bool) -> None:
        if self._is_beginning and self._open:
            self._read_delimiter_line()
        # These are empty with any delimiter; there may be more of them than a heading may hold.
        empty = 0
        while empty < len(self._open) and not self._open[empty].strip():
            empty += 1
        self._advance(empty, self._row + empty)
        if not self._open:
            return
        heading = find_heading(self._stretch(), self._options, last=last)
        if heading is None:
            return
        if sum(map(len, self._open[: heading.lines])) > self._most_heading_bytes:
            raise refused(HEADING, too_long(self._most_heading_bytes))
        self.layout = heading.layout
        columns = enumerate(heading.layout.columns)
        self._unseen = [position for position, column in columns if column is not None]
        self._advance(heading.lines, heading.row)

    def _read_delimiter_line(self) -> None:
        """Take the delimiter of a first line that names it. Spreadsheets show no such row."""
        self._is_beginning = False
        named = _DELIMITER_LINE.fullmatch(self._open[0])
        if named is not None:
            delimiter = self._options.delimiter or named[2].decode()
            self._options = replace(self._options, delimiter=delimiter)
            self._advance(1, 0)

    def _look_for_values(self, cells: list[str]) -> None:
        # Of a short row only as much is looked at as it has: there may be thousands of columns.
        within = bisect_left(self._unseen, len(cells))
        seen = {at for at in self._unseen[:within] if cells[at] and not cells[at].isspace()}
        if seen:
            self._unseen = [position for position in self._unseen if position not in seen]

    def _stretch(self) -> Stretch:
        return Stretch(self._open, self._row, self.offset, self._decode)

    def _advance(self, lines: int, row: int) -> None:
        self.offset += sum(map(len, self._open[:lines]))
        self._open = self._open[lines:]
        self._row = row

    def _check_open(self, *, last: bool) -> None:
        """What is not whole must not grow without end, nor be left in the end."""
        open_bytes = sum(map(len, self._open)) + self._lines.held_bytes
        pointer, most_bytes = row_pointer(self._row + 1), self._most_bytes
        if not self._has_heading:
            pointer, most_bytes = HEADING, self._most_heading_bytes
        if open_bytes > most_bytes:
            raise refused(pointer, too_long(most_bytes, is_quoted=bool(self._open)))
        check_line_count(len(self._open), pointer)
        if last and self._open:
            raise refused(pointer, NEVER_CLOSED)

    @property
    def _most_heading_bytes(self) -> int:
        return min(self._most_bytes, _HEADING_BYTES)


def _has_quote(lines: list[bytes]) -> bool:
    return any(b'"' in line for line in lines)
