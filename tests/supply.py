"""A product that a supply partner is asked about, with workers' part played in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import orjson

from coordination import keys
from coordination.calls.client import PartnerClient, open_partner_client
from coordination.clients import open_breaker_client
from coordination.hints import Enqueues
from models.catalog.products import fetch_product
from models.resources import Resources
from models.supply.availability import Availability, availability_of
from models.supply.refreshing import Outcome, refresh
from tests.flaky_partner import Behaviour, FlakyPartner, flaky_partner
from tests.partner_news import partner_resources, said, tell
from tests.servers import PrivateRedis

__all__ = ["Supply", "supply"]


@dataclass(frozen=True, slots=True)
class Supply:
    """Farm 1 (hill) offers EGGS, stock 1, as a webhook said at ``at(0)``."""

    resources: Resources
    client: PartnerClient
    partner: FlakyPartner
    product_id: UUID

    def says(self, available: object, as_of: datetime, **more: object) -> None:
        """What the partner answers from now on."""
        answer = {
            "sku": "EGGS",
            "farm": "hill",
            "available": available,
            "as_of": as_of.astimezone(UTC).isoformat(),
            **more,
        }
        self.partner.usual = Behaviour(body=orjson.dumps(answer))

    async def work(self, *product_ids: UUID) -> dict[Outcome, int]:
        """What a worker does upon a hint."""
        return await refresh(self.resources, self.client, product_ids or [self.product_id])

    async def work_anew(self) -> dict[Outcome, int]:
        """The same, with freshness and leases over."""
        await self.forget()
        return await self.work()

    async def forget(self) -> None:
        """End freshness and leases."""
        key = keys.partner_answer("supply", self.product_id)
        await self.resources.plane.client.hset(
            key, mapping={"fresh_until": 0, "hinted_until": 0, "called_until": 0}
        )

    async def ask(self) -> Availability:
        """As a client does."""
        product = await fetch_product(self.resources, self.product_id, None)
        return await availability_of(self.resources, self.product_id, product)

    async def row(self) -> tuple[int, int]:
        """Stock and version."""
        (row,) = await self.resources.db.fetch(
            "SELECT stock, version FROM products WHERE id = %s",
            [self.product_id.bytes],
            purpose="test",
        )
        return int(row["stock"]), int(row["version"])


@asynccontextmanager
async def supply(
    home: Path, url: str, redis: PrivateRedis, broker: Enqueues, **settings: object
) -> AsyncIterator[Supply]:
    """A partner over a real socket; its service is called ``supply``."""
    async with flaky_partner() as partner:
        service = {"base_url": f"{partner.url}/api", "attempt_ms": 400, "deadline_ms": 1_000}
        chosen: dict[str, object] = {
            "partner_services": {"supply": service},
            "supply_service": "supply",
            "partner_retry_delays_ms": (10,),
            # A busy machine must not be taken for a Redis that is away.
            "cache_timeout_ms": 5_000,
            "lock_timeout_ms": 5_000,
            "oauth_lock_ms": 30_000,
            **settings,
        }
        async with partner_resources(home, url, redis, broker, **chosen) as resources:
            assert await tell(resources, said("product.upserted", 0)) == ["done"]
            (row,) = await resources.db.fetch("SELECT id FROM products", purpose="test")
            circuits = open_breaker_client(resources.settings)
            client = open_partner_client(resources.settings, circuits)
            try:
                yield Supply(resources, client, partner, UUID(bytes=bytes(row["id"])))
            finally:
                await client.close()
                await circuits.aclose()
