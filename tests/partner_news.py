"""What partners said, as rows to be worked on, and what became of it; written past the endpoint."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from coordination.hints import Enqueues
from models.database import Database, Row, retrying
from models.migrate import migrate
from models.resources import Resources, open_resources
from models.webhooks import ledger
from models.webhooks.deliveries import Delivery, store
from models.webhooks.processing import process
from tests.databases import settings_for
from tests.servers import PrivateRedis

__all__ = [
    "BEGIN",
    "Said",
    "add_events",
    "add_partner",
    "add_places",
    "assert_ledger",
    "at",
    "catalogue",
    "changes",
    "event",
    "history",
    "make_due",
    "partner_resources",
    "said",
    "settle_all",
    "states",
    "tell",
]

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
_numbers = itertools.count(1)


def at(second: float) -> datetime:
    """A moment of the story."""
    return BEGIN + timedelta(seconds=second)


@dataclass(frozen=True, slots=True)
class Said:
    """One event as its partner means it."""

    type: str
    occurred_at: datetime
    data: dict[str, Any]
    key: str = field(default_factory=lambda: f"event-{next(_numbers):08}")

    @property
    def body(self) -> bytes:
        occurred_at = self.occurred_at.isoformat()
        return orjson.dumps({"type": self.type, "occurred_at": occurred_at, "data": self.data})


def said(type_: str, second: float, sku: str = "EGGS", **data: Any) -> Said:
    """News of a product of farm 1; an upsert takes defaults for what is left out."""
    full: dict[str, Any] = {"farm": 1, "sku": sku, **data}
    if type_ == "product.upserted":
        full = {"name": "Eggs", "category": "eggs", "price": "1.00", "stock": 1, **full}
    return Said(type_, at(second), full)


@asynccontextmanager
async def partner_resources(
    home: Path, url: str, redis: PrivateRedis, broker: Enqueues, **others: object
) -> AsyncIterator[Resources]:
    """Farms, categories, and partner 1, who may touch farm 1 and edit categories.

    Batches of four, three attempts, unless ``others`` (settings) say otherwise.
    """
    few: dict[str, object] = {
        "webhook_grace_ms": 0, "webhook_batch": 4, "webhook_max_attempts": 3, **others,
    }  # fmt: skip
    settings = settings_for(home, url, redis_url=redis.url, **few)
    await migrate(settings)
    opened = await open_resources(settings, broker)
    try:
        await add_places(opened.db)
        await add_partner(opened.db, farms=[1])
        yield opened
    finally:
        await opened.close()


async def add_places(db: Database) -> None:
    """Farms 1 and 2 (external ids hill and dale); categories food, and below it eggs and fruit."""
    now = db.dialect.now
    for number, name in ((1, "hill"), (2, "dale")):
        await db.execute(
            f"""INSERT INTO farms (id, external_id, name, city, state, created_at, updated_at)
                VALUES (%s, %s, %s, 'Ithaca', 'NY', {now}, {now})""",
            [number, name, name.title()],
            purpose="test",
        )
    for number, slug, parent in ((1, "food", None), (2, "eggs", 1), (3, "fruit", 1)):
        await db.execute(
            f"""INSERT INTO categories (id, slug, name, parent_id, created_at, updated_at)
                VALUES (%s, %s, %s, %s, {now}, {now})""",
            [number, slug, slug.title(), parent],
            purpose="test",
        )


async def add_partner(
    db: Database, *, farms: Sequence[int] | None = None, may_edit_categories: bool = True
) -> int:
    """A partner without secrets; its id."""
    now = db.dialect.now
    return await db.insert(
        f"""INSERT INTO webhook_partners (name, scheme, all_farms, farm_ids, may_edit_categories,
              created_at, updated_at) VALUES (%s, 'standard', %s, %s, %s, {now}, {now})""",
        [
            f"partner-{next(_numbers)}",
            int(farms is None),
            orjson.dumps(list(farms or ())).decode(),
            int(may_edit_categories),
        ],
        purpose="test",
    )


async def add_events(db: Database, events: Sequence[Said], partner: int = 1) -> list[int]:
    """Store them as the intake does, without a hint; their ids in this order."""
    batch = await store(
        db,
        [
            Delivery(
                partner_id=partner,
                dedup_key=item.key,
                label=None,
                type=item.type,
                payload=item.body,
                body_digest=hashlib.sha256(item.body).digest(),
                request_id=None,
            )
            for item in events
        ],
    )
    assert all(stored.is_new for stored in batch.stored)
    rows = await db.fetch(
        "SELECT id, receipt FROM webhook_events ORDER BY id DESC LIMIT %s",
        [len(events)],
        purpose="test",
    )
    ids = {bytes(row["receipt"]): int(row["id"]) for row in rows}
    return [ids[stored.receipt.bytes] for stored in batch.stored]


async def event(db: Database, event_id: int) -> Row:
    """The event's row."""
    (row,) = await db.fetch(
        "SELECT * FROM webhook_events WHERE id = %s", [event_id], purpose="test"
    )
    return row


