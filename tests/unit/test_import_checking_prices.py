"""Prices in files: exact amounts, and for anything that could mean two what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.catalog.money import MAX_MINOR, format_price
from models.imports.checking.prices import Amounts
from models.imports.checking.said import Refused
from models.imports.options import DecimalMark
from tests.unit.test_import_checking import check_cells, check_json

_POINT, _COMMA = DecimalMark.POINT, DecimalMark.COMMA
_LIKE = "; write it like 1234.50"
_ROW = {"farm": "12", "sku": "A", "name": "Eggs", "category": "eggs"}


@pytest.mark.parametrize(
    ("text", "currency", "mark", "minor"),
    [
        ("4.50", "USD", _POINT, 450),
        ("4.5", "USD", _POINT, 450),
        ("4", "USD", _POINT, 400),
        ("1234.00", "USD", _POINT, 123_400),
        ("0004.50", "USD", _POINT, 450),
        ("0", "USD", _POINT, 0),
        ("0.500", "USD", _POINT, 50),
        ("4.5000", "USD", _POINT, 450),
        ("1234.500", "USD", _POINT, 123_450),
        ("9999999999999.99", "USD", _POINT, MAX_MINOR),
        ("4,50", "EUR", _COMMA, 450),
        ("4", "EUR", _COMMA, 400),
        ("1234,5", "EUR", _COMMA, 123_450),
        ("450", "JPY", _POINT, 450),
        ("450.00", "JPY", _POINT, 450),
        ("4.505", "KWD", _POINT, 4_505),
        ("4,505", "KWD", _COMMA, 4_505),
        ("1.000", "KWD", _POINT, 1_000),
    ],
)
def test_amounts(text: str, currency: str, mark: DecimalMark, minor: int) -> None:
    assert Amounts(mark, "USD").read(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "4,50",
            "contains a comma, which may separate thousands or decimals; write it like 1234.50,"
            " or import the file with decimal=comma",
        ),
        (
            "1,000",
            "contains a comma, which may separate thousands or decimals; write it like 1234.50,"
            " or import the file with decimal=comma",
        ),
        ("1,234.50", "contains a comma, which may separate thousands or decimals" + _LIKE),
        ("1.234,50", "contains a comma, which may separate thousands or decimals" + _LIKE),
        ("1.000", "has three digits after the point, which may be thousands or decimals" + _LIKE),
        ("4.505", "has three digits after the point, which may be thousands or decimals" + _LIKE),
        ("0.505", "has more decimals than USD, which has only 2" + _LIKE),
        ("1234.505", "has more decimals than USD, which has only 2" + _LIKE),
        ("4.5051", "has more decimals than USD, which has only 2" + _LIKE),
        ("4.5000000", "has more decimals than USD, which has only 2" + _LIKE),
        ("$4.50", "must be the number alone, without a currency or words" + _LIKE),
        ("4.50 €", "must be the number alone, without a currency or words" + _LIKE),
        ("4.50 USD", "must be the number alone, without a currency or words" + _LIKE),
        ("on request", "must be the number alone, without a currency or words" + _LIKE),
        ("1e3", "must not be in scientific notation" + _LIKE),
        ("4,5E+02", "must not be in scientific notation" + _LIKE),
        ("-1", "must not be negative" + _LIKE),
        ("٤", "must be written with the digits 0 to 9" + _LIKE),
        ("４.50", "must be written with the digits 0 to 9" + _LIKE),
        ("1 234", "must not contain spaces" + _LIKE),
        ("1\u00a0234.50", "must not contain spaces" + _LIKE),
        ("=A1*2", "begins like a spreadsheet formula" + _LIKE),
        ("@1", "begins like a spreadsheet formula" + _LIKE),
        ("4.", "needs digits before and after the point" + _LIKE),
        (".5", "needs digits before and after the point" + _LIKE),
        ("+4.50", "is not an amount" + _LIKE),
        ("1'234.50", "is not an amount" + _LIKE),
        ("1.2.3", "is not an amount" + _LIKE),
        ("#", "is not an amount" + _LIKE),
        ("10000000000000", "is too large: at most 13 digits may stand before the decimals"),
        ("9" * 5_000, "is too large: at most 13 digits may stand before the decimals"),
    ],
)
def test_what_is_no_amount_of_dollars(text: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        Amounts(_POINT, "USD").read(text, "USD")
    assert str(refused.value) == reason
    found = check_cells({**_ROW, "price": text}).faults
    assert [(fault.column, fault.reason) for fault in found] == [("price", reason)]


@pytest.mark.parametrize(
    ("text", "currency", "mark", "reason"),
    [
        (
            "4.50",
            "EUR",
            _COMMA,
            "contains a point, which may separate thousands or decimals; write it like 1234,50,"
            " or import the file with decimal=point",
        ),
        (
            "1.234,50",
            "EUR",
            _COMMA,
            "contains a point, which may separate thousands or decimals; write it like 1234,50",
        ),
        (
            "1,000",
            "EUR",
            _COMMA,
            "has three digits after the comma, which may be thousands or decimals;"
            " write it like 1234,50",
        ),
        (",5", "EUR", _COMMA, "needs digits before and after the comma; write it like 1234,50"),
        (
            "1.000",
            "JPY",
            _POINT,
            "has three digits after the point, which may be thousands or decimals;"
            " write it like 1234",
        ),
        ("4.5", "JPY", _POINT, "has more decimals than JPY, which has none; write it like 1234"),
        (
            "4.5055",
            "KWD",
            _POINT,
            "has more decimals than KWD, which has only 3; write it like 1234.500",
        ),
        ("9999999999999.999", "KWD", _POINT, "is too large for an amount of KWD"),
        (
            "10000000000000",
            "JPY",
            _POINT,
            "is too large: at most 13 digits may stand before the decimals",
        ),
    ],
)
def test_what_is_no_amount_elsewhere(
    text: str, currency: str, mark: DecimalMark, reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        Amounts(mark, "USD").read(text, currency)
    assert str(refused.value) == reason


@given(
    minor=st.integers(min_value=0, max_value=10**13 - 1),
    currency=st.sampled_from(["USD", "JPY", "KWD"]),
    mark=st.sampled_from(DecimalMark),
)
def test_amounts_as_we_write_them_are_read_as_they_were(
    minor: int, currency: str, mark: DecimalMark
) -> None:
    text = format_price(minor, currency)
    if mark is _COMMA:
        text = text.replace(".", ",")
    assert Amounts(mark, "USD").read(text, currency) == minor


@given(st.text(alphabet="0123456789.,- $eE٤\u00a0", max_size=12))
def test_the_same_text_never_means_two_amounts(text: str) -> None:
    """What both marks take is what has neither."""
    found = []
    for mark in DecimalMark:
        try:
            found.append(Amounts(mark, "USD").read(text, "USD"))
        except Refused:
            continue
    assert len(found) < 2 or (text.isascii() and text.isdigit())


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        (
            4.5,
            'is not exact as a JSON number with decimals; write it as a string, like "4.50"',
        ),
        (
            4.0,
            'is not exact as a JSON number with decimals; write it as a string, like "4.50"',
        ),
        (True, 'must be a string, like "4.50", or an integer'),
        ({"amount": 4}, 'must be a string, like "4.50", or an integer'),
        (-4, "must not be negative" + _LIKE),
        (" 4.50", "must not contain spaces" + _LIKE),
        ("", "is not an amount" + _LIKE),
    ],
)
def test_prices_of_json(price: object, reason: str) -> None:
    (found,) = check_json({**_ROW, "farm": 12, "price": price}).faults
    assert (found.column, found.reason) == ("price", reason)


def test_an_integer_of_json_counts_the_currency_not_its_minor_units() -> None:
    record = {**_ROW, "farm": 12, "price": 4, "currency": "KWD"}
    (row,) = check_json(record).products
    assert (row.price_minor, row.currency) == (4_000, "KWD")


def test_an_amount_is_in_the_currency_of_its_row() -> None:
    (row,) = check_cells(
        {**_ROW, "price": "4,505", "currency": "KWD"}, decimal_mark=_COMMA
    ).products
    assert (row.price_minor, row.currency) == (4_505, "KWD")
    (row,) = check_cells({**_ROW, "price": "450", "currency": ""}, currency="JPY").products
    assert (row.price_minor, row.currency) == (450, "JPY")


def test_an_amount_of_an_unknown_currency_is_judged_as_far_as_can_be() -> None:
    """How many decimals there may be is not known then."""
    found = check_cells({**_ROW, "price": "4.505", "currency": "usd"}).faults
    assert [fault.column for fault in found] == ["currency"]
    found = check_cells({**_ROW, "price": "4,50", "currency": "usd"}).faults
    assert [fault.column for fault in found] == ["price", "currency"]
