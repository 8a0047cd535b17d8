"""Python's CSV parser (RFC 4180, any line end, strict quoting), over lines that come in stretches.

The parser cannot be interrupted, but it asks for each line: where there are no more lines it is
stopped by an exception, and the record it was about is parsed again once there are.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from itertools import chain
from typing import Final

from models.imports.options import FileFormat
from models.imports.reading.lines import Stretch
from models.imports.reading.refusals import refused, row_pointer, too_many_lines

__all__ = ["NEVER_CLOSED", "CsvRun", "check_line_count", "csv_records", "has_values"]

NEVER_CLOSED: Final = "has a quoted field that is never closed"
_MALFORMED: Final = (
    "has text after a closing quote; a quote within a quoted field must be written twice"
)
# Where a field is open, all of its lines are parsed again with each slice, in one go.
_MOST_LINES: Final = 10_000
# The parser's own bound is the process's, and at first lower than what a record may hold. It is
# only ever raised, always to this, past any IMPORT_MAX_RECORD_BYTES, so threads cannot disagree.
_FIELD_CHARACTERS: Final = 2**24


class _RanDry(Exception):
    """There is no further line."""


def _run_dry() -> Iterator[str]:
    raise _RanDry
    yield


def check_line_count(lines: int, pointer: str) -> None:
    """Raises ``InvalidInput`` for a record, whole or not, of too many lines."""
    if lines > _MOST_LINES:
        raise refused(pointer, too_many_lines(_MOST_LINES))


def has_values(cells: list[str]) -> bool:
    """Whether any cell holds more than white space; else the row is like an empty line."""
    return any(map(str.strip, cells))


class CsvRun:
    """One run over a stretch; ``taken`` lines of it make whole records, the last of them ``row``.

    Lines left over begin with a quoted field that is still open.
    """

    def __init__(self, stretch: Stretch, delimiter: str) -> None:
        self._stretch = stretch
        self._delimiter = delimiter
        self.taken = 0
        self.row = stretch.row

    def __iter__(self) -> Iterator[tuple[int, bytes, list[str]]]:
        """Row, text and cells of each record, those of empty lines too. Raises ``InvalidInput``."""
        _allow_long_fields()
        lines = self._stretch.lines
        source = chain(map(self._stretch.decode, lines), _run_dry())
        reader = csv.reader(source, delimiter=self._delimiter, strict=True)
        start, row = 0, self.row
        try:
            for cells in reader:
                end = reader.line_num
                row += 1
                self.taken, self.row = end, row
                text = lines[start]
                if end - start > 1:
                    check_line_count(end - start, row_pointer(row))
                    text = b"".join(lines[start:end])
                yield row, text, cells
                start = end
        except _RanDry:
            return
        except UnicodeDecodeError as error:
            reason = self._stretch.undecodable(reader.line_num, error, FileFormat.CSV)
            raise refused(row_pointer(row + 1), reason) from None
        except csv.Error:
            raise refused(row_pointer(row + 1), _MALFORMED) from None


def csv_records(delimiter: str, first_row: int, text: bytes) -> Iterator[tuple[int, list[str]]]:
    """Rows and cells of the records in a text that begins with row ``first_row``.

    The text has been read before, by ``CsvRun``; so it is taken at once, and nothing is refused.
    """
    _allow_long_fields()
    # Without newline="" it would turn the line ends within quotes into LF.
    lines = StringIO(text.decode(), newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    for row, cells in enumerate(reader, first_row):
        if has_values(cells):
            yield row, cells


def _allow_long_fields() -> None:
    if csv.field_size_limit() < _FIELD_CHARACTERS:
        csv.field_size_limit(_FIELD_CHARACTERS)
