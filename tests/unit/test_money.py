"""Prices: exact or refused, with each currency's own decimals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.catalog.money import MAX_MINOR, exponent_of, format_price, is_currency, parse_price

_CURRENCIES = st.sampled_from(["JPY", "USD", "KWD"])


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("0", "USD", 0),
        ("2.5", "USD", 250),
        ("2.50", "USD", 250),
        ("2.500000", "USD", 250),
        ("0.01", "USD", 1),
        ("0.29", "USD", 29),  # 28.999999999999996 as a float
        ("9999999999999.99", "USD", 999_999_999_999_999),
        ("9999999999999.99", "USD", MAX_MINOR),
        ("150", "JPY", 150),
        ("150.0", "JPY", 150),
        ("1.234", "KWD", 1234),
        ("1.2", "KWD", 1200),
    ],
)
def test_an_amount_becomes_minor_units(text: str, currency: str, minor: int) -> None:
    """Nothing is rounded, and needless zeros do no harm."""
    assert parse_price(text, currency) == minor


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("0.005", "USD"),
        ("0.5", "JPY"),
        ("1.2345", "KWD"),
        ("10000000000000.01", "USD"),
        ("1000000000000000", "USD"),
        *(
            (text, "USD")
            for text in (
                "", " ", "-1", "+1", "1.", ".5", "1,50", "1 000", "1e3", "0x10", "NaN", "Infinity",
                "1_000", "1.0000000", "１２", "٣.٥", "²", " 1", "1 ", "1\n", "9" * 16,
            )
        ),
    ],
)  # fmt: skip
def test_what_a_currency_cannot_express_is_refused(text: str, currency: str) -> None:
    """Fractions of a minor unit, other notations, other alphabets' digits, and too much."""
    assert parse_price(text, currency) is None


@given(minor=st.integers(0, MAX_MINOR), currency=_CURRENCIES)
def test_a_price_survives_the_way_out_and_in(minor: int, currency: str) -> None:
    """Formatted with exactly the currency's decimals, and worth the same as a number."""
    text = format_price(minor, currency)
    exponent = exponent_of(currency)
    assert parse_price(text, currency) == minor
    assert Decimal(text).scaleb(exponent) == minor
    assert len(text.partition(".")[2]) == exponent


@given(text=st.from_regex(r"[0-9]{1,15}(\.[0-9]{1,6})?", fullmatch=True), currency=_CURRENCIES)
def test_only_exact_amounts_are_taken(text: str, currency: str) -> None:
    """Against the standard library's decimals."""
    exact = Decimal(text).scaleb(exponent_of(currency))
    if exact == exact.to_integral_value() and exact <= MAX_MINOR:
        assert parse_price(text, currency) == exact
    else:
        assert parse_price(text, currency) is None


def test_only_active_currencies_exist() -> None:
    """Codes are upper-case; metals, test codes and retired ones are none."""
    assert all(is_currency(code) for code in ("EUR", "USD", "JPY", "KWD", "ISK", "CHF"))
    assert not any(is_currency(code) for code in ("eur", "XAU", "XXX", "XTS", "DEM", "", "US"))
