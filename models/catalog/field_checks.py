"""Checks of single fields of a category or a farm, gathered so that one answer names all faults."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Final

from coordination.errors import FieldError, InvalidInput

__all__ = ["FieldChecks"]

_SLUG: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SLUG_CHARACTERS: Final = 80


class FieldChecks:
    """Reads fields out of a parsed JSON object; ``raise_if_any`` ends it.

    A reading method returns a usable value only when no fault was found: call ``raise_if_any``
    before using any of them. A pointer is a JSON pointer (RFC 6901).
    """

    def __init__(self, given: Mapping[str, object], known: Collection[str]) -> None:
        self.given = given
        self.errors: list[FieldError] = []
        for name in given:
            if name not in known:
                self.fault(name, "is not a field of this resource")

    def fault(self, name: str, detail: str) -> None:
        """Note that this field is wrong."""
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        self.errors.append(FieldError("pointer", pointer, detail))

    def raise_if_any(self) -> None:
        """Raises ``InvalidInput`` with every fault noted."""
        if self.errors:
            raise InvalidInput(self.errors)

    def text(self, name: str, most: int) -> str:
        """Required text of 1 to ``most`` characters, none of them a control character."""
        value = self.given.get(name)
        if not isinstance(value, str):
            self.fault(name, "is required and must be text")
            return ""
        if not 1 <= len(value) <= most:
            self.fault(name, f"must have 1 to {most} characters")
        # Some of our databases compare names without trailing spaces, others with them.
        elif value != value.strip():
            self.fault(name, "must not begin or end with white space")
        elif any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
            self.fault(name, "must not hold control characters")
        return value

    def optional_text(self, name: str, most: int) -> str | None:
        """The same, or nothing."""
        return None if self.given.get(name) is None else self.text(name, most)

    def slug(self, name: str) -> str:
        """Required: lower-case words of letters and digits joined by hyphens, not all digits."""
        value = self.given.get(name)
        if not isinstance(value, str):
            self.fault(name, "is required and must be text")
            return ""
        if len(value) > _SLUG_CHARACTERS or not _SLUG.fullmatch(value):
            self.fault(
                name,
                f"must be at most {_SLUG_CHARACTERS} lower-case letters and digits,"
                " in words joined by single hyphens",
            )
        elif value.isdigit():
            self.fault(name, "must not be all digits: ids are")
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        """An optional number within bounds."""
        value = self.given.get(name)
        if value is None:
            return None
        # A JSON true is an int in Python.
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fault(name, "must be a number")
            return None
        if not least <= value <= most:
            self.fault(name, f"must be {least:g} to {most:g}")
            return None
        return float(value)
