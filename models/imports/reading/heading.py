"""A CSV file's heading, and the delimiter under which it makes sense.

A delimiter that is not given is the one under which the heading's columns fill all required fields,
most fields if several do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from coordination.errors import InvalidInput
from models.imports.layout import Layout
from models.imports.options import ImportOptions
from models.imports.reading.columns import Match, listed, match_headings
from models.imports.reading.csv_parsing import NEVER_CLOSED, CsvRun, has_values
from models.imports.reading.lines import Stretch
from models.imports.reading.refusals import HEADING, refused, too_many_lines

__all__ = ["Heading", "find_heading"]

_DELIMITERS: Final = (",", ";", "\t", "|")
_NAMES: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
# All of them may be parsed at once, and that with each delimiter.
_MOST_LINES: Final = 1_000
_MISSING: Final = "is missing: the file begins with nothing but empty rows"
_NDJSON: Final = "looks like NDJSON; send it with Content-Type: application/x-ndjson"
# The layout is a column of the database that takes 65,535 bytes.
_LAYOUT_BYTES: Final = 60_000


@dataclass(frozen=True, slots=True)
class Heading:
    """``lines`` of the stretch are taken by it and the empty rows before; it is row ``row``."""

    layout: Layout
    row: int
    lines: int


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What the heading is with one delimiter."""

    delimiter: str
    match: Match
    row: int
    lines: int

    @property
    def worth(self) -> tuple[bool, int, int]:
        """By which attempts are compared; what cut more columns is likelier to be the delimiter."""
        return self.match.is_usable, self.match.fills, len(self.match.headings)


def find_heading(stretch: Stretch, options: ImportOptions, *, last: bool) -> Heading | None:
    """The heading at the beginning of a file; ``None`` when more text may complete it.

    Raises ``InvalidInput`` when there is none that can be used.
    """
    is_cut = len(stretch.lines) > _MOST_LINES
    last = last or is_cut
    stretch = replace(stretch, lines=stretch.lines[:_MOST_LINES])
    attempts: list[_Attempt] = []
    reasons: list[str] = []
    is_open = False
    for delimiter in (options.delimiter,) if options.delimiter else _DELIMITERS:
        try:
            attempt = _attempt(stretch, options, delimiter, last=last)
        except InvalidInput as error:
            reasons.append(error.errors[0].detail)
            continue
        if attempt is None:
            is_open = True
            reasons.append(too_many_lines(_MOST_LINES) if is_cut else NEVER_CLOSED)
        else:
            attempts.append(attempt)
    best = max(attempts, key=lambda attempt: attempt.worth, default=None)
    if is_open and not last and (best is None or not best.match.is_usable):
        return None
    if best is None:
        raise refused(HEADING, reasons[0])
    if not best.match.is_usable:
        raise _refusal(best)
    return Heading(_layout(best), best.row, best.lines)


def _attempt(
    stretch: Stretch, options: ImportOptions, delimiter: str, *, last: bool
) -> _Attempt | None:
    """The first row that is not empty; ``None`` when it is not whole."""
    run = CsvRun(stretch, delimiter)
    for row, _, cells in run:
        if has_values(cells):
            return _Attempt(delimiter, match_headings(cells, options), row, run.taken)
    if last and run.taken == len(stretch.lines):
        raise refused(HEADING, _MISSING)
    return None


def _layout(found: _Attempt) -> Layout:
    headings, columns = found.match.headings, found.match.columns
    layout = Layout(found.delimiter, headings, columns)
    mapped = [heading for heading, column in zip(headings, columns, strict=True) if column]
    if len(replace(layout, empty=tuple(mapped)).encode().encode()) > _LAYOUT_BYTES:
        raise refused(HEADING, "is too long; leave out columns that fill no field")
    return layout


def _refusal(found: _Attempt) -> InvalidInput:
    match = found.match
    if match.headings[0].lstrip().startswith("{"):
        return refused(HEADING, _NDJSON)
    reasons = list(match.problems)
    if match.missing:
        name = _NAMES.get(found.delimiter, found.delimiter)
        reasons.append(
            f"no column fills {_enumerated(match.missing)}; {_how_to_fill(match.missing[0])}."
            f" The columns found, separated by {name}, are {listed(match.headings)}"
        )
    return refused(HEADING, *reasons)


def _how_to_fill(missing: str) -> str:
    field = missing.split()[0]
    mapping = orjson.dumps({field: "a heading"}).decode()
    defaults = orjson.dumps({field: "a value"}).decode()
    return f"name it as in mapping={mapping}, or give all rows one value as in defaults={defaults}"


def _enumerated(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
