"""Cells that a spreadsheet would run instead of showing them.

Where such a text reached our customers' or partners' exports, opening one would run it (CWE-1236).
"""

from __future__ import annotations

import re
from typing import Final

from models.imports.checking.said import Refused

__all__ = ["FORMULA_SIGNS", "refuse_formula"]

FORMULA_SIGNS: Final = frozenset("=@+-\t\r")
"""What begins every cell that ``refuse_formula`` refuses."""

# Signs alone, before numbers and before spaces are how people write lists and differences.
_FORMULA: Final = re.compile(r"[=@]|[+-](?=[^0-9\s])")
_UNSEEN: Final = {"\t": "tab", "\r": "line break"}


def refuse_formula(cell: str) -> None:
    """Raises ``Refused`` for a cell, not blank, that begins like a formula."""
    unseen = _UNSEEN.get(cell[0])
    sign = _FORMULA.match(cell.strip())
    if unseen is None and sign is None:
        return
    first = f'"{sign[0]}"' if unseen is None and sign is not None else unseen
    raise Refused(f"begins like a spreadsheet formula; write it without the leading {first}")
