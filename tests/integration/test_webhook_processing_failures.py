"""Events that cannot be applied now: what waits, what is given up, and who is spared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from actors.work import sweep
from coordination.clients import open_lock_client
from coordination.errors import DatabaseUnavailable
from coordination.jobs import PROCESS_WEBHOOKS
from models import tallies
from models.database import Database
from models.resources import Resources
from models.webhooks import applying, claims, effects, parking
from models.webhooks.payloads import Message
from models.webhooks.processing import process
from tests.databases import DATABASES, database_url
from tests.integration.conftest import HintLog
from tests.partner_news import (
    Said,
    add_events,
    assert_ledger,
    at,
    catalogue,
    changes,
    event,
    history,
    make_due,
    partner_resources,
    said,
    settle_all,
    states,
    tell,
)
from tests.servers import PrivateRedis


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    """Batches of four, three attempts; the ledger must balance in the end."""
    url = database_url(request.param, tmp_path, request)
    async with partner_resources(tmp_path, url, fresh_redis, hint_log) as opened:
        yield opened
        await assert_ledger(opened.db)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (said("inventory.updated", 1, stock=1), "there is no such product"),
        (said("product.upserted", 1, category="cheese"), "there is no such category"),
        (said("product.upserted", 1, farm="nowhere"), "there is no such farm"),
        (Said("category.updated", at(1), {"slug": "cheese", "name": "X"}),
         "there is no such category"),
        (Said("category.updated", at(1), {"slug": "eggs", "parent": "cheese"}),
         "there is no such parent category"),
        (Said("farm.updated", at(1), {"farm": "nowhere", "city": "X"}), "there is no such farm"),
    ],
    ids=lambda value: value.type if isinstance(value, Said) else None,
)  # fmt: skip
async def test_what_is_about_nothing_waits_and_is_given_up_after_its_last_attempt(
    resources: Resources, told: Said, error: str
) -> None:
    (event_id,) = await add_events(resources.db, [told])
    for attempt in (1, 2):
        assert await process(resources) == 0
        row = await event(resources.db, event_id)
        assert (row["state"], row["attempts"], row["last_error"]) == ("pending", attempt, error)
        assert row["lease_token"] is None
        assert await process(resources, [event_id]) == 0, "a late hint must not cut the wait short"
        assert (await event(resources.db, event_id))["attempts"] == attempt
        await make_due(resources.db)
    assert await process(resources) == 1
    assert await states(resources.db, [event_id]) == ["dead: unknown"]
    assert await history(resources.db, event_id) == [
        ("retried", error), ("retried", error), ("dead", error),
    ]  # fmt: skip


async def test_what_it_waited_for_turns_up(resources: Resources) -> None:
    early = [
        said("inventory.updated", 5, stock=5),
        said("product.upserted", 1, "PEAR", category="cheese"),
    ]
    ids = await add_events(resources.db, early)
    await process(resources)
    await tell(resources, said("product.upserted", 2, stock=2))
    await resources.db.execute(
        f"INSERT INTO categories (slug, name, created_at, updated_at) VALUES ('cheese', 'Cheese',"
        f" {resources.db.dialect.now}, {resources.db.dialect.now})",
        purpose="test",
    )
    await make_due(resources.db)
    await process(resources)
    assert await states(resources.db, ids) == ["done", "done"]
    assert (await catalogue(resources.db))[1, "EGGS"]["stock"] == 5


async def test_a_taken_slug_is_tried_again(resources: Resources) -> None:
    """Its holder may be about to be renamed by an event that comes a moment later."""
    told = Said("category.updated", at(1), {"slug": "eggs", "new_slug": "fruit"})
    (event_id,) = await add_events(resources.db, [told])
    await process(resources)
    assert await states(resources.db, [event_id]) == ["pending"]
    await tell(resources, Said("category.updated", at(1), {"slug": "fruit", "new_slug": "pears"}))
    await make_due(resources.db)
    await process(resources)
    assert await states(resources.db, [event_id]) == ["done"]


async def test_a_due_loop_goes_on_while_there_is_work(resources: Resources) -> None:
    """Batches of four; a hint that names nothing must not leave the rest to the next sweep."""
    ids = await add_events(resources.db, [said("product.upserted", 1, f"S{n}") for n in range(30)])
    assert await process(resources) == 30
    assert await states(resources.db, ids) == ["done"] * 30


async def test_doubled_hints_apply_once(resources: Resources) -> None:
    """Hints may be lost, late and doubled; what an event does, it does once."""
    ids = await add_events(resources.db, [said("product.upserted", 1, f"S{n}") for n in range(8)])
    ended = await asyncio.gather(*(process(resources, ids) for _ in range(6)))
    assert sum(ended) == 8
    assert len(await changes(resources.db)) == 8
    assert await process(resources, ids) == 0


async def test_a_burst_of_hints_is_claimed_in_full_batches(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not hint by hint: whoever finds enough others at work leaves them its ids."""
    ids = await add_events(resources.db, [said("product.upserted", 1, f"S{n}") for n in range(40)])
    claimed: list[int] = []
    real = claims.claim_batch

    async def counted(db: Database, event_ids: Sequence[int]) -> claims.Claimed:
        claimed.append(len(event_ids))
        return await real(db, event_ids)

    monkeypatch.setattr(claims, "claim_batch", counted)
    ended = await asyncio.gather(*(process(resources, [event_id]) for event_id in ids))
    assert sum(ended) == 40
    assert await states(resources.db, ids) == ["done"] * 40
    assert len(claimed) <= 2 + 40 / resources.settings.webhook_batch
    assert sum(claimed) == 40


