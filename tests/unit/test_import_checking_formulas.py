"""Cells that a spreadsheet would run are refused; what only looks a little like them is not."""

from __future__ import annotations

import pytest

from models.imports.options import Subject
from tests.unit.test_import_checking import (
    FARM,
    JSON_PRODUCT,
    PRODUCT,
    check_cells,
    check_json,
    fault,
    product,
)

_FORMULA = 'begins like a spreadsheet formula; write it without the leading "{}"'

_TEXT_FIELDS = (
    "sku", "name", "description", "category", "unit", "farm_external_id", "farm_name", "farm_city",
    "farm_state", "attributes.origin",
)  # fmt: skip


@pytest.mark.parametrize("field", _TEXT_FIELDS)
def test_no_text_begins_like_a_formula(field: str) -> None:
    cells = dict(PRODUCT)
    if field == "farm_external_id":
        del cells["farm"]
    found = fault(check_cells({**cells, field: '=HYPERLINK("http://x")'}))
    assert (found.column, found.reason) == (field, _FORMULA.format("="))
    assert found.value == '=HYPERLINK("http://x")'


@pytest.mark.parametrize("field", ["external_id", "name", "city", "state"])
def test_no_text_of_a_farm_begins_like_a_formula(field: str) -> None:
    found = fault(check_cells({**FARM, field: "@SUM(1)"}, subject=Subject.FARMS))
    assert (found.column, found.reason) == (field, _FORMULA.format("@"))


@pytest.mark.parametrize(
    ("cell", "first"),
    [
        ("=1+1", '"="'),
        ("=", '"="'),
        ("  =1+1", '"="'),
        ("@home", '"@"'),
        ("+A1", '"+"'),
        ("-cmd|' /C calc'!A0", '"-"'),
        ("--1", '"-"'),
        ("-٤", '"-"'),
        ("\tEggs", "tab"),
        ("\t=1", "tab"),
        ("\rEggs", "line break"),
    ],
)
def test_what_a_formula_begins_like(cell: str, first: str) -> None:
    reason = f"begins like a spreadsheet formula; write it without the leading {first}"
    assert fault(check_cells({**PRODUCT, "description": cell})).reason == reason


@pytest.mark.parametrize(
    "cell",
    ["-", "+", "- organic\n- fresh", "+ delivery", "-5 °C", "+49 761 1234", "a=b", "'=1", "#1"],
)
def test_what_no_formula_begins_like(cell: str) -> None:
    assert product(check_cells({**PRODUCT, "description": cell})).description == cell


def test_json_knows_no_formulas() -> None:
    """No spreadsheet wrote it."""
    assert product(check_json({**JSON_PRODUCT, "name": "=1+1"})).name == "=1+1"
