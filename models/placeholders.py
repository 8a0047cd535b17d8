"""What stands for a list's values in SQL."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["literal_bytes", "placeholders"]


def placeholders(values: Iterable[object]) -> str:
    """As many ``%s`` as there are values, with commas between; drivers' own marks come later."""
    return ", ".join("%s" for _ in values)


def literal_bytes(value: bytes) -> str:
    """The value itself, in hexadecimal, which all our databases read. For long ones: a driver
    encodes a statement that has bytes among its values character by character."""
    return f"x'{value.hex()}'"
