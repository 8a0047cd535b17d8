"""What the partner has to tell: events about products that really exist, chosen by seed.

It owns the choice and the bodies. Ids and times are new each time, so a restart tells something
else under other ids although the choices repeat.
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import orjson

__all__ = ["Event", "EventSource", "new_event_id", "now_text"]

Product = Mapping[str, Any]
"""One of ``GET /v1/products``."""

_CHOICES: Final = {"price": 9, "stock": 8, "content": 2, "replace": 1}
_PRICE_SWING: Final = 0.15
_MOST_STOCK: Final = 150


def new_event_id() -> str:
    """Never seen before, in this process or any other."""
    return f"evt_{uuid.uuid4().hex}"


def now_text() -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Event:
    """One event; every delivery of it has the same id and the same body."""

    type: str
    data: Mapping[str, object]
    id: str = field(default_factory=new_event_id)
    occurred_at: str = field(default_factory=now_text)

    def body(self) -> bytes:
        """The bytes to sign and send. The id is in them for schemes that sign nothing else."""
        return orjson.dumps(
            {
                "id": self.id,
                "type": self.type,
                "occurred_at": self.occurred_at,
                "data": dict(self.data),
            }
        )


class EventSource:
    """Makes events about the products it was given; one at a time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._products: list[Product] = []
        self._owed: deque[Product] = deque()
        self._made = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether there is no product left to tell about."""
        return not self._products and not self._owed

    def learn(self, products: Sequence[Product]) -> None:
        """Tell about these from now on."""
        self._products = list(products)

    def next(self) -> Event:
        """The next event. A product that was told to be deleted is told to be back at once."""
        if self._owed:
            return _upserted(self._owed.popleft())
        kind = self._choose()
        product = self._random.choice(self._products)
        if kind == "price":
            price, currency = self._price(product), product["currency"]
            return _about(product, "price.updated", price=price, currency=currency)
        if kind == "stock":
            return _about(product, "inventory.updated", stock=self._stock())
        if kind == "content":
            attributes = {**product["attributes"], "restocked_at": now_text()}
            return _upserted({**product, "stock": self._stock(), "attributes": attributes})
        self._products.remove(product)
        self._owed.append(product)
        return _about(product, "product.deleted")

    def owed(self) -> list[Event]:
        """Products that are still to be told back: for the end, when no next event will come."""
        events = [_upserted(product) for product in self._owed]
        self._owed.clear()
        return events

    def _choose(self) -> str:
        # The first ones are what is easiest to see.
        self._made += 1
        if self._made <= 2:
            return ("price", "stock")[self._made - 1]
        return self._random.choices(list(_CHOICES), list(_CHOICES.values()))[0]

    def _stock(self) -> int:
        return self._random.randint(0, _MOST_STOCK)

    def _price(self, product: Product) -> str:
        now = Decimal(str(product["price"]))
        unit = Decimal(1).scaleb(int(now.as_tuple().exponent))
        swing = Decimal(str(self._random.uniform(1 - _PRICE_SWING, 1 + _PRICE_SWING)))
        moved = (now * swing).quantize(unit, ROUND_HALF_UP)
        return f"{max(unit, moved if moved != now else now + unit):f}"


def _about(product: Product, type_: str, **data: object) -> Event:
    return Event(type_, {"farm": product["farm"]["id"], "sku": product["sku"], **data})


def _upserted(product: Product) -> Event:
    kept = ("name", "description", "price", "currency", "unit", "stock", "attributes")
    return _about(
        product,
        "product.upserted",
        category=product["category"]["slug"],
        **{name: product[name] for name in kept},
    )
