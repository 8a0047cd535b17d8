"""What single fields take from cells and members, and the reasons where they do not."""

from __future__ import annotations

import json

import pytest

from models.imports.options import DecimalMark, Subject
from models.imports.row_values import WHOLE_ROW, RowFault
from tests.unit.test_import_checking import (
    COUNT,
    FARM,
    JSON_PRODUCT,
    PRODUCT,
    check_cells,
    check_json,
    farm,
    fault,
    product,
)

_CONTROL = "must not contain control characters"


_BOTH: list[tuple[str, str, str]] = [
    ("sku", "A" * 65, "must have at most 64 characters"),
    ("sku", "A\x07B", _CONTROL),
    ("name", "A" * 201, "must have at most 200 characters"),
    ("name", "two\nlines", _CONTROL),
    ("category", "A" * 201, "must have at most 200 characters"),
    ("category", "a\tb", _CONTROL),
    ("description", "A" * 5_001, "must have at most 5000 characters"),
    ("description", "a\x00b", _CONTROL),
    ("description", "a\x85b", _CONTROL),
    ("unit", "A" * 65, "must have at most 64 characters"),
    ("currency", "usd", "must be in upper case: USD"),
    ("currency", "Eur", "must be in upper case: EUR"),
    ("currency", "US$", "is not an ISO 4217 currency"),
    ("currency", "XXY", "is not an ISO 4217 currency"),
    ("farm_name", "A" * 201, "must have at most 200 characters"),
    ("farm_city", "A" * 121, "must have at most 120 characters"),
    ("farm_state", "A" * 121, "must have at most 120 characters"),
]


@pytest.mark.parametrize(("field", "value", "reason"), _BOTH)
def test_texts_beyond_their_bounds(field: str, value: str, reason: str) -> None:
    """The reasons are the API's own."""
    # NUL never gets as far as a CSV record.
    if "\0" not in value:
        found = fault(check_cells({**PRODUCT, field: value}))
        assert (found.column, found.reason) == (field, reason)
    found = fault(check_json({**JSON_PRODUCT, field: value}))
    assert (found.column, found.reason) == (field, reason)


@pytest.mark.parametrize(
    ("field", "cell", "reason"),
    [
        ("stock", "12.0", COUNT),
        ("stock", "1,000", COUNT),
        ("stock", "1.000", COUNT),
        ("stock", "1 000", COUNT),
        ("stock", "+5", COUNT),
        ("stock", "1e3", COUNT),
        ("stock", "٤", COUNT),
        ("stock", "many", COUNT),
        ("stock", "=A1", COUNT),
        ("stock", "-1", "must be at least 0"),
        ("stock", "2147483648", "must be at most 2147483647"),
        ("stock", "9" * 6_000, "must be at most 2147483647"),
        ("stock", "-" + "9" * 6_000, "must be at least 0"),
        ("farm", "hill-farm", "must be our id of the farm, in digits alone"),
        ("farm", "12.0", "must be our id of the farm, in digits alone"),
        ("farm", "0", "must be at least 1"),
        ("farm", str(2**53), f"must be at most {2**53 - 1}"),
        (
            "attributes",
            "organic",
            "must be a JSON object; one attribute's column is named attributes.<name>",
        ),
        (
            "attributes",
            "[1]",
            "must be a JSON object; one attribute's column is named attributes.<name>",
        ),
    ],
)
def test_numbers_and_objects_in_cells(field: str, cell: str, reason: str) -> None:
    found = fault(check_cells({**PRODUCT, field: cell}))
    assert (found.column, found.reason, found.value) == (field, reason, cell[:100])


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("sku", 12, "must be a string"),
        ("name", True, "must be a string"),
        ("name", ["Eggs"], "must be a string"),
        ("description", {}, "must be a string"),
        ("category", 4.5, "must be the id, slug or name of a category"),
        ("category", True, "must be the id, slug or name of a category"),
        ("category", 0, "must be the id, slug or name of a category"),
        ("category", "", "must have at least 1 character(s)"),
        ("currency", 840, "must be a string"),
        ("currency", "", "is not an ISO 4217 currency"),
        ("farm", "12", "must be an integer"),
        ("farm", True, "must be an integer"),
        ("farm", 0, "must be at least 1"),
        ("farm_external_id", 12, "must be a string"),
        ("farm_latitude", "42", "must be a number"),
        ("farm_latitude", True, "must be a number"),
        ("stock", "12", "must be an integer"),
        ("stock", 12.5, "must be an integer"),
        ("stock", False, "must be an integer"),
        ("stock", -1, "must be at least 0"),
        ("stock", 2**31, "must be at most 2147483647"),
        ("stock", 1e30, "must be at most 2147483647"),
        ("attributes", "organic", "must be an object"),
        ("attributes", [1], "must be an object"),
        ("attributes", {"a": "x" * 16_400}, "must stay below 16384 bytes"),
    ],
)
def test_members_of_the_wrong_kind(field: str, value: object, reason: str) -> None:
    found = check_json({**JSON_PRODUCT, field: value}).faults[0]
    assert (found.column, found.reason) == (field, reason)


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("category", 7, "7"),
        ("category", 7.0, "7"),
        ("category", "Milk & Cheese", "Milk & Cheese"),
        ("stock", 5.0, 5),
        ("stock", 2**31 - 1, 2**31 - 1),
        ("price", 4, None),
        ("attributes", {}, "{}"),
        ("attributes", {"b": 1, "a": {"d": [None], "c": 2.5}}, '{"a":{"c":2.5,"d":[null]},"b":1}'),
    ],
)
def test_members_that_are_taken(field: str, value: object, kept: object) -> None:
    row = product(check_json({**JSON_PRODUCT, field: value}))
    if field == "price":
        assert row.price_minor == 400
    else:
        assert getattr(row, field) == kept


