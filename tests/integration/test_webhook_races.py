"""Equal deliveries at once over two API processes, servers that fail, and clients that leave."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coordination import keys
from models.webhooks.schemes import Scheme
from tests.fleet import Fleet, api_fleet, metric
from tests.herd import HerdAnswer
from tests.polling import eventually_async
from tests.ports import LOOPBACK
from tests.problem_answers import assert_problem
from tests.servers import PrivateMariaDB, PrivateRedis, SqlServer
from tests.webhook_senders import Sender, add_senders, event, post_at_once, raw_post

_TIMES = 200
_SENDERS = (Sender("hill"), Sender("body", Scheme.HMAC_BODY))


@dataclass(frozen=True, slots=True)
class Crowd:
    """Two API processes, their servers, and who sends to them."""

    fleet: Fleet
    senders: dict[str, Sender]
    server: SqlServer
    queue: PrivateRedis
    cache: PrivateRedis

    async def post(self, requests: Sequence[bytes]) -> list[HerdAnswer]:
        """All at once, over both processes in turn."""
        return await post_at_once([process.port for process in self.fleet.processes], requests)

    def rows(self) -> list[dict[str, Any]]:
        """What is stored."""
        return self.server.rows("SELECT * FROM webhook_events", database=self.fleet.database)

    def tallies(self) -> dict[str, int]:
        """What was counted."""
        sql = "SELECT name, SUM(amount) AS n FROM tallies GROUP BY name"
        rows = self.server.rows(sql, database=self.fleet.database)
        return {row["name"]: int(row["n"]) for row in rows}


@asynccontextmanager
async def crowd_on(
    server: SqlServer, queue: PrivateRedis, cache: PrivateRedis, home: Path, query_ms: int = 5_000
) -> AsyncIterator[Crowd]:
    async with api_fleet(
        server,
        home,
        queue=queue,
        cache=cache,
        DATABASE_QUERY_TIMEOUT_MS=str(query_ms),
        DATABASE_ACQUIRE_TIMEOUT_MS=str(min(query_ms, 2_000)),
    ) as fleet:
        senders = await add_senders(home, server.url(fleet.database), _SENDERS)
        yield Crowd(fleet, senders, server, queue, cache)


@pytest.fixture
async def crowd(
    mariadb: SqlServer,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
    tmp_path: Path,
) -> AsyncIterator[Crowd]:
    async with crowd_on(mariadb, fresh_queue_redis, fresh_cache_redis, tmp_path) as crowd:
        yield crowd


def signed(sender: Sender, body: bytes, event_id: str | None = None) -> bytes:
    return raw_post(sender.path, sender.headers(body, event_id), body)


def the_receipt(answers: Sequence[HerdAnswer]) -> str:
    """Assert that all were taken, at most one of them as new, and named one receipt."""
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {200, 202}, statuses
    assert statuses[202] <= 1, statuses
    (receipt,) = {json.loads(answer.body)["receipt"] for answer in answers}
    return str(receipt)


@pytest.mark.parametrize("name", ["hill", "body"])
async def test_200_equal_ones_at_once_are_one(crowd: Crowd, name: str) -> None:
    """Published implementations answer 49 of 50 with an error, or store them twice."""
    sender, body = crowd.senders[name], event()
    ids = [f"evt_{number}" if name == "body" else "evt" for number in range(_TIMES)]
    answers = await crowd.post([signed(sender, body, event_id) for event_id in ids])
    assert Counter(answer.status for answer in answers)[202] == 1
    the_receipt(answers)
    assert len(crowd.rows()) == 1
    assert crowd.tallies() == {"webhooks.accepted": 1, "webhooks.pending": 1}
    counted = 'webhooks_received_total{outcome="duplicate"}'
    assert await metric(crowd.fleet.clients[0], counted) == _TIMES - 1


async def test_the_same_with_redis_down(crowd: Crowd) -> None:
    """The unique key is the truth; Redis only saves the way to it."""
    crowd.cache.kill()
    crowd.queue.kill()
    answers = await crowd.post([signed(crowd.senders["hill"], event(), "evt")] * _TIMES)
    assert Counter(answer.status for answer in answers)[202] == 1
    the_receipt(answers)
    assert len(crowd.rows()) == 1


async def test_the_same_with_redis_frozen(crowd: Crowd) -> None:
    crowd.cache.freeze()
    answers = await crowd.post([signed(crowd.senders["hill"], event(), "evt")] * _TIMES)
    the_receipt(answers)
    assert len(crowd.rows()) == 1


async def test_the_same_with_redis_emptied_in_between(crowd: Crowd) -> None:
    request = signed(crowd.senders["hill"], event(), "evt")
    answers = await crowd.post([request] * 50)
    crowd.cache.flush()
    sending = asyncio.create_task(crowd.post([request] * _TIMES))
    while not sending.done():
        await asyncio.to_thread(crowd.cache.flush)
        await asyncio.sleep(0)
    answers += await sending
    the_receipt(answers)
    assert len(crowd.rows()) == 1
    assert crowd.tallies()["webhooks.accepted"] == 1


async def test_many_at_once_in_any_order_are_each_one(crowd: Crowd) -> None:
    """Both processes insert overlapping batches: neither loses to the other's locks."""
    crowd.cache.kill()  # so that every repetition reaches the database
    sender = crowd.senders["hill"]
    requests = [signed(sender, event(), f"evt_{number}") for number in range(60)]
    rng = random.Random(3)
    statuses: Counter[int] = Counter()
    for _ in range(3):
        crowded = requests * 4
        rng.shuffle(crowded)
        answers = await crowd.post(crowded)
        statuses.update(answer.status for answer in answers)
        assert {answer.status for answer in answers} <= {200, 202}
        assert len({json.loads(answer.body)["receipt"] for answer in answers}) == 60
    assert statuses == {202: 60, 200: 660}
    assert crowd.tallies() == {"webhooks.accepted": 60, "webhooks.pending": 60}


