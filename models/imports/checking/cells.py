"""CSV records: cells by the columns of the heading. An empty or blank cell says nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.imports.checking.fields import Field, field_of
from models.imports.checking.formulas import FORMULA_SIGNS, refuse_formula
from models.imports.checking.said import Refused, Said, unreadable
from models.imports.layout import Layout
from models.imports.options import ImportOptions

__all__ = ["CellReader"]

_Read = Callable[[str], Any]


class CellReader:
    """Reads records of one file; keeps what repeats, so it is meant for a chunk's life."""

    def __init__(self, options: ImportOptions, layout: Layout) -> None:
        self._width = len(layout.columns)
        self._columns = tuple(
            (position, name, _reader(field_of(name, options.decimal_mark)))
            for position, name in enumerate(layout.columns)
            if name is not None
        )

    def read(self, cells: list[str]) -> Said:
        """What the record says."""
        if len(cells) != self._width:
            cell = "cell" if len(cells) == 1 else "cells"
            return unreadable(f"has {len(cells)} {cell} where the heading has {self._width}")
        values: dict[str, Any] = {}
        said = Said(values, [])
        for position, name, read in self._columns:
            cell = cells[position]
            if not cell:
                continue
            try:
                value = read(cell)
            except Refused as refusal:
                said.refuse(name, str(refusal), cell)
            else:
                if value is not None:
                    values[name] = value
        return said


class _Remembered(dict[str, Any]):
    """Values by cell; a refusal is found anew each time."""

    def __init__(self, read: _Read) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, cell: str) -> Any:
        value = self[cell] = self._read(cell)
        return value


def _reader(field: Field) -> _Read:
    of_text, plain_most = field.of_text, field.plain_most or 0

    def read_text(cell: str) -> Any:
        text = cell.strip()
        if not text:
            return None
        if text[0] in FORMULA_SIGNS or cell[0] in FORMULA_SIGNS:
            refuse_formula(cell)
        return text if len(text) <= plain_most and text.isprintable() else of_text(text)

    def read_other(cell: str) -> Any:
        text = cell.strip()
        return of_text(text) if text else None

    read = read_text if plain_most else read_other
    return _Remembered(read).__getitem__ if field.repeats else read
