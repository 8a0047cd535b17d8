"""What a committed change makes void, as it is written to the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import orjson

__all__ = ["Change", "everything_changed", "product_changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """The caches one commit makes void.

    ``product_ids``: single entries. ``category_ids``: categories whose lists (and their
    ancestors') show it; after a move, the old one and the new one. ``everything``: all entries,
    as after an import or when a category or farm that entries show was edited.
    """

    kind: str
    product_ids: tuple[UUID, ...] = ()
    category_ids: tuple[int, ...] = ()
    everything: bool = False

    def encode(self) -> str:
        """The outbox row's payload, without its kind."""
        return orjson.dumps(
            {
                "product_ids": [str(product_id) for product_id in self.product_ids],
                "category_ids": self.category_ids,
                "everything": self.everything,
            }
        ).decode()

    @classmethod
    def decode(cls, kind: str, payload: str) -> Change:
        """The inverse of ``encode``."""
        held = orjson.loads(payload)
        return cls(
            kind,
            tuple(UUID(text) for text in held["product_ids"]),
            tuple(held["category_ids"]),
            held["everything"],
        )


def product_changed(kind: str, product_id: UUID, *category_ids: int) -> Change:
    """A product was created, updated or deleted in these categories."""
    return Change(kind, (product_id,), tuple(dict.fromkeys(category_ids)))


def everything_changed(kind: str) -> Change:
    """Something changed that any entry may show."""
    return Change(kind, everything=True)
