"""Deliveries as the intake takes them, a gate before its commits, and looks at what is stored."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import pytest

from coordination import keys
from models import tallies
from models.database import Database, Row
from models.webhooks import intake as intake_module
from models.webhooks.deliveries import Batch, store
from models.webhooks.intake import Delivery, Intake, Stored
from models.webhooks.seen import Seen
from tests.polling import eventually_async
from tests.servers import PrivateRedis

__all__ = ["Gate", "accepting", "assert_counted", "delivery", "rows", "seen_of"]


def delivery(
    dedup_key: str | None = None, body: bytes = b'{"type":"t"}', **others: Any
) -> Delivery:
    fields: dict[str, Any] = {
        "partner_id": 1,
        "dedup_key": dedup_key or secrets.token_hex(8),
        "label": None,
        "type": "inventory.updated",
        "payload": body,
        "body_digest": hashlib.sha256(body).digest(),
        "request_id": None,
        "partner": "hill",
        **others,
    }
    return Delivery(**fields)


async def rows(db: Database) -> list[Row]:
    return await db.fetch("SELECT * FROM webhook_events ORDER BY id", purpose="test")


async def assert_counted(db: Database, number: int) -> None:
    """Rows and tallies agree: a tally beside its row's transaction would show here."""
    assert len(await rows(db)) == number
    counted = await tallies.read(db, "webhooks.")
    assert counted == ({"webhooks.accepted": number, "webhooks.pending": number} if number else {})


def seen_of(redis: PrivateRedis, dedup_key: str) -> Seen | None:
    with redis.client() as client:
        value = client.get(keys.webhook_seen("hill", dedup_key))
    return Seen.decode(value) if isinstance(value, bytes) else None


class Gate:
    """Stands before ``store``: holds batches back while it is shut, and notes what they were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[Sequence[Delivery]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.faults: list[BaseException] = []
        monkeypatch.setattr(intake_module, "store", self._store)

    async def _store(self, db: Database, deliveries: Sequence[Delivery]) -> Batch:
        self.batches.append(deliveries)
        await self.open.wait()
        if self.faults:
            raise self.faults.pop(0)
        return await store(db, deliveries)


async def accepting(
    intake: Intake, gate: Gate, deliveries: Sequence[Delivery]
) -> list[asyncio.Task[Stored]]:
    """Have the first one under way and the others waiting behind it, in this order."""
    gate.open.clear()
    tasks = [asyncio.create_task(intake.accept(item)) for item in deliveries]
    await eventually_async(lambda: bool(gate.batches))
    return tasks
