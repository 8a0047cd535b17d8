"""Query parameters: each known, given once, well-formed; anything else is a 400 that names it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from coordination.errors import FieldError, InvalidInput

__all__ = [
    "Parameters",
    "boolean",
    "integer",
    "one_of",
    "path_integer",
    "path_slug",
    "path_uuid",
    "text",
]

T = TypeVar("T")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SLUG: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MOST_PARAMETERS: Final = 50
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Parameters:
    """The parsed query string of one request; collects every fault before it raises."""

    def __init__(self, query_string: str, known: Collection[str]) -> None:
        """Raises ``InvalidInput`` naming unknown, repeated or undecodable parameters."""
        self._errors: list[FieldError] = []
        self._given: dict[str, str] = {}
        if _BAD_ESCAPE.search(query_string):
            raise _undecodable()
        try:
            pairs = parse_qsl(
                query_string,
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MOST_PARAMETERS,
            )
        except UnicodeDecodeError:
            raise _undecodable() from None
        except ValueError:
            detail = f"has more than {_MOST_PARAMETERS} parameters"
            raise InvalidInput([FieldError("parameter", "query", detail)]) from None
        for name, value in pairs:
            if name in known and name not in self._given:
                self._given[name] = value
                continue
            shown = _CONTROL.sub("?", name)[:64]
            if name in known:
                self.refuse(shown, "is given more than once")
            else:
                self.refuse(shown, "is not a parameter of this resource")

    def read(self, name: str, reader: Callable[[str], T]) -> T | None:
        """Its value, or ``None`` when absent; ``reader`` raises ``ValueError`` with our text."""
        if name not in self._given:
            return None
        try:
            return reader(self._given[name])
        except ValueError as error:
            self.refuse(name, str(error))
            return None

    def refuse(self, name: str, detail: str) -> None:
        """Note a fault."""
        self._errors.append(FieldError("parameter", name, detail))

    def check(self) -> None:
        """Raises ``InvalidInput`` when there was any fault."""
        if self._errors:
            raise InvalidInput(self._errors)


def _undecodable() -> InvalidInput:
    return InvalidInput([FieldError("parameter", "query", "is not valid URL encoding of UTF-8")])


def text(longest: int) -> Callable[[str], str]:
    """Non-empty text without control characters, outer spaces removed."""

    def read(value: str) -> str:
        if _CONTROL.search(value):
            raise ValueError("must not contain control characters")
        if len(value) > longest:
            raise ValueError(f"must be at most {longest} characters long")
        stripped = value.strip()
        if not stripped:
            raise ValueError("must not be empty")
        return stripped

    return read


def integer(least: int, most: int) -> Callable[[str], int]:
    """A decimal integer within bounds."""

    def read(value: str) -> int:
        if re.fullmatch(r"\d{1,19}", value, re.ASCII) and least <= int(value) <= most:
            return int(value)
        raise ValueError(f"must be an integer from {least} to {most}")

    return read


def one_of(allowed: Iterable[str]) -> Callable[[str], str]:
    """One of a few words."""
    words = list(allowed)

    def read(value: str) -> str:
        if value in words:
            return value
        raise ValueError(f"must be one of {', '.join(words)}")

    return read


def boolean(value: str) -> bool:
    """``true`` or ``false``."""
    return one_of(["true", "false"])(value) == "true"


def path_uuid(name: str, value: str) -> UUID:
    """A hyphenated UUID from the path. Raises ``InvalidInput``."""
    if not _UUID.fullmatch(value):
        raise InvalidInput([FieldError("parameter", name, "must be a hyphenated UUID")])
    return UUID(value)


def path_integer(name: str, value: str) -> int:
    """A positive integer id from the path. Raises ``InvalidInput``."""
    if re.fullmatch(r"[1-9]\d{0,17}", value, re.ASCII):
        return int(value)
    raise InvalidInput([FieldError("parameter", name, "must be a positive integer")])


def path_slug(name: str, value: str) -> str:
    """A slug from the path. Raises ``InvalidInput``."""
    if len(value) <= 80 and _SLUG.fullmatch(value):
        return value
    raise InvalidInput(
        [FieldError("parameter", name, "must be lower-case words joined by hyphens")]
    )
