"""Thousands of webhooks, workers killed, Redis restarted: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.signatures import sign
from models.webhooks.schemes import Scheme
from tests.fleet import Fleet, api_fleet, metric
from tests.polling import eventually_async
from tests.ports import LOOPBACK
from tests.processes import SchedulerProcess, WorkerProcess, environment_for
from tests.servers import PrivateRedis, SqlServer
from tests.webhook_senders import Sender, add_senders

_EVENTS = 5_000
_SKUS = 250
_KILL_EVERY_S = 2.0
_SENDERS = 32
_MIN_KILLS = 6


@dataclass(frozen=True, slots=True)
class _Event:
    type: str
    occurred_at: datetime
    data: dict[str, Any]

    def body(self) -> bytes:
        return orjson.dumps(
            {"type": self.type, "occurred_at": self.occurred_at.isoformat(), "data": self.data}
        )


def _story(farm: int, sku: str, length: int, rng: random.Random) -> Iterator[_Event]:
    """What happens to one product, in order; each event makes sense in its place."""
    now = datetime.now(UTC) - timedelta(hours=1)
    exists = False
    for step in range(length):
        now += timedelta(milliseconds=rng.randrange(1, 5_000))
        named = {"farm": farm, "sku": sku}
        kind = rng.choice(("stock", "price", "stock", "price", "upsert", "delete"))
        if not exists or kind == "upsert":
            exists = True
            yield _Event(
                "product.upserted",
                now,
                {
                    **named,
                    "name": f"{sku} of step {step}",
                    "category": rng.choice(("fruit", "eggs", "apples")),
                    "price": f"{rng.randrange(1, 999)}.00",
                    "stock": rng.randrange(1_000),
                },
            )
        elif kind == "delete" and step < length - 1:
            exists = False
            yield _Event("product.deleted", now, named)
        elif kind == "price":
            yield _Event("price.updated", now, {**named, "price": f"{rng.randrange(1, 999)}.00"})
        else:
            yield _Event("inventory.updated", now, {**named, "stock": rng.randrange(1_000)})


def _expected(stories: list[list[_Event]]) -> dict[str, dict[str, Any] | None]:
    """What a sequential run leaves of each product."""
    left: dict[str, dict[str, Any] | None] = {}
    for story in stories:
        product: dict[str, Any] | None = None
        for event in story:
            if event.type == "product.deleted":
                product = None
            elif event.type == "product.upserted":
                product = {key: event.data[key] for key in ("name", "category", "price", "stock")}
            elif product is not None:
                product |= {k: v for k, v in event.data.items() if k not in {"farm", "sku"}}
        left[str(story[0].data["sku"])] = product
    return left


def _delivery_order(stories: list[list[_Event]], rng: random.Random) -> list[_Event]:
    """Roughly as they happened, each up to some places early or late; one in fifty twice."""
    flat = [
        (place + rng.random() * 3, event) for story in stories for place, event in enumerate(story)
    ]
    flat += [(place + 2 * rng.random(), event) for place, event in flat if rng.random() < 0.02]
    return [event for _, event in sorted(flat, key=lambda pair: pair[0])]


class _Sender:
    """Posts like a real partner: again on 503 and broken connections, with the same id.

    By threads and plain connections: 5,000 requests through a pooling client take longer to send
    than to serve.
    """

    def __init__(self, ports: tuple[int, ...], secret: str, events: list[_Event]) -> None:
        self.ports = ports
        self.secret = secret
        self.receipts: dict[str, str] = {}
        self._left = iter(events)
        self._lock = threading.Lock()

    async def send_all(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(_SENDERS) as threads:
            work = [
                loop.run_in_executor(threads, self._work, self.ports[number % len(self.ports)])
                for number in range(_SENDERS)
            ]
            await asyncio.gather(*work)

    def _work(self, port: int) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=20)
        with contextlib.closing(connection):
            while True:
                with self._lock:
                    event = next(self._left, None)
                if event is None:
                    return
                event_id = f"msg_{event.data['sku']}_{event.occurred_at.timestamp():.6f}"
                receipt = self._send(connection, event_id, event.body())
                with self._lock:
                    assert self.receipts.setdefault(event_id, receipt) == receipt

    def _send(self, connection: http.client.HTTPConnection, event_id: str, body: bytes) -> str:
        while True:
            headers = sign(
                Scheme.STANDARD, self.secret, body, event_id=event_id, now_s=int(time.time())
            )
            headers |= {"content-type": "application/json"}
            try:
                connection.request("POST", "/v1/webhooks/drill", body, headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()  # the next request opens it anew
                continue
            if answer.status in {http.HTTPStatus.OK, http.HTTPStatus.ACCEPTED}:
                return str(orjson.loads(text)["receipt"])
            assert answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE, text


@pytest.mark.timeout(400)
async def test_every_accepted_event_ends_once_and_effects_are_those_of_a_quiet_day(
    mariadb: SqlServer,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
    tmp_path: Path,
) -> None:
    """The promise of the whole design, with everything that may fail failing again and again."""
    rng = random.Random(20260301)
    limits = {
        "WEBHOOK_RATE_LIMIT_REQUESTS": "10000000",
        "WEBHOOK_LEASE_S": "3",
        "WEBHOOK_BACKOFF_MOST_MS": "4000",
        "WEBHOOK_MAX_ATTEMPTS": "60",
    }
    async with api_fleet(
        mariadb,
        tmp_path,
        queue=fresh_queue_redis,
        cache=fresh_cache_redis,
        processes=2,
        cache_urls=(),
        **limits,
    ) as fleet:
        database_url = mariadb.url(fleet.database)
        secret = (await add_senders(tmp_path, database_url, [Sender("drill")]))["drill"].secret
        stories = [
            list(_story(fleet.farm, f"SKU-{number:04}", _EVENTS // _SKUS, rng))
            for number in range(_SKUS)
        ]
        environment = environment_for(
            tmp_path,
            database_url=database_url,
            queue_redis_url=fresh_queue_redis.url,
            cache_redis_url=fresh_cache_redis.url,
            SWEEP_INTERVAL_S="1",
            **limits,
        )
        ports = tuple(process.port for process in fleet.processes)
        sender = _Sender(ports, secret, _delivery_order(stories, rng))
        with SchedulerProcess(environment), WorkerProcess(environment) as worker:
            stop = asyncio.Event()
            fire = asyncio.create_task(
                _under_fire(worker, fresh_queue_redis, fresh_cache_redis, stop)
            )
            await sender.send_all()
            stop.set()
            kills = await fire
            await eventually_async(
                lambda: not _states(mariadb, fleet).get("pending"),
                deadline_s=180,
                interval_s=0.5,
                describe=worker.last_words,
            )
            assert kills >= _MIN_KILLS
            assert _crashed(mariadb, fleet), "the drill was over before it hurt"
            states = _states(mariadb, fleet)
            assert sum(states.values()) == len(sender.receipts) == sum(map(len, stories))
            assert set(states) <= {"done", "superseded"}, states
            assert _catalogue(mariadb, fleet) == _expected(stories)
            for figure in ("webhook_ledger_difference", "webhook_ledger_missing_rows"):
                assert await metric(fleet.clients[0], figure) == 0, figure


async def _under_fire(
    worker: WorkerProcess, queue: PrivateRedis, cache: PrivateRedis, stop: asyncio.Event
) -> int:
    """Kill the worker every two seconds and start it anew; restart both Redis servers twice."""
    kills = 0
    while not stop.is_set() or kills < _MIN_KILLS:
        await asyncio.sleep(_KILL_EVERY_S)
        await asyncio.to_thread(worker.kill)
        kills += 1
        if kills in {2, 4}:
            for server in (queue, cache):
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.restart)
        await asyncio.to_thread(worker.start)
    return kills


def _states(server: SqlServer, fleet: Fleet) -> dict[str, int]:
    sql = "SELECT state, COUNT(*) AS n FROM webhook_events GROUP BY state"
    return {row["state"]: row["n"] for row in server.rows(sql, database=fleet.database)}


def _crashed(server: SqlServer, fleet: Fleet) -> int:
    """How many events came back from a worker that was killed with them in hand."""
    sql = "SELECT COUNT(DISTINCT event_id) AS n FROM webhook_event_history WHERE kind = 'crashed'"
    return int(server.rows(sql, database=fleet.database)[0]["n"])


def _catalogue(server: SqlServer, fleet: Fleet) -> dict[str, dict[str, Any] | None]:
    rows = server.rows(
        "SELECT p.sku, p.name, c.slug AS category, p.price_minor, p.stock FROM products p"
        " JOIN categories c ON c.id = p.category_id",
        database=fleet.database,
    )
    found: dict[str, dict[str, Any] | None] = {f"SKU-{number:04}": None for number in range(_SKUS)}
    for row in rows:
        found[row["sku"]] = {
            "name": row["name"],
            "category": row["category"],
            "price": f"{row['price_minor'] // 100}.00",
            "stock": row["stock"],
        }
    return found
