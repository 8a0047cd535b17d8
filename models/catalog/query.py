"""A product list query in its one canonical form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote_plus

import orjson

from models.catalog.cursors import digest_of

__all__ = ["ListQuery", "Order", "Sort"]


class Sort(StrEnum):
    """What a list can be ordered by; ties are broken by id."""

    CREATED_AT = "created_at"
    PRICE = "price"
    NAME = "name"
    RELEVANCE = "relevance"


class Order(StrEnum):
    """One direction for both columns."""

    ASC = "asc"
    DESC = "desc"


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Equal questions are equal values. Prices in minor units, ``category`` always a slug."""

    category: str | None = None
    farm: int | None = None
    q: str | None = None
    min_price: int | None = None
    max_price: int | None = None
    in_stock: bool | None = None
    sort: Sort = Sort.CREATED_AT
    order: Order = Order.DESC
    limit: int = 20
    cursor: str | None = None

    def canonical(self) -> str:
        """The normalised query whose md5 names the cache entry; ``parse`` reads it back."""
        return orjson.dumps(self).decode()

    @classmethod
    def parse(cls, canonical: str) -> ListQuery:
        """The inverse of ``canonical``."""
        held = orjson.loads(canonical)
        return cls(**{**held, "sort": Sort(held["sort"]), "order": Order(held["order"])})

    def digest(self) -> bytes:
        """What a cursor is bound to: filter and sort, not the page's size."""
        # Field by field, in their order: cursors of earlier releases are bound to these bytes.
        return digest_of(
            orjson.dumps(
                {
                    "category": self.category,
                    "farm": self.farm,
                    "q": self.q,
                    "min_price": self.min_price,
                    "max_price": self.max_price,
                    "in_stock": self.in_stock,
                    "sort": self.sort,
                    "order": self.order,
                    "limit": 0,
                    "cursor": None,
                }
            )
        )

    def next_target(self, next_cursor: str, price: Sequence[str | None]) -> str:
        """The relative URL of the next page; ``price``: both bounds as decimal strings."""
        given = {
            "category": self.category,
            "farm": self.farm,
            # Of all of these only words need quoting.
            "q": None if self.q is None else quote_plus(self.q),
            "min_price": price[0],
            "max_price": price[1],
            "in_stock": None if self.in_stock is None else str(self.in_stock).lower(),
            "sort": self.sort.value,
            "order": self.order.value,
            "limit": self.limit,
            "cursor": next_cursor,
        }
        pairs = [f"{name}={value}" for name, value in given.items() if value is not None]
        return f"/v1/products?{'&'.join(pairs)}"
