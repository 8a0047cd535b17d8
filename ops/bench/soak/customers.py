"""What customers and a partner of the soak do, one thing at a time.

Each product has one writer at a time. What is not answered as it must be raises an ``httpx`` error.
"""

from __future__ import annotations

import asyncio
import csv
import io
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final

import httpx
import orjson

from api.signatures import sign
from models.webhooks.schemes import Scheme
from ops.bench.stack import PARTNER, Stack

__all__ = ["Customers"]

_SORTS: Final = ("created_at", "price", "name")
_OVER: Final = frozenset({"completed", "failed", "cancelled"})
Product = dict[str, Any]


class Customers:
    """Used on one loop; ``learn`` first."""

    def __init__(self, stack: Stack, client: httpx.AsyncClient, rng: random.Random) -> None:
        self._stack = stack
        self._client = client
        self._rng = rng
        self._turns = count()
        self._products: list[Product] = []
        self._categories: list[str] = []
        self._busy: set[str] = set()
        self.acts: Mapping[str, Callable[[], Awaitable[None]]] = {
            "list": self._list,
            "product": self._product,
            "search": self._search,
            "miss": self._miss,
            "patch": self._patch,
            "create": self._create,
            "webhook": self._webhook,
            "availability": self._availability,
        }

    def _base(self) -> str:
        return self._stack.bases[next(self._turns) % len(self._stack.bases)]

    async def _get(self, path: str, **query: object) -> Any:
        params = {name: str(value) for name, value in query.items()}
        answer = await self._client.get(f"{self._base()}/v1{path}", params=params)
        return answer.raise_for_status().json()

    async def learn(self) -> None:
        """Whom to ask for: a few hundred products, all categories."""
        cursor: dict[str, object] = {}
        for _ in range(4):
            page = await self._get("/products", limit=100, **cursor)
            self._products += page["data"]
            cursor = {"cursor": page["page"]["next_cursor"]}
        named = await self._get("/categories", limit=100)
        self._categories = [category["slug"] for category in named["data"]]

    async def _list(self) -> None:
        query: dict[str, object] = {"sort": self._rng.choice(_SORTS)}
        if self._rng.random() < 0.6:
            query["category"] = self._rng.choice(self._categories)
        page = await self._get("/products", **query)
        cursor = page["page"]["next_cursor"]
        if cursor and self._rng.random() < 0.2:
            await self._get("/products", **query, cursor=cursor)

    async def _product(self) -> None:
        await self._get(f"/products/{self._rng.choice(self._products)['id']}")

    async def _availability(self) -> None:
        chosen = self._rng.choice(self._products)["id"]
        await self._get(f"/products/{chosen}/availability")

    async def _search(self) -> None:
        words = str(self._rng.choice(self._products)["name"]).split()
        await self._get("/products", q=self._rng.choice(words))

    async def _miss(self) -> None:
        # Above every price there is, so that no two are alike.
        await self._get("/products", max_price=1_000_000 + next(self._turns))

    async def _patch(self) -> None:
        free = [p for p in self._products if p["id"] not in self._busy]
        chosen = self._rng.choice(free)["id"]
        self._busy.add(chosen)
        try:
            answer = await self._client.patch(
                f"{self._base()}/v1/products/{chosen}",
                json={"stock": self._rng.randrange(1_000)},
                headers={"content-type": "application/merge-patch+json"},
            )
            answer.raise_for_status()
        finally:
            self._busy.discard(chosen)

    async def _create(self) -> None:
        """A new product under an idempotency key, deleted again."""
        like = self._rng.choice(self._products)
        made = await self._client.post(
            f"{self._base()}/v1/products",
            json={
                "sku": f"SOAK-{secrets.token_hex(6)}",
                "name": "Soaked beans",
                "description": "For a quarter of an hour.",
                "category": like["category"]["slug"],
                "farm": like["farm"]["id"],
                "price": "2.50",
                "currency": "USD",
                "unit": "kg",
                "stock": 1,
                "attributes": {},
            },
            headers={"idempotency-key": secrets.token_hex(8)},
        )
        product_id = made.raise_for_status().json()["id"]
        gone = await self._client.delete(f"{self._base()}/v1/products/{product_id}")
        gone.raise_for_status()

    async def _webhook(self) -> None:
        """News of a product; now and then the same delivery twice."""
        about = self._rng.choice(self._products)
        event_id = f"soak_{secrets.token_hex(8)}"
        body = orjson.dumps(
            {
                "id": event_id,
                "type": "inventory.updated",
                "occurred_at": datetime.now(UTC).isoformat(),
                "data": {
                    "farm": about["farm"]["id"],
                    "sku": about["sku"],
                    "stock": self._rng.randrange(1_000),
                },
            }
        )
        headers = sign(
            Scheme.STANDARD, self._stack.secret, body, event_id=event_id, now_s=time.time()
        )
        headers["content-type"] = "application/json"
        for _ in range(2 if self._rng.random() < 0.1 else 1):
            url = f"{self._base()}/v1/webhooks/{PARTNER}"
            (await self._client.post(url, content=body, headers=headers)).raise_for_status()

    async def follow(self, place: str) -> str:
        """Wait for changes after this place; returns the next."""
        page = await self._get("/products/changes", wait=10, since=place)
        return str(page["page"]["next_cursor"])

    async def import_list(self) -> None:
        """A list of the products we know, with other stocks, followed to its end."""
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(("farm", "sku", "name", "category", "price", "stock"))
        for p in self._products:
            stock = self._rng.randrange(1_000)
            category = p["category"]["slug"]
            rows.writerow((p["farm"]["id"], p["sku"], p["name"], category, p["price"], stock))
        made = await self._client.post(
            f"{self._base()}/v1/imports",
            content=text.getvalue().encode(),
            headers={"content-type": "text/csv"},
        )
        public_id = made.raise_for_status().json()["id"]
        while True:
            await asyncio.sleep(1)
            job = await self._get(f"/imports/{public_id}")
            if job["state"] in _OVER:
                break
        if job["state"] != "completed":
            raise httpx.HTTPError(f"ended otherwise: {job}")