class Defect(Exception):
    """What no event should provoke, and one does."""


def break_for(monkeypatch: pytest.MonkeyPatch, sku: str, error: Exception) -> None:
    """Events about this sku fail inside the transaction, after their effects were written."""
    real = effects.work_out

    async def broken(
        db: Database, conn: Any, events: Sequence[Any], readings: Any, now: datetime
    ) -> effects.Worked:
        worked = await real(db, conn, events, readings, now)
        for reading in (readings[item.id] for item in events):
            if isinstance(reading, Message) and getattr(reading.payload, "sku", "") == sku:
                raise error
        return worked

    monkeypatch.setattr(applying, "work_out", broken)


async def test_of_a_failing_batch_only_the_bad_one_waits(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neighbours of an event that we cannot cope with are not held up by it."""
    break_for(monkeypatch, "BAD", Defect("secret words of a library"))
    told = [said("product.upserted", 1, sku) for sku in ("A", "BAD", "B", "C")]
    ids = await add_events(resources.db, told)
    assert await process(resources, ids) == 3
    assert await states(resources.db, ids) == ["done", "pending", "done", "done"]
    for _ in range(2):
        await make_due(resources.db)
        await process(resources)
    assert await states(resources.db, ids) == ["done", "dead: exhausted", "done", "done"]
    row = await event(resources.db, ids[1])
    assert row["last_error"] == "the worker could not apply it; its log says why"
    assert {sku for _, sku in await catalogue(resources.db)} == {"A", "B", "C"}


async def test_a_database_that_goes_away_condemns_nobody(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event counts an attempt, not the one that met it alone; no row is left looking crashed."""
    break_for(monkeypatch, "A", DatabaseUnavailable("gone"))
    ids = await add_events(resources.db, [said("product.upserted", 1, sku) for sku in "ABC"])
    assert await process(resources, ids) == 0
    rows = [await event(resources.db, event_id) for event_id in ids]
    assert [row["attempts"] for row in rows] == [0, 0, 0]
    assert [row["lease_token"] for row in rows] == [None] * 3
    monkeypatch.undo()
    await settle_all(resources)
    assert await states(resources.db, ids) == ["done"] * 3


async def test_a_job_whose_time_is_up_gives_its_rows_back(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that stops is no crash: its rows must not become suspects."""
    real = effects.work_out
    entered = asyncio.Event()

    async def slow(*arguments: Any) -> effects.Worked:
        worked = await real(*arguments)
        entered.set()
        await asyncio.sleep(60)
        return worked

    monkeypatch.setattr(applying, "work_out", slow)
    (event_id,) = await add_events(resources.db, [said("product.upserted", 1)])
    job = asyncio.create_task(process(resources, [event_id]))
    await asyncio.wait_for(entered.wait(), 20)
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    row = await event(resources.db, event_id)
    assert (row["state"], row["attempts"], row["lease_token"]) == ("pending", 0, None)
    assert await catalogue(resources.db) == {}


async def test_parked_events_are_taken_up_when_their_type_is_known(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old worker parks what a newer one knows; a deploy must not lose it."""
    ids = await add_events(resources.db, [said("product.upserted", 1, sku) for sku in "ABC"])
    strange = await add_events(resources.db, [Said("shelf.moved", at(1), {})] * 1)
    monkeypatch.setattr(effects, "PAYLOADS", {})
    await process(resources)
    assert await states(resources.db, [*ids, *strange]) == ["parked"] * 4
    monkeypatch.undo()
    taken = 0
    for _ in range(4):  # a look at one goes through all of them in turn
        taken += await parking.take_up_parked(resources.db, look_at=1)
    assert taken == 3
    await process(resources)
    assert await states(resources.db, [*ids, *strange]) == ["done"] * 3 + ["parked"]
    assert await history(resources.db, ids[0]) == [("parked", None), ("unparked", None)]


async def test_the_sweep_finds_what_is_due_abandoned_or_known_by_now(
    resources: Resources, hint_log: HintLog
) -> None:
    """Hints may all be lost; nothing else would bring these rows back."""
    db = resources.db
    queue = open_lock_client(resources.settings)
    assert await sweep(resources, queue) == 0
    due = await add_events(db, [said("product.upserted", 1, f"S{n}") for n in range(5)])
    held = await add_events(db, [said("product.upserted", 1, "HELD")])
    abandoned = await add_events(db, [said("product.upserted", 1, "LOST")])
    parked = await add_events(db, [said("product.upserted", 1, "PARKED")])
    await claims.claim_batch(db, held)
    await claims.claim_batch(db, abandoned)
    await db.execute(
        f"UPDATE webhook_events SET lease_until = {db.dialect.now},"
        f" next_attempt_at = {db.dialect.now} WHERE id = %s",
        abandoned,
        purpose="test",
    )
    await db.execute(
        "UPDATE webhook_events SET state = 'parked' WHERE id = %s", parked, purpose="test"
    )
    async with db.transaction() as conn:
        await tallies.add(db, conn, {"webhooks.parked": 1, "webhooks.pending": -1})
    assert await sweep(resources, queue) == 2, "seven due events in batches of four"
    await resources.hints.close()
    assert [message.actor_name for message in hint_log.messages] == [PROCESS_WEBHOOKS.name] * 2
    assert await process(resources) == 7
    assert await states(db, [*due, *abandoned, *parked]) == ["done"] * 7
    assert await states(db, held) == ["pending"]
    await queue.aclose()
