"""Checking chunks, whatever they hold: valid products come back, and nothing raises."""

from __future__ import annotations

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from models.catalog.money import format_price
from models.imports.checking import check_chunk
from models.imports.checking.chunk_checks import check_records
from models.imports.layout import Layout
from models.imports.options import (
    FARM_FIELDS,
    PRODUCT_FIELDS,
    DecimalMark,
    FileFormat,
    ImportOptions,
    Subject,
)
from models.imports.row_values import FarmRef, ProductRow
from models.reports.product_rows import canonical

_FIELDS = (*PRODUCT_FIELDS[:-1], "attributes.origin", "attributes.Größe")
_PRINTABLE = st.characters(exclude_categories=["Cc", "Cs"])


def _lines(most: int) -> st.SearchStrategy[str]:
    """Text of one line, not surrounded by white space and not like a formula."""
    return st.text(_PRINTABLE, min_size=1, max_size=most).filter(
        lambda text: text == text.strip() and text[0] not in "=@+-"
    )


def _maybe(values: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.none() | values


@st.composite
def _products(draw: st.DrawFn) -> tuple[ProductRow, dict[str, str]]:
    by_id = draw(st.booleans())
    is_placed = draw(st.booleans())
    degrees = st.floats(-90, 90).map(lambda number: round(number, 6))
    farm = FarmRef(
        id=draw(st.integers(1, 2**53 - 1)) if by_id else None,
        external_id=None if by_id else draw(_lines(64)),
        name=draw(_maybe(_lines(200))),
        city=draw(_maybe(_lines(120))),
        state=draw(_maybe(_lines(120))),
        latitude=draw(degrees) if is_placed else None,
        longitude=draw(degrees) if is_placed else None,
    )
    members = {name: draw(_maybe(_lines(50))) for name in ("origin", "Größe")}
    attributes = {name: value for name, value in members.items() if value is not None}
    paragraphs = st.lists(_lines(80), min_size=1, max_size=3).map("\n".join)
    product = ProductRow(
        2,
        farm,
        draw(_lines(64)),
        draw(_lines(200)),
        draw(_lines(200)),
        draw(st.integers(0, 10**13 - 1)),
        draw(st.sampled_from(["USD", "JPY", "KWD"])),
        draw(_maybe(paragraphs)),
        draw(_maybe(_lines(64))),
        draw(st.none() | st.integers(0, 2**31 - 1)),
        canonical(attributes) if attributes else None,
    )
    values = {
        "farm": farm.id,
        "farm_external_id": farm.external_id,
        "farm_name": farm.name,
        "farm_city": farm.city,
        "farm_state": farm.state,
        "farm_latitude": None if farm.latitude is None else f"{farm.latitude:.6f}",
        "farm_longitude": None if farm.longitude is None else f"{farm.longitude:.6f}",
        "sku": product.sku,
        "name": product.name,
        "description": product.description,
        "category": product.category,
        "price": format_price(product.price_minor, product.currency),
        "currency": product.currency,
        "unit": product.unit,
        "stock": product.stock,
        **{f"attributes.{name}": value for name, value in members.items()},
    }
    return product, {name: "" if value is None else str(value) for name, value in values.items()}


@given(written=_products(), order=st.permutations(_FIELDS), delimiter=st.sampled_from(",;\t|"))
def test_a_product_written_out_comes_back(
    written: tuple[ProductRow, dict[str, str]], order: list[str], delimiter: str
) -> None:
    product, cells = written
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerow([cells[field] for field in order])
    options = ImportOptions(Subject.PRODUCTS, FileFormat.CSV, "EUR")
    layout = Layout(delimiter, tuple(order), tuple(order))
    checked = check_chunk(options, layout, 2, text.getvalue().encode())
    assert checked.faults == ()
    assert checked.products == (product,)


_HOSTILE = st.text(max_size=20) | st.text(
    alphabet='=@+-0123456789.,"{}[]\t\r\n eE\x00٤²', max_size=8
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_HOSTILE, inner, max_size=3),
    max_leaves=6,
)


def _fields_of(subject: Subject) -> tuple[str, ...]:
    if subject is Subject.FARMS:
        return FARM_FIELDS
    return (*PRODUCT_FIELDS, "attributes.origin")


@given(
    subject=st.sampled_from(Subject),
    mark=st.sampled_from(DecimalMark),
    cells=st.lists(_HOSTILE, min_size=17, max_size=17),
    default=_HOSTILE,
)
def test_no_cell_raises(
    subject: Subject, mark: DecimalMark, cells: list[str], default: str
) -> None:
    """Each record ends as a row or with faults that are fit to be shown."""
    fields = _fields_of(subject)
    defaults = {fields[0]: default, fields[-1]: default}
    options = ImportOptions(subject, FileFormat.CSV, "USD", decimal_mark=mark, defaults=defaults)
    layout = Layout(",", fields, fields)
    checked = check_records(options, layout, [(2, cells[: len(fields)]), (3, cells[:1])])
    assert {fault.row for fault in checked.faults} >= {3}
    assert len(checked.products) + len(checked.farms) <= 1
    for fault in checked.faults:
        assert fault.reason[0].islower()
        assert len(fault.reason) <= 500
        assert fault.value is None or (len(fault.value) <= 100 and fault.value.isprintable())


@given(subject=st.sampled_from(Subject), values=st.lists(_JSON, min_size=17, max_size=17))
def test_no_member_raises(subject: Subject, values: list[object]) -> None:
    fields = _fields_of(subject)
    options = ImportOptions(subject, FileFormat.NDJSON, "USD")
    layout = Layout(members={field: field for field in fields})
    record = dict(zip(fields, values, strict=False))
    checked = check_records(options, layout, [(1, json.dumps(record).encode())])
    assert checked.faults or checked.products or checked.farms


@given(st.binary(max_size=60))
def test_no_line_raises(line: bytes) -> None:
    options = ImportOptions(Subject.PRODUCTS, FileFormat.NDJSON, "USD")
    assert check_records(options, Layout(), [(1, line)]).faults
