"""Units that meet other writers of the same products: run again until nobody comes between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from models.database import DuplicateKey, ForeignKey, retrying

__all__ = ["repeating"]

T = TypeVar("T")
_ATTEMPTS: Final = 4


async def repeating(unit: Callable[[], Awaitable[T]]) -> T:
    """Run a unit again after a deadlock, and when another writer made or deleted what it needs."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await retrying(unit)
        except (DuplicateKey, ForeignKey):
            continue
    return await retrying(unit)
