"""The lines of a file of faults: harmless in whatever spreadsheet opens it."""

from __future__ import annotations

import pytest

from models.imports.fault_table import FAULT_HEADINGS, fault_cells
from models.imports.row_values import RowFault


def test_cells_stand_below_their_headings() -> None:
    cells = fault_cells(RowFault(17, "price", "is required"))
    assert dict(zip(FAULT_HEADINGS, cells, strict=True)) == {
        "row": 17,
        "column": "price",
        "reason": "is required",
        "value": "",
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1", "'＝1"),
        ("\t=1", "'\t'=1"),
        ("\rx", "'\rx"),
        # Where lists are separated by semicolons, a cell begins after each of them.
        ("eggs;=1+1", "eggs;'=1+1"),
        (";;@x", ";;'@x"),
        ("1,-5; 7", "1,-5; 7"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_no_cell_begins_a_formula(value: str, shown: str) -> None:
    assert fault_cells(RowFault(1, value, value, value)) == (1, shown, shown, shown)
