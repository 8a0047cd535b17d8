"""Where the fields stand in the file, so that people find what is wrong by the file's own names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from models.imports.checking.said import Fault
from models.imports.layout import Layout
from models.imports.options import ImportOptions
from models.imports.row_values import WHOLE_ROW, RowFault

__all__ = ["Columns"]

_MOST_FAULTS_OF_A_ROW: Final = 10


class Columns:
    """The columns or members of one file."""

    def __init__(self, options: ImportOptions, layout: Layout) -> None:
        names: dict[str, str] = {}
        for heading, field in zip(layout.headings, layout.columns, strict=True):
            if field is not None:
                names.setdefault(field, heading)
        # Members have no order of their own: fields do.
        own_order = dict.fromkeys((*options.fields, *layout.members))
        names.update(
            {field: layout.members[field] for field in own_order if field in layout.members}
        )
        self._names = names
        ordered = dict.fromkeys((WHOLE_ROW, *names, *own_order))
        self._order = {field: position for position, field in enumerate(ordered)}

    def __contains__(self, field: str) -> bool:
        """Whether the file has this field."""
        return field in self._names

    def name(self, field: str) -> str:
        """The heading or member that holds it; the field's own name where none does."""
        return self._names.get(field, field)

    def row_faults(self, row: int, faults: Iterable[Fault]) -> list[RowFault]:
        """A row's first faults in the order of columns; fields without any come last."""
        ordered = sorted(faults, key=lambda fault: self._order.get(fault.field, len(self._order)))
        return [
            RowFault(row, self.name(fault.field), fault.reason, fault.value)
            for fault in ordered[:_MOST_FAULTS_OF_A_ROW]
        ]
