"""Checking chunks: what records become as a whole, in both formats."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest

from models.imports.checking import check_chunk
from models.imports.layout import Layout
from models.imports.options import FileFormat, ImportOptions, Subject
from models.imports.row_values import WHOLE_ROW, Checked, FarmRef, FarmRow, ProductRow, RowFault

COUNT = "must be a whole number in digits alone, without decimals or separators"
LINE = "must not be empty, nor begin or end with spaces"
PRODUCT = {
    "farm": "12",
    "sku": "EGGS-12",
    "name": "Duck eggs",
    "category": "eggs",
    "price": "4.50",
}
JSON_PRODUCT: dict[str, Any] = {**PRODUCT, "farm": 12}
FARM = {"external_id": "f-7", "name": "Hill Farm", "city": "Ithaca", "state": "New York"}


def options(
    subject: Subject = Subject.PRODUCTS, kind: FileFormat = FileFormat.CSV, **more: Any
) -> ImportOptions:
    return ImportOptions(subject, kind, more.pop("currency", "USD"), **more)


def check_csv(
    fields: Sequence[str | None],
    *rows: Sequence[str],
    headings: Sequence[str] | None = None,
    **more: Any,
) -> Checked:
    """Check these rows; they begin in row 2, below a heading that calls fields by their names."""
    names = headings or [field or "other" for field in fields]
    layout = Layout(",", tuple(names), tuple(fields))
    return check_chunk(options(**more), layout, 2, written(*rows))


def written(*rows: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def check_cells(cells: Mapping[str, str], **more: Any) -> Checked:
    return check_csv(list(cells), list(cells.values()), **more)


def check_json(record: object, *, members: Mapping[str, str] | None = None, **more: Any) -> Checked:
    line = record if isinstance(record, bytes) else orjson.dumps(record)
    found = options(kind=FileFormat.NDJSON, **more)
    layout = Layout(members={**{field: field for field in found.fields}, **(members or {})})
    return check_chunk(found, layout, 1, line)


def product(checked: Checked) -> ProductRow:
    assert not checked.faults
    (row,) = checked.products
    return row


def farm(checked: Checked) -> FarmRow:
    assert not checked.faults
    (row,) = checked.farms
    return row


def fault(checked: Checked) -> RowFault:
    assert not checked.products
    assert not checked.farms
    (found,) = checked.faults
    return found


def test_the_shortest_product() -> None:
    """What a row does not say stays unsaid: it is no default of ours."""
    expected = ProductRow(2, FarmRef(id=12), "EGGS-12", "Duck eggs", "eggs", 450, "USD")
    assert product(check_cells(PRODUCT)) == expected
    assert product(check_json(JSON_PRODUCT)) == ProductRow(
        1, FarmRef(id=12), "EGGS-12", "Duck eggs", "eggs", 450, "USD"
    )


def test_a_product_with_everything() -> None:
    cells = {
        **PRODUCT,
        "description": "From happy ducks.\nFresh daily.",
        "currency": "KWD",
        "unit": "dozen",
        "stock": "0040",
        "attributes.Origin": "Béarn",
        "attributes.organic": "yes",
        "attributes.empty": "",
        "farm_name": "Hill Farm",
        "farm_city": "Ithaca",
        "farm_state": "NY",
        "farm_latitude": "42.4",
        "farm_longitude": "-76.5",
    }
    assert product(check_cells(cells)) == ProductRow(
        2,
        FarmRef(12, None, "Hill Farm", "Ithaca", "NY", 42.4, -76.5),
        "EGGS-12",
        "Duck eggs",
        "eggs",
        4500,
        "KWD",
        "From happy ducks.\nFresh daily.",
        "dozen",
        40,
        '{"Origin":"Béarn","organic":"yes"}',
    )


def test_farms() -> None:
    cells = {**FARM, "latitude": "42", "longitude": "-76.50"}
    expected = FarmRow(2, "f-7", "Hill Farm", "Ithaca", "New York", 42.0, -76.5)
    assert farm(check_cells(cells, subject=Subject.FARMS)) == expected
    record = {**FARM, "latitude": 42, "longitude": -76.5, "county": "Tompkins"}
    assert farm(check_json(record, subject=Subject.FARMS)) == FarmRow(
        1, "f-7", "Hill Farm", "Ithaca", "New York", 42.0, -76.5
    )
    assert farm(check_cells(FARM, subject=Subject.FARMS)).latitude is None


def test_cells_are_stripped_and_blank_ones_say_nothing() -> None:
    spaced = {field: f" {cell}\u00a0" for field, cell in PRODUCT.items()}
    row = product(check_cells({**spaced, "unit": " \t ", "stock": "  ", "currency": ""}))
    assert row == product(check_cells(PRODUCT))


def test_members_are_not_stripped() -> None:
    """A program wrote them, so white space is a mistake there, as it is in the API."""
    for name in (" Eggs", "Eggs ", " "):
        assert fault(check_json({**JSON_PRODUCT, "name": name})).reason == LINE
    assert fault(check_json({**JSON_PRODUCT, "name": ""})).reason == (
        "must have at least 1 character(s)"
    )
    assert product(check_json({**JSON_PRODUCT, "description": ""})).description == ""


def test_rows_are_numbered_as_the_file_counts_them() -> None:
    """Empty lines count; a record is one row however many lines it takes."""
    fields = list(PRODUCT)
    rows = [["12", f"S{n}", "two\nlines" if n == 1 else "x", "eggs", "1"] for n in (1, 2, 3)]
    rows[2][4] = "free"
    found = check_csv(fields, rows[0], [], rows[1], rows[2])
    assert [fault.row for fault in found.faults] == [2, 5]
    assert [row.row for row in found.products] == [4]


def test_other_columns_and_members_are_ignored() -> None:
    found = check_csv([*PRODUCT, None], [*PRODUCT.values(), "=cmd()"])
    assert product(found) == product(check_cells(PRODUCT))
    record = {**JSON_PRODUCT, "colour": {"a": [1]}, "price_minor": 7}
    assert product(check_json(record)) == product(check_json(JSON_PRODUCT))


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["12"], "has 1 cell where the heading has 5"),
        (["12", "A", "Eggs", "eggs"], "has 4 cells where the heading has 5"),
        (["12", "A", "Eggs", "eggs", "1", ""], "has 6 cells where the heading has 5"),
    ],
)
def test_a_row_of_another_width_is_one_fault(cells: list[str], reason: str) -> None:
    """Which cell is missing cannot be known, so none of them is judged."""
    assert fault(check_csv(list(PRODUCT), cells)) == RowFault(2, WHOLE_ROW, reason)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"sku": "A"', "is not well-formed JSON"),
        (b"sku,name", "is not well-formed JSON"),
        (b'{"a": NaN}', "is not well-formed JSON"),
        (b'{"price": "1", "sku": "A", "price": "2"}', "names a member twice"),
        (b'{"attributes" : {"a":1, "a" :2}}', "names a member twice"),
        (b'{"sku": "\\ud800"}', "is not well-formed JSON"),
        (b"[" * 2_000, "is not well-formed JSON"),
        (b'["A"]', "is not a JSON object"),
        (b"12", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (("é😀" * 100).encode(), "is not well-formed JSON"),
    ],
)
def test_a_line_that_is_no_object_is_one_fault(line: bytes, reason: str) -> None:
    assert fault(check_json(line)) == RowFault(1, WHOLE_ROW, reason, line.decode()[:100])


def test_all_faults_of_a_row_are_told_in_the_order_of_its_columns() -> None:
    cells = {"stock": "-1", "name": "=1", "sku": "", "unit": "x" * 65, "farm": "12", "price": "9,"}
    assert [(fault.column, fault.value) for fault in check_cells(cells).faults] == [
        ("stock", "-1"),
        ("name", "=1"),
        ("sku", None),
        ("unit", "x" * 65),
        ("price", "9,"),
        ("category", None),
    ]
    record = {"stock": -1, "price": 4.5, "unit": 1, "sku": "A", "name": None}
    assert [(fault.column, fault.reason) for fault in check_json(record).faults] == [
        ("farm", "is required, unless farm_external_id is given"),
        ("name", "is required"),
        ("category", "is required"),
        (
            "price",
            'is not exact as a JSON number with decimals; write it as a string, like "4.50"',
        ),
        ("unit", "must be a string"),
        ("stock", "must be at least 0"),
    ]


def test_a_row_has_ten_faults_at_most() -> None:
    cells = {**PRODUCT, **{f"attributes.a{n}": "=x" for n in range(20)}}
    columns = [fault.column for fault in check_cells(cells).faults]
    assert columns == [f"attributes.a{n}" for n in range(10)]


def test_faults_bear_the_names_of_the_file() -> None:
    headings = ["Betrieb", "Artikel", "Bezeichnung", "Gruppe", "Preis"]
    found = check_csv(list(PRODUCT), ["", "", "=x", "eggs", "1e3"], headings=headings)
    assert [fault.column for fault in found.faults] == [
        "Betrieb",
        "Artikel",
        "Bezeichnung",
        "Preis",
    ]
    record = {**JSON_PRODUCT, "name": None, "title": 7}
    assert fault(check_json(record, members={"name": "title"})).column == "title"
    assert (
        product(check_json({**record, "title": "Eggs"}, members={"name": "title"})).name == "Eggs"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=" + "é" * 200, "=" + "é" * 99),
        ("=a\tb\nc\x1b[31m\u202e", "=a b c�[31m�"),
        ("\t=a", " =a"),
    ],
)
def test_values_are_shown_as_one_short_printable_line(value: str, shown: str) -> None:
    assert fault(check_cells({**PRODUCT, "name": value})).value == shown


def test_values_of_any_kind_are_shown() -> None:
    deep: object = []
    for _ in range(200):
        deep = [deep]
    assert fault(check_json({**JSON_PRODUCT, "sku": {"a": [1]}})).value == '{"a":[1]}'
    assert fault(check_json({**JSON_PRODUCT, "sku": deep})).value == "[" * 100
    line = orjson.dumps(JSON_PRODUCT)[:-1] + b',"unit":' + b"[" * 500 + b"]" * 500 + b"}"
    assert fault(check_json(line)).value == "[…]"
