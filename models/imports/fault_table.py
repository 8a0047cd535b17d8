"""Faults as the lines of a CSV file that opens in a spreadsheet without harm."""

from __future__ import annotations

from typing import Final

from models.imports.row_values import RowFault

__all__ = ["FAULT_HEADINGS", "fault_cells"]

FAULT_HEADINGS: Final = ("row", "column", "reason", "value")
# What spreadsheets take for the beginning of a formula (OWASP, CSV Injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def fault_cells(fault: RowFault) -> tuple[int, str, str, str]:
    """The cells below ``FAULT_HEADINGS``; none of them can be run as a formula."""
    texts = (fault.column, fault.reason, fault.value or "")
    column, reason, value = (f"'{text}" if text.startswith(_FORMULA) else text for text in texts)
    return fault.row, column, reason, value
