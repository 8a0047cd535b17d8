"""Availability over real sockets: two API processes, a worker, and the sandbox as the partner.

The promise: no client ever waits for the partner, whatever it does; and it is asked no more often
than it must be.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordination.breakers.fleet import FleetCircuits
from coordination.clients import open_lock_client
from coordination.settings import load_settings
from ops.sandbox.supply import availability
from tests.fleet import Fleet, api_fleet, metric
from tests.herd import herd
from tests.polling import eventually_async
from tests.processes import WorkerProcess
from tests.sandbox import CLIENT_ID, CLIENT_SECRET, SandboxProcess
from tests.servers import PrivateRedis, SqlServer

LEASE_S = 2.0
STALE_S = 5
# What a client would notice if it waited for the partner: an attempt's time, more than this.
ATTEMPT_S = 1.2
AT_ONCE_S = 0.4
ROUND_S = 2.0
# A worker looks at an idle queue about once a second, and the machine may be busy.
SLACK_S = 20


class Shop:
    """All that runs, and one client's view of it."""

    def __init__(self, fleet: Fleet, sandbox: SandboxProcess, worker: WorkerProcess) -> None:
        self.fleet = fleet
        self.sandbox = sandbox
        self.worker = worker
        self.waits_s: list[float] = []

    async def ask(self, product: dict[str, Any], process: int = 0) -> dict[str, Any]:
        """An answer; how long it took is noted."""
        began = time.perf_counter()
        answer = await self.fleet.clients[process].get(f"/v1/products/{product['id']}/availability")
        self.waits_s.append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        body: dict[str, Any] = answer.json()
        assert body["product_id"] == product["id"]
        assert body["in_stock"] == (body["available"] > 0)
        return body

    async def until(
        self, product: dict[str, Any], source: str, *, stale: bool = False
    ) -> dict[str, Any]:
        """The first answer of this kind."""

        async def found() -> dict[str, Any] | None:
            answer = await self.ask(product)
            return answer if (answer["source"], answer["stale"]) == (source, stale) else None

        return await eventually_async(
            found, deadline_s=SLACK_S, interval_s=0.05, describe=self.worker.last_words
        )

    def calls(self, product: dict[str, Any]) -> int:
        """How often the partner was asked about it."""
        name = f"/supply/v1/products/{product['sku']}/availability?farm={product['farm']['id']}"
        return [one["path"] for one in self.sandbox.log()["requests"]].count(name)