def test_attributes_may_be_nested_sixteen_levels_deep() -> None:
    deep: object = {}
    for _ in range(15):
        deep = {"a": deep}
    assert product(check_json({**JSON_PRODUCT, "attributes": deep})).attributes is not None
    assert product(check_json({**JSON_PRODUCT, "attributes": {"a": [[]] * 50}})).attributes
    for _ in range(300):  # also where it is deeper than JSON can be written
        deep = {"a": deep}
        line = json.dumps({**JSON_PRODUCT, "attributes": deep}).encode()
        found = fault(check_json(line))
        assert found.reason == "must be nested at most 16 levels deep"


def test_attributes_of_columns_and_of_the_whole_are_joined() -> None:
    cells = {**PRODUCT, "attributes": '{"b": 1, "a": "old"}', "attributes.a": "new"}
    assert product(check_cells(cells)).attributes == '{"a":"new","b":1}'
    record = {**JSON_PRODUCT, "attributes": {"b": 1}, "herkunft": ["x"]}
    members = {"attributes.origin": "herkunft"}
    assert product(check_json(record, members=members)).attributes == '{"b":1,"origin":["x"]}'
    empty = {**PRODUCT, "attributes.a": "", "attributes.b": " "}
    assert product(check_cells(empty)).attributes is None


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_attributes_of_columns_are_bounded_together(character: str) -> None:
    """By bytes: the boundary is where the API has it."""
    frame = len('{"a":"","b":""}')
    text = character * ((16_384 - frame) // len(character.encode()))
    cells = {**PRODUCT, "attributes.a": text[:-1], "attributes.b": text[-1:]}
    assert product(check_cells(cells)).attributes is not None
    over = {**cells, "attributes.b": text[-1:] + "abcdef"}
    reason = "attributes must stay below 16384 bytes"
    assert fault(check_cells(over)) == RowFault(2, WHOLE_ROW, reason)


@pytest.mark.parametrize(
    ("cell", "mark", "degrees"),
    [
        ("44.411036", DecimalMark.POINT, 44.411036),
        ("-90", DecimalMark.POINT, -90.0),
        ("+7.50", DecimalMark.POINT, 7.5),
        ("44,5", DecimalMark.COMMA, 44.5),
        ("44.5", DecimalMark.COMMA, 44.5),
    ],
)
def test_degrees(cell: str, mark: DecimalMark, degrees: float) -> None:
    cells = {**FARM, "latitude": cell, "longitude": "0"}
    assert farm(check_cells(cells, subject=Subject.FARMS, decimal_mark=mark)).latitude == degrees


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("90.01", "must be at most 90.0"),
        ("-91", "must be at least -90.0"),
        ("44,5", "must be degrees as a decimal number, like -72.14"),
        ("44.5N", "must be degrees as a decimal number, like -72.14"),
        ("44°30'", "must be degrees as a decimal number, like -72.14"),
        ("1e1", "must be degrees as a decimal number, like -72.14"),
        ("nan", "must be degrees as a decimal number, like -72.14"),
        ("٤", "must be degrees as a decimal number, like -72.14"),
        ("4" * 400, "must be degrees as a decimal number, like -72.14"),
    ],
)
def test_no_degrees(cell: str, reason: str) -> None:
    cells = {**FARM, "latitude": cell, "longitude": "0"}
    found = fault(check_cells(cells, subject=Subject.FARMS))
    assert (found.column, found.reason) == ("latitude", reason)


@pytest.mark.parametrize("given", ["latitude", "longitude"])
def test_coordinates_come_together(given: str) -> None:
    other = {"latitude": "longitude", "longitude": "latitude"}[given]
    reason = "must be given together with the other coordinate, or neither"
    found = fault(check_cells({**FARM, given: "4", other: ""}, subject=Subject.FARMS))
    assert (found.column, found.reason) == (other, reason)
    found = fault(check_json({**JSON_PRODUCT, f"farm_{given}": 4}))
    assert (found.column, found.reason) == (f"farm_{other}", reason)
