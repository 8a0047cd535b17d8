"""Why a file cannot be read, and where."""

from __future__ import annotations

from typing import Final

from coordination.errors import FieldError, InvalidInput

__all__ = ["HEADING", "WHOLE_FILE", "refused", "row_pointer", "too_long", "too_many_lines"]

WHOLE_FILE: Final = ""
HEADING: Final = "/header"


def refused(pointer: str, *reasons: str) -> InvalidInput:
    """The refusal of a file for what stands at one place of it."""
    return InvalidInput([FieldError("pointer", pointer, reason) for reason in reasons])


def row_pointer(row: int) -> str:
    """The place that is this row."""
    return f"/rows/{row}"


def too_long(most_bytes: int, *, is_quoted: bool = False) -> str:
    """The reason against a record of more than ``most_bytes``."""
    hint = "; is a quote never closed?" if is_quoted else ""
    return f"is longer than {most_bytes} bytes{hint}"


def too_many_lines(most: int) -> str:
    """The reason against a record, whole or not, that takes more than ``most`` lines."""
    return f"takes more than {most} lines; is a quote never closed?"
