"""Amounts of money as files write them. What could mean two amounts is refused, with what to write.

A sign that may separate thousands in one country and decimals in the next is never interpreted:
an import says once which mark its decimals have, and its amounts have no thousands separators.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from models.catalog.money import exponent_of, format_price, is_currency, parse_price
from models.imports.checking.said import Refused
from models.imports.options import DecimalMark

__all__ = ["Amounts", "read_currency"]

_WHOLE_DIGITS: Final = 13
_THOUSANDS: Final = 3
_AMOUNT: Final = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,6}))?")
_DIGITS: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_ONE_SIDED: Final = re.compile(r"[0-9]+\.|\.[0-9]+")
_SCIENTIFIC: Final = re.compile(r"[0-9.,]+[eE][+-]?[0-9]+")
_MARKS: Final = {DecimalMark.POINT: ".", DecimalMark.COMMA: ","}
_OTHER: Final = {
    DecimalMark.POINT: DecimalMark.COMMA,
    DecimalMark.COMMA: DecimalMark.POINT,
}
_SWAP: Final = str.maketrans(".,", ",.")


def read_currency(code: str) -> str:
    """An ISO 4217 code. Raises ``Refused``."""
    if is_currency(code):
        return code
    if is_currency(code.upper()):
        raise Refused(f"must be in upper case: {code.upper()}")
    raise Refused("is not an ISO 4217 currency")


class Amounts:
    """The amounts of one file. ``currency`` is what its examples are in."""

    def __init__(self, mark: DecimalMark, currency: str) -> None:
        self._mark = mark
        self._currency = currency

    def read(self, text: str, currency: str | None) -> int:
        """Minor units of this currency. Raises ``Refused``.

        ``currency`` is ``None`` while it is not known; then the amount is checked as far as can be,
        and worth nothing.
        """
        decimal = self._decimal(text)
        # The usual amount is short, and without the three decimals that could be thousands.
        if currency is not None and len(decimal) <= _WHOLE_DIGITS and decimal[-4:-3] != ".":
            minor = parse_price(decimal, currency)
            if minor is not None:
                return minor
        match = _AMOUNT.fullmatch(decimal)
        if match is None:
            raise Refused(self._unreadable(text, decimal, currency or self._currency))
        if currency is None:
            return 0
        whole, decimals = match.groups()
        if decimals is not None and len(decimals) > exponent_of(currency):
            self._refuse_thousands(whole, decimals, currency)
        minor = parse_price(decimal, currency)
        if minor is not None:
            return minor
        if decimals is not None and decimals[exponent_of(currency) :].strip("0"):
            raise Refused(self._too_fine(currency))
        raise Refused(f"is too large for an amount of {currency}")

    def _decimal(self, text: str) -> str:
        """With a point, where the file's mark stands; the other mark becomes no point."""
        return text if self._mark is DecimalMark.POINT else _swapped(text)

    def _example(self, currency: str) -> str:
        minor = 12345 * 10 ** exponent_of(currency) // 10
        example = format_price(minor, currency).replace(".", _MARKS[self._mark])
        return f"write it like {example}"

    def _refuse_thousands(self, whole: str, decimals: str, currency: str) -> None:
        # 1.000 is a thousand in half of the world, and 500.00 the same everywhere.
        if len(decimals) == _THOUSANDS >= len(whole) and whole[0] != "0":
            raise Refused(
                f"has three digits after the {self._mark}, which may be thousands or decimals; "
                + self._example(currency)
            )

    def _too_fine(self, currency: str) -> str:
        has = f"only {exponent}" if (exponent := exponent_of(currency)) else "none"
        return f"has more decimals than {currency}, which has {has}; {self._example(currency)}"

    def _unreadable(self, text: str, decimal: str, currency: str) -> str:
        digits = _DIGITS.fullmatch(decimal)
        if digits is None:
            return f"{self._what_is_wrong(text, decimal)}; {self._write_instead(text, currency)}"
        if len(digits[1]) > _WHOLE_DIGITS:
            return f"is too large: at most {_WHOLE_DIGITS} digits may stand before the decimals"
        return self._too_fine(currency)

    def _write_instead(self, text: str, currency: str) -> str:
        other = _OTHER[self._mark]
        if _AMOUNT.fullmatch(_swapped(text) if other is DecimalMark.COMMA else text):
            # The whole file is likely to be written so.
            return f"{self._example(currency)}, or import the file with decimal={other}"
        return self._example(currency)

    def _what_is_wrong(self, text: str, decimal: str) -> str:
        if text.startswith(("=", "@")):
            return "begins like a spreadsheet formula"
        if text.startswith("-"):
            return "must not be negative"
        if _SCIENTIFIC.fullmatch(text):
            return "must not be in scientific notation"
        if any(character.isdigit() and not character.isascii() for character in text):
            return "must be written with the digits 0 to 9"
        if any(map(_is_word_or_currency, text)):
            return "must be the number alone, without a currency or words"
        if any(map(str.isspace, text)):
            return "must not contain spaces"
        if "," in decimal:
            return f"contains a {_OTHER[self._mark]}, which may separate thousands or decimals"
        if _ONE_SIDED.fullmatch(decimal):
            return f"needs digits before and after the {self._mark}"
        return "is not an amount"


def _swapped(text: str) -> str:
    return text.translate(_SWAP)


def _is_word_or_currency(character: str) -> bool:
    return character.isalpha() or unicodedata.category(character) == "Sc"
