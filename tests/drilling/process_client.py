"""One web process asked as the shop's own people and its partner do, a request at a time."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

import httpx
import orjson

from api.signatures import sign
from models.webhooks.schemes import Scheme
from tests.drilling.shop import PARTNER, DrillShop
from tests.polling import eventually
from tests.processes import ApiProcess

__all__ = ["ProcessClient"]


class ProcessClient:
    """Used by ``with``. ``key``: another one than the shop's."""

    def __init__(self, shop: DrillShop, process: ApiProcess, key: str = "") -> None:
        self._shop = shop
        self._http = httpx.Client(
            base_url=process.url,
            headers={"authorization": f"Bearer {key or shop.key}"},
            timeout=10,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: str) -> httpx.Response:
        return self._http.get(path, params=query).raise_for_status()

    def set_stock(self, product: dict[str, Any], stock: int) -> None:
        answer = self._http.patch(
            f"/v1/products/{UUID(bytes=product['id'])}",
            content=orjson.dumps({"stock": stock}),
            headers={"content-type": "application/merge-patch+json"},
        )
        answer.raise_for_status()

    def create(self, sku: str, idempotency_key: str) -> httpx.Response:
        body = {"sku": sku, "name": "Pear", "category": "fruit", "farm": 1, "price": "2.00"}
        headers = {"idempotency-key": f'"{idempotency_key}"'}
        return self._http.post("/v1/products", json=body, headers=headers)

    def deliver(
        self, product: dict[str, Any], stock: int, *, ago_s: float = 0.0, signed_ago_s: float = 0.0
    ) -> tuple[str, int]:
        """News of so long ago; returns the event's id and the answer's status."""
        happened_at = datetime.now(UTC) - timedelta(seconds=ago_s)
        body = orjson.dumps(
            {
                "type": "inventory.updated",
                "occurred_at": happened_at.isoformat(),
                "data": {"farm": self._shop.farm, "sku": product["sku"], "stock": stock},
            }
        )
        event_id = f"msg_{secrets.token_hex(8)}"
        signed = sign(
            Scheme.STANDARD,
            self._shop.secret,
            body,
            event_id=event_id,
            now_s=int(time.time() - signed_ago_s),
        )
        headers = {"content-type": "application/json", **signed}
        answer = self._http.post(f"/v1/webhooks/{PARTNER}", content=body, headers=headers)
        return event_id, answer.status_code

    def news(self, product: dict[str, Any], stock: int, *, ago_s: float = 0.0) -> str:
        """As ``deliver``, and what became of it."""
        event_id, status = self.deliver(product, stock, ago_s=ago_s)
        assert status == httpx.codes.ACCEPTED
        sql = "SELECT state FROM webhook_events WHERE dedup_key = %s AND state <> 'pending'"
        return str(eventually(lambda: self._shop.rows(sql, [event_id]))[0]["state"])

    def limit_left(self) -> int:
        """What its limit says after one more request."""
        told = self.get("/v1/categories").headers["ratelimit"]
        return int(told.partition("r=")[2].partition(";")[0])