async def test_clients_that_disconnect_harm_nobody_of_their_batch(crowd: Crowd) -> None:
    """Every other one is gone as soon as it has sent; the rest are answered as if alone."""
    sender = crowd.senders["hill"]

    async def rude(number: int) -> None:
        port = crowd.fleet.processes[number % 2].port
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(signed(sender, event(), f"rude_{number}"))
        await writer.drain()
        writer.transport.abort()

    polite = [signed(sender, event(), f"polite_{number}") for number in range(100)]
    answers, _ = await asyncio.gather(
        crowd.post(polite), asyncio.gather(*(rude(number) for number in range(100)))
    )
    assert {answer.status for answer in answers} == {202}
    stored = {row["dedup_key"] for row in crowd.rows()}
    assert {f"polite_{number}" for number in range(100)} <= stored
    after = await crowd.post([signed(sender, event()) for _ in range(20)])
    assert {answer.status for answer in after} == {202}
    for process in crowd.fleet.processes:
        assert not [line for line in process.logs() if line["level"] == "error"]


Harm = Callable[[PrivateMariaDB], None]


@pytest.mark.parametrize(
    "harm", [PrivateMariaDB.kill, PrivateMariaDB.freeze], ids=["killed", "frozen"]
)
async def test_with_the_database_away_nothing_is_promised_or_marked(
    breakable_mariadb: PrivateMariaDB,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
    tmp_path: Path,
    harm: Harm,
) -> None:
    """503, and the partner's next attempt is not mistaken for a repetition of what was lost."""
    async with crowd_on(
        breakable_mariadb, fresh_queue_redis, fresh_cache_redis, tmp_path, query_ms=500
    ) as crowd:
        sender = crowd.senders["hill"]
        requests = [signed(sender, event(), f"evt_{number}") for number in range(20)]
        the_receipt(await crowd.post(requests[:1]))
        with fresh_cache_redis.client() as client:
            # The answer does not wait for the mark.
            await eventually_async(lambda: client.exists(keys.webhook_seen("hill", "evt_0")) == 1)
        harm(breakable_mariadb)
        for answer in await crowd.post(requests[1:]):
            assert_problem(
                answer.status, answer.headers, answer.body, expected=503, kind="unavailable"
            )
            assert int(answer.headers["retry-after"]) > 0
        with fresh_cache_redis.client() as client:
            marked = [client.exists(keys.webhook_seen("hill", f"evt_{n}")) for n in range(20)]
        assert marked == [1] + [0] * 19
        breakable_mariadb.revive()

        answers: list[HerdAnswer] = []

        async def all_taken() -> bool:
            answers[:] = await crowd.post(requests)
            return {answer.status for answer in answers} <= {200, 202}

        await eventually_async(all_taken, deadline_s=30)
        assert len({json.loads(answer.body)["receipt"] for answer in answers}) == 20
        assert len(crowd.rows()) == 20
        assert crowd.tallies() == {"webhooks.accepted": 20, "webhooks.pending": 20}
