"""What the shop acknowledged and what it left in doubt, product by product, event by event.

A request without a clear yes is *in doubt*: it may have been carried out, now or later. Nothing
here asks the shop; ``judging`` compares these accounts with its database.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

__all__ = ["Acknowledged", "Delivery", "Item", "OlderRead", "older_reads", "shown"]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that was answered with success: the version it made, and when (load's clock)."""

    version: int
    value: int
    at: float


@dataclass(slots=True)
class Item:
    """A product that this load alone changes, either by writes or by webhooks."""

    id: UUID
    sku: str
    version: int
    """When the load began."""
    acknowledged: list[Acknowledged] = field(default_factory=list)
    """In the order of the answers."""
    in_doubt: list[int] = field(default_factory=list)
    """Values of writes without a clear answer."""
    occurred_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def happening(self) -> datetime:
        """The time of the next event about it: now, and later than the one before."""
        self.occurred_at = max(datetime.now(UTC), self.occurred_at + timedelta(microseconds=1))
        return self.occurred_at

    def newer_than(self, version: int) -> Acknowledged | None:
        """The first acknowledged write beyond this version."""
        place = bisect_right(self.acknowledged, version, key=lambda entry: entry.version)
        return self.acknowledged[place] if place < len(self.acknowledged) else None


@dataclass(slots=True)
class Delivery:
    """An event: whose, its signed id, and what it says. ``accepted``: the partner was told so."""

    item: Item
    event_id: str
    value: int
    occurred_at: datetime
    accepted: bool = False

    def body(self, farm: int) -> bytes:
        return orjson.dumps(
            {
                "type": "inventory.updated",
                "occurred_at": self.occurred_at.isoformat(),
                "data": {"farm": farm, "sku": self.item.sku, "stock": self.value},
            }
        )


@dataclass(frozen=True, slots=True)
class OlderRead:
    """An answer showed a version although a newer one had been acknowledged before it was asked."""

    kind: str
    product_id: UUID
    seen: int
    acknowledged: int
    asked_at: float
    behind_s: float
    """How long before the question the newer one had been acknowledged."""


def shown(body: bytes) -> list[dict[str, Any]]:
    """The products in an answer, which is one of them or a list."""
    document = orjson.loads(body)
    products: list[dict[str, Any]] = document.get("data", [document])
    return products


def older_reads(
    items: dict[str, Item], kind: str, asked_at: float, products: Iterable[dict[str, Any]]
) -> Iterable[OlderRead]:
    """Which of the products in an answer were shown as outdated when it was asked for."""
    for product in products:
        item = items.get(product["id"])
        newer = item and item.newer_than(product["version"])
        if item and newer and newer.at < asked_at:
            yield OlderRead(
                kind, item.id, product["version"], newer.version, asked_at, asked_at - newer.at
            )
