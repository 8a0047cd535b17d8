"""The actors' coroutines on real servers: what is void, what waits, what is warm and hinted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import redis

from actors.catalog import apply_outbox
from actors.work import sweep
from coordination import keys
from coordination.cache import Outcome
from coordination.clients import open_lock_client
from coordination.hints import HintSender
from coordination.jobs import APPLY_OUTBOX, SWEEP, ApplyOutbox, open_broker
from models import outbox
from models.catalog.voiding import void
from models.migrate import migrate
from models.resources import Resources, open_resources
from scheduler.ticks import tick
from tests.catalogue import add_product, change_price_silently, price_seen, read
from tests.databases import DATABASES, database_url, settings_for
from tests.polling import eventually_async
from tests.servers import PrivateRedis


@pytest.fixture(params=DATABASES)
async def resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis
) -> AsyncIterator[Resources]:
    settings = settings_for(
        tmp_path,
        database_url(request.param, tmp_path, request),
        redis_url=fresh_redis.url,
        outbox_grace_ms=0,
        outbox_batch=2,
        sweep_max_hints=3,
        sweep_queue_limit=4,
        cache_tombstone_ttl_s=60,
    )
    await migrate(settings)
    opened = await open_resources(settings, open_broker(settings))
    yield opened
    await opened.close()


async def state(resources: Resources, row_id: int) -> dict[str, object]:
    (row,) = await resources.db.fetch(
        "SELECT state, attempts, last_error, lease_token FROM outbox WHERE id = %s",
        [row_id],
        purpose="test",
    )
    return row


async def test_a_due_row_voids_and_warms_what_it_changed(resources: Resources) -> None:
    product_id, category = await add_product(resources.db)
    await read(resources, product_id)
    row_id, _ = await change_price_silently(resources.db, product_id, category, 250)
    assert await price_seen(resources, product_id) == "1.00"  # nobody has voided it yet
    assert await apply_outbox(resources, ApplyOutbox()) == 1
    fetched = await read(resources, product_id)
    assert fetched.outcome is Outcome.HIT
    assert await price_seen(resources, product_id) == "2.50"
    assert (await state(resources, row_id))["state"] == "done"


async def test_what_nobody_read_is_not_warmed(resources: Resources) -> None:
    product_id, category = await add_product(resources.db)
    await change_price_silently(resources.db, product_id, category, 250)
    await apply_outbox(resources, ApplyOutbox())
    assert (await read(resources, product_id)).outcome is Outcome.MISS


async def test_an_acknowledged_voiding_is_not_repeated(resources: Resources) -> None:
    product_id, category = await add_product(resources.db)
    row_id, change = await change_price_silently(resources.db, product_id, category, 250)
    await void(resources, [change])
    await read(resources, product_id)  # the one fill since the voiding
    assert await apply_outbox(resources, ApplyOutbox([row_id], [row_id])) == 1
    assert (await read(resources, product_id)).outcome is Outcome.HIT


async def test_rows_wait_while_the_cache_is_away_and_are_never_dead(
    resources: Resources, fresh_redis: PrivateRedis
) -> None:
    product_id, category = await add_product(resources.db)
    row_id, _ = await change_price_silently(resources.db, product_id, category, 250)
    fresh_redis.freeze()
    for attempt in range(1, 4):
        assert await apply_outbox(resources, ApplyOutbox([row_id])) == 0
        found = await state(resources, row_id)
        assert (found["state"], found["attempts"]) == ("pending", attempt)
        assert found["last_error"] == "the cache did not acknowledge"
        assert found["lease_token"] is None
    fresh_redis.resume()
    await eventually_async(
        lambda: apply_outbox(resources, ApplyOutbox([row_id])), deadline_s=10, interval_s=0.1
    )
    assert await price_seen(resources, product_id) == "2.50"


async def test_of_a_mixed_hint_only_the_unacknowledged_rows_wait(
    resources: Resources, fresh_redis: PrivateRedis
) -> None:
    product_id, category = await add_product(resources.db)
    voided, _ = await change_price_silently(resources.db, product_id, category, 250)
    owing, _ = await change_price_silently(resources.db, product_id, category, 260)
    fresh_redis.freeze()
    assert await apply_outbox(resources, ApplyOutbox([voided, owing], [voided])) == 1
    assert (await state(resources, voided))["state"] == "done"
    assert (await state(resources, owing))["state"] == "pending"


async def test_the_sweep_sends_as_many_hints_as_needed_within_bounds(
    resources: Resources, fresh_redis: PrivateRedis
) -> None:
    product_id, category = await add_product(resources.db)
    queue = open_lock_client(resources.settings)
    assert await sweep(resources, queue) == 0
    for minor in range(3):
        await change_price_silently(resources.db, product_id, category, minor)
    assert await sweep(resources, queue) == 2  # batches of two
    for minor in range(20):
        await change_price_silently(resources.db, product_id, category, minor)
    assert await sweep(resources, queue) == 3  # its maximum
    waiting = keys.broker_queue(APPLY_OUTBOX.queue)
    with fresh_redis.client() as client:
        await eventually_async(lambda: client.llen(waiting) == 5, deadline_s=5)
    assert await sweep(resources, queue) == 0  # the queue is long enough
    assert await outbox.count_due(resources.db, 100) == 23
    await queue.aclose()


def _holds(client: redis.Redis, key: str, count: int) -> bool:
    return bool(client.llen(key) == count)


class Leading:
    def __init__(self, remaining_s: float) -> None:
        self._remaining_s = remaining_s

    def remaining_s(self) -> float:
        return self._remaining_s


async def test_a_tick_enqueues_only_while_leading_and_only_into_a_short_queue(
    fresh_redis: PrivateRedis, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, f"sqlite:///{tmp_path}/x.db", redis_url=fresh_redis.url)
    queue = open_lock_client(settings)
    hints = HintSender(open_broker(settings))
    hints.start()
    key = keys.broker_queue(SWEEP.queue)
    assert await tick(SWEEP, Leading(0), queue, hints) == "standby"
    with fresh_redis.client() as client:
        for count in range(1, 4):
            assert await tick(SWEEP, Leading(5), queue, hints) == "sent"
            await eventually_async(partial(_holds, client, key, count), deadline_s=5)
        assert await tick(SWEEP, Leading(5), queue, hints) == "enough"
        fresh_redis.freeze()
        assert await tick(SWEEP, Leading(0.05), queue, hints) == "away"
        fresh_redis.resume()
        assert client.llen(key) == 3
    await hints.close()
    await queue.aclose()
