"""What stands for a list's values in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

__all__ = ["literal_bytes", "padded", "placeholders"]

T = TypeVar("T")


def placeholders(values: Iterable[object]) -> str:
    """As many ``%s`` as there are values, with commas between; drivers' own marks come later."""
    return ", ".join("%s" for _ in values)


def padded(values: Sequence[T]) -> list[T]:
    """As many as the next power of two, the last of them repeated; at least one must be there.

    So that a statement is kept ready for few lengths of a list, and not for each.
    """
    number = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (number - len(values))]


def literal_bytes(value: bytes) -> str:
    """The value itself, in hexadecimal, which all our databases read. For long ones: a driver
    encodes a statement that has bytes among its values character by character."""
    return f"x'{value.hex()}'"
