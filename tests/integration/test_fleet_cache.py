"""The cached read over two real API processes: herds, freshness after writes, what stays a hit."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordination.jobs import APPLY_OUTBOX
from tests.fleet import Fleet, api_fleet, metric, settled_metrics
from tests.herd import herd
from tests.polling import eventually_async
from tests.servers import PrivateRedis, SqlServer

WRITES = 500
LISTS = ("/v1/products", "/v1/products?category=fruit", "/v1/products?category=apples")


@pytest.fixture(scope="module")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory,
    mariadb: SqlServer,
    queue_redis: PrivateRedis,
    cache_redis: PrivateRedis,
) -> AsyncIterator[Fleet]:
    home: Path = tmp_path_factory.mktemp("fleet")
    async with api_fleet(
        mariadb,
        home,
        queue=queue_redis,
        cache=cache_redis,
        # A busy machine must not turn a read into one without the cache.
        CACHE_TIMEOUT_MS="1000",
    ) as running:
        for _ in range(30):
            await running.create("apples")
        yield running


def cache_status(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["cache-status"].removeprefix("FarmLokal; ").partition(";")[0]


@pytest.mark.parametrize("kind", ["list", "category list", "product"])
async def test_a_cold_herd_on_two_processes_costs_one_query(
    fleet: Fleet, mariadb: SqlServer, cache_redis: PrivateRedis, kind: str
) -> None:
    product = await fleet.create("apples")
    path = {
        "list": "/v1/products?limit=17",
        "category list": "/v1/products?category=apples&limit=17",
        "product": f"/v1/products/{product['id']}",
    }[kind]
    cache_redis.flush()
    with mariadb.general_log() as logged:
        with mariadb.connect(fleet.database) as locking, locking.cursor() as cursor:
            # The filler stands at this lock until the whole herd has come.
            cursor.execute("LOCK TABLES products WRITE")
            ports = [process.port for process in fleet.processes]
            coming = asyncio.create_task(herd(ports, 200, path))

            async def has_come() -> bool:
                # The scrape itself is in flight as well.
                return await metric(fleet.clients[0], "http_requests_in_flight ") >= 201

            await eventually_async(has_come, deadline_s=1.5)
        answers = await coming
        statements = [statement for statement in logged() if "FROM products" in statement]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert len(statements) == 1, statements
    came_about = Counter(answer.headers["cache-status"] for answer in answers)
    assert came_about["FarmLokal; fwd=miss; stored"] == 1
    assert came_about["FarmLokal; fwd=miss; collapsed"] >= 99


async def test_500_writes_are_seen_at_once_by_the_other_process(fleet: Fleet) -> None:
    product: dict[str, Any] = {}
    changes: dict[str, str] = {}
    for number in range(WRITES):
        writer, reader = fleet.clients[number % 2], fleet.clients[(number + 1) % 2]
        step = number % 5
        if step == 0:
            product = await fleet.create("apples", number % 2, sku=f"W-{number}")
        elif step == 4:
            gone = await writer.delete(f"/v1/products/{product['id']}")
            assert gone.status_code == 204
        else:
            changes = {"price": f"{number + 1}.00", "name": f"Apple {secrets.token_hex(4)}"}
            answer = await writer.patch(f"/v1/products/{product['id']}", json=changes)
            assert answer.status_code == 200, answer.text
            product = answer.json()
        one, *lists = await asyncio.gather(
            reader.get(f"/v1/products/{product['id']}"), *(reader.get(path) for path in LISTS)
        )
        if step == 4:
            assert one.status_code == 404
        else:
            assert one.json() == product
        for listed in lists:
            assert listed.status_code == 200
            seen = {item["id"]: item for item in listed.json()["data"]}
            # The newest product leads every one of these lists.
            assert seen.get(product["id"]) == (None if step == 4 else product)


async def test_a_change_leaves_another_categorys_list_a_hit(fleet: Fleet) -> None:
    here, there = fleet.clients
    apple = await fleet.create("apples")
    await fleet.create("eggs")
    eggs = "/v1/products?category=eggs"
    for path in (*LISTS, eggs):
        await here.get(path)
        assert cache_status(await there.get(path)) == "hit"
    changed = await here.patch(f"/v1/products/{apple['id']}", json={"stock": 7})
    assert changed.status_code == 200
    assert cache_status(await there.get(eggs)) == "hit"
    # The category itself, its ancestor, and what is not led by a category.
    for path in LISTS:
        assert cache_status(await there.get(path)) == "fwd=miss", path


async def test_a_move_voids_both_categories_and_their_ancestors(fleet: Fleet) -> None:
    here, there = fleet.clients
    product = await fleet.create("apples")
    paths = (*LISTS, "/v1/products?category=eggs")
    for path in paths:
        await there.get(path)
    moved = await here.patch(f"/v1/products/{product['id']}", json={"category": "eggs"})
    assert moved.status_code == 200, moved.text
    listed = {}
    for path in paths:
        answer = await there.get(path)
        assert cache_status(answer) == "fwd=miss", path
        listed[path] = {item["id"] for item in answer.json()["data"]}
    assert product["id"] in listed["/v1/products?category=eggs"]
    assert product["id"] not in listed["/v1/products?category=fruit"]
    assert product["id"] not in listed["/v1/products?category=apples"]


@pytest.mark.parametrize("edited", ["category", "farm"])
async def test_an_edit_shows_in_everything_that_names_it(fleet: Fleet, edited: str) -> None:
    here, there = fleet.clients
    product = await fleet.create("apples")
    paths = (f"/v1/products/{product['id']}", *LISTS)
    for path in paths:
        await there.get(path)
    name = f"Renamed {secrets.token_hex(4)}"
    target = "/v1/categories/apples" if edited == "category" else f"/v1/farms/{fleet.farm}"
    assert (await here.patch(target, json={"name": name})).status_code == 200
    one, *lists = [(await there.get(path)).json() for path in paths]
    assert one[edited]["name"] == name
    for listed in lists:
        (shown,) = (item for item in listed["data"] if item["id"] == product["id"])
        assert shown[edited]["name"] == name


async def test_figures_add_up_from_whichever_process_is_asked(fleet: Fleet) -> None:
    here, there = fleet.clients
    missing = "/v1/products/00000000-0000-7000-8000-000000000000"
    counted = {
        'http_requests_total{method="GET",route="/v1/products/{product_id}",status="404"}': 6,
        'http_requests_total{method="HEAD",route="/v1/products",status="200"}': 4,
        'cache_reads_total{kind="product",outcome="negative"}': 5,
        'http_request_duration_seconds_count{method="HEAD",route="/v1/products"}': 4,
        'rate_limit_decisions_total{decision="allowed"}': 10,
    }
    before = await settled_metrics(here, list(counted))
    for client, times in ((here, 4), (there, 2)):
        for _ in range(times):
            assert (await client.get(missing)).status_code == 404
    for client, times in ((here, 1), (there, 3)):
        for _ in range(times):
            assert (await client.head("/v1/products")).status_code == 200

    async def differing() -> list[str]:
        return [
            name
            for client in (here, there)
            for name, expected in counted.items()
            if await metric(client, name) - before[name] != expected
        ]

    async def add_up() -> bool:
        return not await differing()

    # Each process hands its counts over within a moment.
    await eventually_async(add_up, deadline_s=5)


async def test_figures_of_pools_and_queues_are_there(fleet: Fleet) -> None:
    here, there = fleet.clients
    await fleet.create("apples")
    for client in (here, there):
        assert await metric(client, "database_pool_connections_limit") == 2 * 10
        assert 2 <= await metric(client, "database_pool_connections ") <= 20
        assert await metric(client, "database_pool_connections_used ") >= 0
        assert 'redis_pool_connections_used{client="cache"}' in (await client.get("/metrics")).text
        # No worker runs here: what the writes hinted at waits.
        assert await metric(client, f'queue_depth{{queue="{APPLY_OUTBOX.queue}"}}') > 0
        assert await metric(client, "outbox_pending ") > 0
        for name in ("hit", "miss", "wait"):
            assert await metric(client, f'cache_reads_total{{kind="list",outcome="{name}"}}') > 0


async def test_every_key_of_the_cache_expires(fleet: Fleet, cache_redis: PrivateRedis) -> None:
    await fleet.clients[0].get("/v1/products?q=apple&sort=relevance")
    await fleet.clients[0].get("/v1/products?category=made-up")
    async with fleet.stranger() as stranger:
        await stranger.get("/v1/products")
    prefixes = ("cache:products:", "cache:gen:", "cache:search:", "ratelimit:{")
    with cache_redis.client() as client:
        names = [bytes(name).decode() for name in client.scan_iter()]
        lives = {name: client.ttl(name) for name in names}
    assert names
    assert {name for name, life in lives.items() if life == -1} == set()
    assert [name for name in names if not name.startswith(prefixes)] == []
    # Anybody can make up a category: its generation must not stay for hours.
    assert lives["cache:gen:category:made-up"] <= 10
    assert lives["cache:gen:category:apples"] > 3_600
