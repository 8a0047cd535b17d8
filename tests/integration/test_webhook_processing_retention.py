"""What is forgotten of finished events, when, and what never is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from models import retention
from models.database import Database
from models.resources import Resources
from models.webhooks import ledger
from models.webhooks.processing import process
from models.webhooks.retention import purge_payloads
from tests.databases import DATABASES, database_url
from tests.integration.conftest import HintLog
from tests.partner_news import (
    Said,
    add_events,
    at,
    partner_resources,
    said,
)
from tests.servers import PrivateRedis, SqlServer


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    url = database_url(request.param, tmp_path, request)
    async with partner_resources(tmp_path, url, fresh_redis, hint_log, purge_batch=2) as opened:
        yield opened


async def test_retention_forgets_payloads_then_events_and_no_total(resources: Resources) -> None:
    """Finished events would cost space for ever; open ones wait for somebody with all they have."""
    db = resources.db
    old = await add_events(
        db,
        [
            *(said("product.upserted", 1, f"S{n}") for n in range(6)),
            *(said("product.upserted", 0, f"S{n}") for n in range(3)),
        ],
    )
    kept = await add_events(
        db, [said("inventory.updated", 1, stock=-1), Said("shelf.moved", at(1), {}),
             said("inventory.updated", 1, "NONE", stock=1)],
    )  # fmt: skip
    await process(resources)
    fresh = await add_events(db, [said("product.upserted", 2, "S0")])
    await process(resources)

    async def age(ids: Sequence[int], days: int) -> None:
        moment = db.dialect.now_plus_us.format("%s")
        for number, event_id in enumerate(ids):
            await db.execute(
                f"UPDATE webhook_events SET finished_at = {moment} WHERE id = %s",
                [-days * 86_400_000_000 - number * 3_600_000_000, event_id],
                purpose="test",
            )

    async def with_payload() -> list[int]:
        rows = await db.fetch(
            "SELECT id FROM webhook_events WHERE payload IS NOT NULL ORDER BY id", purpose="test"
        )
        return [int(row["id"]) for row in rows]

    await age(old, 8)
    await age(kept, 400)
    assert (await retention.purge_all(db, batches=2))["webhook_payloads"] == 4
    purged = await retention.purge_all(db)
    assert (purged["webhook_payloads"], purged["webhook_events"]) == (5, 0)
    assert await with_payload() == [*kept, *fresh]
    assert (await retention.purge_all(db))["webhook_payloads"] == 0
    await age(old, 100)
    assert (await retention.purge_all(db))["webhook_events"] == 9
    rows = await db.fetch("SELECT id FROM webhook_events ORDER BY id", purpose="test")
    assert [row["id"] for row in rows] == [*kept, *fresh]
    left = await db.fetch("SELECT DISTINCT event_id FROM webhook_event_history", purpose="test")
    assert {row["event_id"] for row in left} == set(kept)
    (accepted,) = await db.fetch(
        "SELECT SUM(amount) AS n FROM tallies WHERE name = 'webhooks.accepted'", purpose="test"
    )
    assert int(accepted["n"]) == len(old) + len(kept) + len(fresh)
    assert (await ledger.read(db)).balances


async def test_purging_looks_only_at_what_it_takes(
    tmp_path: Path,
    mariadb: SqlServer,
    fresh_database: str,
    fresh_redis: PrivateRedis,
    hint_log: HintLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Among millions, reading all that finished before or after would outlast any time limit."""
    asked: list[tuple[str, list[Any]]] = []
    real = Database.fetch

    async def watched(db: Database, sql: str, params: Sequence[object] = (), **others: Any) -> Any:
        if "FROM webhook_events" in sql:
            asked.append((sql, list(params)))
        return await real(db, sql, params, **others)

    async with partner_resources(tmp_path, fresh_database, fresh_redis, hint_log) as resources:
        db = resources.db
        ids = await add_events(db, [said("product.upserted", 1, f"S{n}") for n in range(3_000)])
        await db.execute(
            f"UPDATE webhook_events SET state = 'done', payload = IF(id < %s, NULL, payload),"
            f" finished_at = {db.dialect.now} - INTERVAL (20 * 1440 - id * 9) MINUTE",
            [ids[500]],
            purpose="test",
        )
        await db.fetch("ANALYZE TABLE webhook_events", purpose="test")
        monkeypatch.setattr(Database, "fetch", watched)
        assert await purge_payloads(db) == db.settings.purge_batch
    assert len(asked) > 10
    name = urlsplit(fresh_database).path[1:]
    for sql, params in asked:
        (plan,) = mariadb.explain(sql, params, database=name)
        assert (plan["type"], plan["key"]) == ("range", "idx_webhook_events_finished"), (sql, plan)
