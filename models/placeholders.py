"""What stands for a list's values in SQL."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["placeholders"]


def placeholders(values: Iterable[object]) -> str:
    """As many ``%s`` as there are values, with commas between; drivers' own marks come later."""
    return ", ".join("%s" for _ in values)
