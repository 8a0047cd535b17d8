"""What rows must say, and what they are taken to say where they do not."""

from __future__ import annotations

import pytest

from models.imports.options import Subject
from models.imports.row_values import FarmRef, ProductRow, RowFault
from tests.unit.test_import_checking import (
    COUNT,
    FARM,
    JSON_PRODUCT,
    PRODUCT,
    check_cells,
    check_csv,
    check_json,
    fault,
    product,
)


@pytest.mark.parametrize("field", ["sku", "name", "category", "price"])
@pytest.mark.parametrize("cell", ["", " ", None])
def test_required_fields_of_products(field: str, cell: str | None) -> None:
    cells = {**PRODUCT, field: cell} if cell is not None else {**PRODUCT}
    if cell is None:
        del cells[field]
    expected = (field, "is required", None)
    found = fault(check_cells({name: value or "" for name, value in cells.items()}))
    assert (found.column, found.reason, found.value) == expected
    found = fault(check_json({**JSON_PRODUCT, field: None}))
    assert (found.column, found.reason, found.value) == expected


@pytest.mark.parametrize("field", FARM)
def test_required_fields_of_farms(field: str) -> None:
    found = fault(check_cells({**FARM, field: ""}, subject=Subject.FARMS))
    assert (found.column, found.reason) == (field, "is required")
    record = {name: value for name, value in FARM.items() if name != field}
    found = fault(check_json(record, subject=Subject.FARMS))
    assert (found.column, found.reason) == (field, "is required")


def test_a_row_names_its_farm_in_exactly_one_way() -> None:
    headings = ["Ext", "A", "B", "C", "D"]
    cells = {"farm_external_id": "", **{k: v for k, v in PRODUCT.items() if k != "farm"}}
    found = fault(check_cells(cells, headings=headings))
    assert (found.column, found.reason) == ("Ext", "is required, unless farm is given")
    row = product(check_cells({**cells, "farm_external_id": "0012"}))
    assert row.farm == FarmRef(external_id="0012")
    found = fault(check_json({**JSON_PRODUCT, "farm_external_id": "f-7"}))
    expected = RowFault(1, "farm_external_id", "must not be given together with farm", "f-7")
    assert found == expected


def test_one_row_without_a_farm_does_not_hide_the_next() -> None:
    """Rows of one farm share its reference; a farm that was refused is no farm to share."""
    fields = list(PRODUCT)
    rest = list(PRODUCT.values())[1:]
    found = check_csv(fields, ["x", *rest], ["", *rest], ["12", *rest], ["", *rest], ["12", *rest])
    assert [fault.row for fault in found.faults] == [2, 3, 5]
    assert [row.farm for row in found.products] == [FarmRef(id=12)] * 2


def test_defaults_fill_what_rows_do_not_say() -> None:
    defaults = {
        "farm": "12",
        "price": "1.5",
        "unit": " kg ",
        "stock": "3",
        "currency": "EUR",
        "description": " ",
        "attributes.origin": "Béarn",
    }
    cells = {"sku": "A", "name": "Eggs", "category": "eggs", "unit": "", "stock": "0"}
    expected = ProductRow(
        2, FarmRef(id=12), "A", "Eggs", "eggs", 150, "EUR", None, "kg", 0, '{"origin":"Béarn"}'
    )
    assert product(check_cells(cells, defaults=defaults)) == expected
    record = {"sku": "A", "name": "Eggs", "category": "eggs", "unit": None, "stock": 0}
    assert product(check_json(record, defaults=defaults)).unit == "kg"


def test_a_row_that_names_its_farm_gets_none_by_default() -> None:
    record = {**JSON_PRODUCT, "farm": None, "farm_external_id": "f-7"}
    assert product(check_json(record, defaults={"farm": "12"})).farm == FarmRef(external_id="f-7")
    record["farm_external_id"] = 7
    (found,) = check_json(record, defaults={"farm": "12"}).faults
    assert (found.column, found.reason) == ("farm_external_id", "must be a string")


def test_a_default_that_its_field_cannot_take_is_told_where_it_is_needed() -> None:
    found = check_csv([*PRODUCT, "stock"], [*PRODUCT.values(), ""], [*PRODUCT.values(), "4"],
                      defaults={"stock": "many"})  # fmt: skip
    assert found.faults == (RowFault(2, "stock", f"{COUNT} (by default)", "many"),)
    assert len(found.products) == 1


def test_a_default_is_no_cell() -> None:
    """The client wrote it, not a spreadsheet."""
    assert product(check_cells(PRODUCT, defaults={"unit": "=kg"})).unit == "=kg"


def test_a_faulty_field_is_not_missing_as_well() -> None:
    assert fault(check_cells({**PRODUCT, "name": "=1"}, defaults={"name": "Eggs"})).value == "=1"
    assert len(check_cells({**PRODUCT, "sku": "@", "farm": "x"}).faults) == 2
