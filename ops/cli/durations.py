"""Spans of time as people type them."""

from __future__ import annotations

import re
from typing import Final

from coordination.errors import FieldError, InvalidInput

__all__ = ["seconds_of"]

_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_FORM: Final = re.compile(r"([0-9]{1,9})([smhdw])")


def seconds_of(text: str, option: str) -> int:
    """``90s``, ``30m``, ``24h``, ``7d`` or ``2w`` in seconds; a plain ``0`` needs no unit.

    Raises ``InvalidInput`` naming ``option``: a bare number could mean anything.
    """
    if text.strip() == "0":
        return 0
    match = _FORM.fullmatch(text.strip().lower())
    if match is None:
        detail = f"{text!r} is not a span such as 90s, 30m, 24h or 7d"
        raise InvalidInput([FieldError("parameter", option, detail)])
    return int(match[1]) * _UNIT_S[match[2]]