async def states(db: Database, ids: Sequence[int]) -> list[str]:
    """State, and reason if there is one, of each of these events."""
    found = [await event(db, event_id) for event_id in ids]
    return [f"{r['state']}: {r['reason']}" if r["reason"] else str(r["state"]) for r in found]


async def tell(resources: Resources, *events: Said, partner: int = 1) -> list[str]:
    """Store them, work on them once, return their states."""
    ids = await add_events(resources.db, events, partner)
    await process(resources, ids)
    return await states(resources.db, ids)


async def history(db: Database, event_id: int) -> list[tuple[str, str | None]]:
    """Kind and detail of what was noted of an event, oldest first."""
    rows = await db.fetch(
        "SELECT kind, detail FROM webhook_event_history WHERE event_id = %s ORDER BY id",
        [event_id],
        purpose="test",
    )
    return [(str(row["kind"]), row["detail"]) for row in rows]


async def changes(db: Database) -> list[tuple[str, int]]:
    """Kind and version of all entries of the change feed, oldest first."""
    rows = await db.fetch("SELECT kind, version FROM product_changes ORDER BY id", purpose="test")
    return [(str(row["kind"]), int(row["version"])) for row in rows]


async def make_due(db: Database) -> None:
    """Let every wait of pending events that nobody holds be over."""

    async def unit() -> int:
        return await db.execute(
            f"UPDATE webhook_events SET next_attempt_at = {db.dialect.now}"
            " WHERE state = 'pending' AND lease_token IS NULL",
            purpose="test",
        )

    await retrying(unit)


async def settle_all(resources: Resources) -> None:
    """Work until no event changes its state any more; some may wait for what never comes."""
    while True:
        await make_due(resources.db)
        if not await process(resources):
            return


async def catalogue(db: Database) -> dict[tuple[int, str], dict[str, Any]]:
    """What is offered, without ids, versions and times."""
    rows = await db.fetch(
        "SELECT p.farm_id, p.sku, p.name, p.description, c.slug, p.price_minor, p.currency, p.unit,"
        " p.stock, p.attributes FROM products p JOIN categories c ON c.id = p.category_id",
        purpose="test",
    )
    return {
        (int(row.pop("farm_id")), str(row.pop("sku"))): {
            **row,
            "attributes": orjson.loads(row["attributes"]),
        }
        for row in rows
    }


async def assert_ledger(db: Database) -> None:
    """Every accepted event is in exactly one state, and the totals say so, too."""
    reading = await ledger.read(db)
    assert reading.balances, reading
    rows = await db.fetch(
        "SELECT state, COUNT(*) AS n FROM webhook_events GROUP BY state", purpose="test"
    )
    counted = {str(row["state"]): int(row["n"]) for row in rows}
    assert counted == {state.value: n for state, n in reading.tallies.items() if n}
