"""Faults as the lines of a CSV file that opens in a spreadsheet without harm."""

from __future__ import annotations

import re
from typing import Final

from models.imports.row_values import RowFault

__all__ = ["FAULT_HEADINGS", "fault_cells"]

FAULT_HEADINGS: Final = ("row", "column", "reason", "value")
# What spreadsheets take for the beginning of a formula (OWASP, CSV Injection). Where lists are
# separated by semicolons, they cut a cell at those; at tabs, where text is pasted.
_FORMULA: Final = re.compile("(^|[;\t])(?=[=+@\t\r\n＝＋－＠-])")


def fault_cells(fault: RowFault) -> tuple[int, str, str, str]:
    """The cells below ``FAULT_HEADINGS``; none of them can be run as a formula."""
    texts = (fault.column, fault.reason, fault.value or "")
    column, reason, value = (_FORMULA.sub(r"\1'", text) for text in texts)
    return fault.row, column, reason, value
