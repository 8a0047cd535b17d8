"""Signed webhook deliveries of real products, each with an id of its own, ready to be sent."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import orjson

from api.signatures import sign
from models.webhooks.schemes import Scheme
from ops.bench.sampling import Product
from ops.bench.shop import PARTNER
from ops.bench.tape import Ask

__all__ = ["Deliveries"]

_TARGET: Final = f"/v1/webhooks/{PARTNER}"


@dataclass
class Deliveries:
    """A partner's news: stock and price in turn, product after product, in the order of time."""

    secret: str
    products: list[Product]
    run: str
    """Part of the ids, so that no two runs have the same."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _first: int = field(default_factory=lambda: 2 * secrets.randbelow(10**6))
    """So that no run tells a kept catalogue what the last told it: it would change nothing."""

    def asks(self, count: int) -> Iterator[Ask]:
        """So many more, signed now: to be sent within five minutes."""
        now = time.time()
        for number in itertools.islice(self._numbers, count):
            product = self.products[number // 2 % len(self.products)]
            body = orjson.dumps(
                {
                    "type": "price.updated" if number % 2 else "inventory.updated",
                    # Apart by a microsecond each: the last one of a product is the newest.
                    "occurred_at": datetime.fromtimestamp(now - 60 + number / 1e6, UTC).isoformat(
                        timespec="microseconds"
                    ),
                    "data": {
                        "farm": product.farm_external_id,
                        "sku": product.sku,
                        **_news(self._first + number),
                    },
                }
            )
            headers = sign(
                Scheme.STANDARD,
                self.secret,
                body,
                event_id=f"msg_{self.run}_{number:010}",
                now_s=now,
            )
            headers["content-type"] = "application/json"
            yield Ask(_TARGET, "POST", tuple(headers.items()), body)


def _news(number: int) -> dict[str, object]:
    if number % 2:
        return {"price": f"{1 + number % 997}.{number % 100:02}"}
    return {"stock": number % 1_000_003}
