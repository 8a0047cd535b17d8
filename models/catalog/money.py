"""Prices: integer minor units inside, decimal strings outside, ISO 4217 exponents between.

An amount that the currency cannot express exactly is refused, never rounded.
"""

from __future__ import annotations

import re
from typing import Final

from coordination.currencies import EXPONENTS

__all__ = ["CURRENCIES", "exponent_of", "format_price", "is_currency", "parse_price"]

MAX_MINOR: Final = 10**15 - 1
_DECIMAL: Final = re.compile(r"(\d{1,15})(?:\.(\d{1,6}))?", re.ASCII)

CURRENCIES: Final = tuple(sorted(EXPONENTS))


def is_currency(code: str) -> bool:
    """Whether ``code`` is an active ISO 4217 currency."""
    return code in EXPONENTS


def exponent_of(currency: str) -> int:
    """Decimals of a currency; ``KeyError`` for one that ``is_currency`` denies."""
    return EXPONENTS[currency]


def parse_price(text: str, currency: str) -> int | None:
    """Minor units, or ``None`` when the text is no amount this currency can express exactly."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return None
    exponent = exponent_of(currency)
    whole, fraction = match.group(1), match.group(2) or ""
    if fraction[exponent:].strip("0"):
        return None
    minor = int(whole + fraction[:exponent].ljust(exponent, "0"))
    return minor if minor <= MAX_MINOR else None


def format_price(minor: int, currency: str) -> str:
    """The decimal string with exactly the currency's decimals."""
    exponent = EXPONENTS[currency]
    if exponent == 0:
        return str(minor)
    digits = str(minor).zfill(exponent + 1)
    return f"{digits[:-exponent]}.{digits[-exponent:]}"
