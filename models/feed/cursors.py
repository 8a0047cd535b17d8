"""A follower's place in the feed, and the opaque cursor that carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from coordination.errors import InvalidCursor
from models.catalog.cursors import digest_of, read_cursor, sign_cursor

__all__ = ["Place", "place_of", "since"]

# What a cursor is bound to: there is one feed, so one of any list is foreign.
_DIGEST: Final = digest_of(b"/v1/products/changes")


@dataclass(frozen=True, slots=True)
class Place:
    """``after``: the number of the last change seen.

    In the snapshot it is how far the feed had come before the snapshot began, and ``product`` the
    last product of it so far; ``None`` once it is complete.
    """

    after: int
    product: UUID | None = None


def since(place: Place, secrets: Sequence[str]) -> str:
    """The cursor that goes on from this place; the first secret signs."""
    product = None if place.product is None else place.product.hex
    return sign_cursor(_DIGEST, (place.after, product), secrets)


def place_of(cursor: str, secrets: Sequence[str]) -> Place:
    """The place in the cursor. Raises ``InvalidCursor``, which names ``since``."""
    try:
        position = read_cursor(_DIGEST, cursor, secrets)
    except InvalidCursor:
        raise InvalidCursor("is not a cursor of this feed", parameter="since") from None
    if position is None:
        raise ValueError("a cursor has a position")
    after, product = position
    return Place(int(after), None if product is None else UUID(hex=product))