@pytest.fixture(scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory,
    mariadb: SqlServer,
    queue_redis: PrivateRedis,
    cache_redis: PrivateRedis,
) -> AsyncIterator[Shop]:
    home: Path = tmp_path_factory.mktemp("availability")
    with SandboxProcess(home) as sandbox:
        provider = {
            "token_url": sandbox.token_url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        service = {
            "base_url": f"{sandbox.url}/supply",
            "provider": "sandbox",
            "deadline_ms": 1_800,
            "attempt_ms": int(ATTEMPT_S * 1000),
            "concurrency": 2,
        }
        variables: dict[str, Any] = {
            "OAUTH_PROVIDERS": json.dumps({"sandbox": provider}),
            "PARTNER_SERVICES": json.dumps({"supply": service}),
            "PARTNER_RETRY_DELAYS_MS": "50",
            "PARTNER_BREAKER_OPEN_MS": "1000",
            "SUPPLY_SERVICE": "supply",
            "SUPPLY_FRESH_S": "2",
            "SUPPLY_STALE_S": str(STALE_S),
            "SUPPLY_REFRESH_LEASE_MS": str(int(LEASE_S * 1000)),
            "WORKER_THREADS": "6",
            # A busy machine must not turn a read into one without the cache.
            "CACHE_TIMEOUT_MS": "1000",
        }
        async with api_fleet(
            mariadb, home, queue=queue_redis, cache=cache_redis, **variables
        ) as fleet:
            environment = {
                name: value
                for name, value in fleet.processes[0].environment.items()
                if name not in {"HOST", "PORT"}
            }
            with WorkerProcess(environment) as worker:
                yield Shop(fleet, sandbox, worker)


@pytest.fixture
async def shop(running: Shop) -> AsyncIterator[Shop]:
    """With a partner that behaves, has been asked nothing yet, and can be asked."""
    running.sandbox.behave()
    await running.until(await running.fleet.create("eggs"), "partner")
    running.sandbox.clear_log()
    running.waits_s.clear()
    yield running
    running.sandbox.behave()


def told(body: dict[str, Any], product: dict[str, Any]) -> int:
    """What the sandbox said at the answer's ``as_of``."""
    moment = datetime.fromisoformat(body["as_of"]).timestamp()
    return availability(1, str(product["farm"]["id"]), product["sku"], moment).available


async def stock(shop: Shop, product: dict[str, Any]) -> int:
    return int((await shop.fleet.clients[1].get(f"/v1/products/{product['id']}")).json()["stock"])


async def test_answers_become_the_stock_once_they_are_newer(shop: Shop) -> None:
    """The same road as webhooks: what the partner said of an earlier moment changes nothing."""
    product = await shop.fleet.create("eggs", stock=7)
    made_at = datetime.fromisoformat(product["created_at"])

    async def settled() -> bool:
        answer, sold = await shop.ask(product), await stock(shop, product)
        is_newer = datetime.fromisoformat(answer["as_of"]) > made_at
        return answer["source"] == "partner" and is_newer and bool(sold == answer["available"])

    await eventually_async(settled, deadline_s=SLACK_S, interval_s=0.1)


@pytest.mark.parametrize(
    "fault",
    [
        {"hang": True},
        {"error_rate": 1.0, "error_status": 500},
        {"malformed": "wrong_types"},
    ],
    ids=["hanging", "failing", "malformed"],
)
async def test_default_fresh_stale_default_and_back_again(
    shop: Shop, fault: dict[str, object]
) -> None:
    """The whole life of an answer, marked right at each step, and never waited for."""
    product = await shop.fleet.create("eggs", stock=7)
    first = await shop.ask(product)
    assert (first["available"], first["source"], first["stale"]) == (7, "catalogue", False)
    assert first["as_of"] == product["updated_at"]
    fresh = await shop.until(product, "partner")
    assert fresh["available"] == told(fresh, product)

    shop.sandbox.turn(supply=fault)
    shop.waits_s.clear()
    stale = await shop.until(product, "partner", stale=True)
    assert stale["available"] == told(stale, product)
    default = await shop.until(product, "catalogue")
    assert default["available"] == await stock(shop, product)
    assert shop.calls(product) >= 2
    assert statistics.median(shop.waits_s) < AT_ONCE_S
    # Twenty more, of which nobody knows anything yet, while the partner is at its worst.
    more = [await shop.fleet.create("eggs") for _ in range(20)]
    began = time.perf_counter()
    answers = await asyncio.gather(*(shop.ask(one, number % 2) for number, one in enumerate(more)))
    assert {answer["source"] for answer in answers} == {"catalogue"}
    assert time.perf_counter() - began < ATTEMPT_S

    shop.sandbox.behave()
    again = await shop.until(product, "partner")
    assert again["available"] == told(again, product)


async def test_a_herd_over_two_processes_causes_one_call(shop: Shop) -> None:
    """200 requests at once for a product nobody has asked about."""
    shop.sandbox.turn(supply={"latency_ms": 300})
    product = await shop.fleet.create("eggs", stock=3)
    began = time.monotonic()
    ports = [process.port for process in shop.fleet.processes]
    answers = await herd(ports, 200, f"/v1/products/{product['id']}/availability")
    assert {answer.status for answer in answers} == {200}
    await shop.until(product, "partner")
    # On a machine so busy that the herd outlives a lease, the next one is due.
    assert 1 <= shop.calls(product) <= 1 + int((time.monotonic() - began) / LEASE_S)


async def test_a_hanging_partner_leaves_latency_as_it_is(shop: Shop) -> None:
    """Rounds with a partner that answers and one that hangs, side by side; always news to ask."""

    async def round_p95_s(knobs: dict[str, object]) -> float:
        shop.sandbox.behave()
        if knobs:
            shop.sandbox.turn(supply=knobs)
        products = [await shop.fleet.create("eggs") for _ in range(15)]
        shop.waits_s.clear()
        ends_at = time.monotonic() + ROUND_S
        while time.monotonic() < ends_at:
            for number, product in enumerate(products):
                await shop.ask(product, number % 2)
        return statistics.quantiles(shop.waits_s, n=20)[-1]

    ratios = []
    for _ in range(5):
        well, hanging = await round_p95_s({}), await round_p95_s({"hang": True})
        ratios.append(hanging / well)
    # A client that waited for the partner would wait a thousand times as long.
    assert statistics.median(ratios) < 3


async def test_a_slow_partner_holds_up_no_other_work(shop: Shop, mariadb: SqlServer) -> None:
    """Its calls have a bounded number of places; the worker's other queues go on."""
    shop.sandbox.turn(supply={"hang": True})
    products = [await shop.fleet.create("eggs") for _ in range(30)]
    await asyncio.gather(*(shop.ask(product) for product in products))

    def is_settled() -> bool:
        with mariadb.connect(shop.fleet.database) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM outbox WHERE state <> 'done'")
            return not cursor.fetchall()

    answer = await shop.fleet.clients[0].patch(
        f"/v1/products/{products[0]['id']}", json={"stock": 5}
    )
    answer.raise_for_status()
    await eventually_async(lambda: asyncio.to_thread(is_settled), deadline_s=6)

    def was_kept_waiting() -> bool:
        outcomes = {one["outcome"] for one in shop.sandbox.log()["requests"]}
        return bool(outcomes & {"open", "client_left"})

    # Or the partner had not been asked at all, and nothing would be shown.
    await eventually_async(was_kept_waiting, deadline_s=SLACK_S, interval_s=0.1)


async def test_what_is_not_there_is_404_and_asked_of_nobody(shop: Shop) -> None:
    """Whoever guesses ids must not be able to wear the partner out."""
    product = await shop.fleet.create("eggs")
    await shop.until(product, "partner")
    (await shop.fleet.clients[0].delete(f"/v1/products/{product['id']}")).raise_for_status()
    shop.sandbox.clear_log()
    client = shop.fleet.clients[1]
    for path, status in (
        (f"/v1/products/{product['id']}/availability", 404),
        ("/v1/products/0194d9c4-7c00-7b4e-8f2a-3f1c5f0a9e21/availability", 404),
        ("/v1/products/7/availability", 400),
        (f"/v1/products/{product['id']}/availability?farm=1", 400),
    ):
        answer = await client.get(path)
        assert (answer.status_code, path) == (status, path)
        assert "ratelimit" in answer.headers
    assert (await client.post(f"/v1/products/{product['id']}/availability")).status_code == 405
    # Whatever had been hinted would have arrived before this one.
    await shop.until(await shop.fleet.create("eggs"), "partner")
    assert shop.calls(product) == 0


async def test_a_revoked_token_costs_one_authentication(shop: Shop) -> None:
    """One that expires unnoticed is met alike: one refusal, one new token, the same call again."""
    shop.sandbox.revoke()
    product = await shop.fleet.create("eggs")
    await shop.until(product, "partner")
    assert (shop.sandbox.arrived("oauth"), shop.calls(product)) == (1, 2)


async def test_an_open_circuit_means_no_call(shop: Shop, queue_redis: PrivateRedis) -> None:
    """An operator's decision holds; what a worker was hinted fails fast and is dropped."""
    settings = load_settings(redis_url=queue_redis.url)
    client = open_lock_client(settings)
    circuits = FleetCircuits(client, settings)
    failed = 'supply_refreshes_total{outcome="unavailable"'
    try:
        await circuits.operate("supply", "open", "tests", "maintenance")
        before = await metric(shop.fleet.clients[0], failed)
        product = await shop.fleet.create("eggs", stock=4)

        async def was_tried() -> bool:
            assert (await shop.ask(product))["source"] == "catalogue"
            return await metric(shop.fleet.clients[0], failed) >= before + 2

        await eventually_async(was_tried, deadline_s=SLACK_S, interval_s=0.1)
        assert shop.calls(product) == 0
        await circuits.operate("supply", "reset", "tests", "over")
    finally:
        await client.aclose()
    await shop.until(product, "partner")


async def test_without_the_cache_the_catalogue_answers_and_nobody_is_hinted(
    shop: Shop, cache_redis: PrivateRedis
) -> None:
    product = await shop.fleet.create("eggs", stock=6)
    hints = 'hints_total{job="supply.refresh"'
    cache_redis.kill()
    try:
        before = await metric(shop.fleet.clients[0], hints)
        shop.waits_s.clear()
        for number in range(30):
            answer = await shop.ask(product, number % 2)
            assert (answer["available"], answer["source"]) == (6, "catalogue")
        assert statistics.median(shop.waits_s) < AT_ONCE_S
        assert await metric(shop.fleet.clients[0], hints) == before
        assert shop.calls(product) == 0
    finally:
        cache_redis.revive()
    await shop.until(product, "partner")


async def test_answers_are_counted_by_source(shop: Shop) -> None:
    product = await shop.fleet.create("eggs")
    sources = ("partner", "stale", "catalogue")

    async def counts() -> dict[str, float]:
        client: httpx.AsyncClient = shop.fleet.clients[0]
        return {
            source: await metric(client, f'availability_answers_total{{source="{source}"}}')
            for source in sources
        }

    before = await counts()
    await shop.ask(product)
    assert (await counts())["catalogue"] == before["catalogue"] + 1
    await shop.until(product, "partner")
    await shop.until(product, "partner", stale=True)
    after = await counts()
    assert all(after[source] > before[source] for source in sources)
