"""Numbers written as text: in cells and as defaults. None is guessed, none is rounded."""

from __future__ import annotations

import re
from typing import Final

from models.imports.checking.said import Refused
from models.imports.options import DecimalMark

__all__ = ["read_degrees", "read_whole"]

_WHOLE: Final = re.compile(r"(-?)0*([0-9]+)")
_DEGREES: Final = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,40})?")


def read_whole(text: str, least: int, most: int, otherwise: str) -> int:
    """A whole number in ASCII digits. Raises ``Refused``; ``otherwise`` says what is expected."""
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise Refused(otherwise)
    sign, digits = match.groups()
    # Python refuses to convert thousands of digits.
    number = int(sign + digits) if len(digits) <= len(str(most)) else int(f"{sign}{most}") * 10
    if number < least:
        raise Refused(f"must be at least {least}")
    if number > most:
        raise Refused(f"must be at most {most}")
    return number


def read_degrees(text: str, mark: DecimalMark) -> float:
    """A coordinate. Raises ``Refused``.

    Where amounts have a decimal comma, either mark will do: degrees have no thousands.
    """
    if mark is DecimalMark.COMMA:
        text = text.replace(",", ".")
    if _DEGREES.fullmatch(text) is None:
        example = "-72.14" if mark is DecimalMark.POINT else "-72,14"
        raise Refused(f"must be degrees as a decimal number, like {example}")
    return float(text)
