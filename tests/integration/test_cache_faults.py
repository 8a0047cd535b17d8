"""The cache away, hung, slow, emptied or missing a voiding: still right answers, soon and fresh."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.errors import CacheUnavailable
from coordination.metrics import CACHE_FAULTS
from tests.databases import settings_for
from tests.fleet import Fleet, api_fleet, metric
from tests.polling import eventually_async
from tests.ports import LOOPBACK
from tests.proxy import Road, road_to
from tests.servers import PrivateRedis, SqlServer

TIMEOUT_S = 0.1
PAUSE_S = 1.0
# What the database, the wire and a busy machine may add.
SLACK_S = 0.4


@dataclass(frozen=True, slots=True)
class Troubled:
    """The first process reaches the cache by the road, the second straight."""

    fleet: Fleet
    road: Road
    redis: PrivateRedis

    @property
    def client(self) -> httpx.AsyncClient:
        return self.fleet.clients[0]

    @property
    def neighbour(self) -> httpx.AsyncClient:
        return self.fleet.clients[1]


@pytest.fixture(scope="module")
async def open_fleet(
    tmp_path_factory: pytest.TempPathFactory,
    mariadb: SqlServer,
    queue_redis: PrivateRedis,
    cache_redis: PrivateRedis,
) -> AsyncIterator[Troubled]:
    async with (
        road_to(cache_redis.port) as road,
        api_fleet(
            mariadb,
            tmp_path_factory.mktemp("faults"),
            queue=queue_redis,
            cache=cache_redis,
            cache_urls=(road.url, cache_redis.url),
        ) as fleet,
    ):
        await fleet.create("apples")
        yield Troubled(fleet, road, cache_redis)


@pytest.fixture
async def troubled(open_fleet: Troubled, fresh_cache_redis: PrivateRedis) -> Troubled:
    """Everything well at the start of each test."""
    await hits(open_fleet.client)
    return open_fleet


async def hits(client: httpx.AsyncClient, path: str = "/v1/products") -> None:
    async def is_hit() -> bool:
        answer = await client.get(path)
        assert answer.status_code == 200
        return "; hit" in answer.headers["cache-status"]

    await eventually_async(is_hit, deadline_s=PAUSE_S + 3)


async def timed(request: Awaitable[httpx.Response]) -> tuple[httpx.Response, float]:
    began_at = time.monotonic()
    return await request, time.monotonic() - began_at


Fault = Callable[[Road], Awaitable[None]]


async def away(road: Road) -> None:
    await road.cut()


async def hung(road: Road) -> None:
    road.blind = True


async def slow(road: Road) -> None:
    road.delay_s = 0.5


async def mended(road: Road) -> None:
    await road.cut()
    road.blind, road.delay_s = False, 0.0
    await road.open()


@pytest.mark.parametrize("fault", [away, hung, slow])
async def test_without_the_cache_the_database_answers_soon_and_hits_come_back(
    troubled: Troubled, fault: Fault
) -> None:
    client, road = troubled.client, troubled.road
    well = await client.get("/v1/products")
    assert "ratelimit" in well.headers
    names = ("cache_faults_total", 'rate_limit_decisions_total{decision="unchecked"}',
             'cache_reads_total{kind="list",outcome="bypass"}')  # fmt: skip
    before = {name: await metric(client, name) for name in names}
    await fault(road)
    try:
        first = [await timed(client.get("/v1/products")) for _ in range(3)]
        # The pause has begun: nobody waits for the cache, but for one who tries it once a second.
        paused = [await timed(client.get("/v1/products")) for _ in range(20)]
        herd = await asyncio.gather(*(timed(client.get("/v1/products")) for _ in range(20)))
    finally:
        await mended(road)
    for answer, _ in (*first, *paused, *herd):
        assert answer.status_code == 200
        assert answer.content == well.content
        assert answer.headers["cache-status"] == "FarmLokal; fwd=bypass"
        assert "ratelimit" not in answer.headers
    assert max(took_s for _, took_s in first) < 2 * TIMEOUT_S + SLACK_S
    quick = sorted(took_s for _, took_s in paused)[:18]
    assert max(quick) < TIMEOUT_S
    for name, count in before.items():
        assert await metric(client, name) - count >= 20, name
    await hits(client)
    assert "ratelimit" in (await client.get("/v1/products")).headers


async def test_writes_and_their_limits_go_on_without_the_cache(troubled: Troubled) -> None:
    await hung(troubled.road)
    try:
        for number in range(4):
            price = f"{number + 1}.00"
            product = await troubled.fleet.create("eggs", price=price)
            path = f"/v1/products/{product['id']}"
            assert (await troubled.client.get(path)).json()["price"] == price
            answer, took_s = await timed(troubled.client.patch(path, json={"stock": number}))
            assert answer.status_code == 200
            # The limiter and the voiding each wait once, until the pause begins.
            assert took_s < 3 * TIMEOUT_S + SLACK_S
            assert (await troubled.client.get(path)).json()["stock"] == number
    finally:
        await mended(troubled.road)
    await hits(troubled.client)


async def test_an_emptied_cache_costs_one_fill(troubled: Troubled) -> None:
    troubled.redis.flush()
    answer = await troubled.client.get("/v1/products")
    assert answer.headers["cache-status"] == "FarmLokal; fwd=miss; stored"
    assert "; hit" in (await troubled.neighbour.get("/v1/products")).headers["cache-status"]


async def test_a_restarted_cache_is_used_again(troubled: Troubled) -> None:
    troubled.redis.kill()
    for client in (troubled.client, troubled.neighbour):
        assert (await client.get("/v1/products")).status_code == 200
    troubled.redis.restart()
    for client in (troubled.client, troubled.neighbour):
        await hits(client)


@pytest.mark.parametrize("kind", ["swallowed", "frozen", "killed"])
async def test_a_voiding_that_fails_is_made_up_for_before_the_cache_is_used_again(
    troubled: Troubled, kind: str
) -> None:
    product = await troubled.fleet.create("eggs", price="1.00")
    paths = (f"/v1/products/{product['id']}", "/v1/products", "/v1/products?category=eggs")
    for path in paths:
        await hits(troubled.client, path)
        await hits(troubled.neighbour, path)
    with troubled.redis.client() as redis:
        generation = redis.get(keys.GENERATION_ALL)
    failed = await metric(troubled.client, 'cache_voidings_total{outcome="failed"}')
    if kind == "swallowed":
        await hung(troubled.road)
    elif kind == "frozen":
        troubled.redis.freeze()
    else:
        troubled.redis.kill()
    try:
        answer, took_s = await timed(troubled.client.patch(paths[0], json={"price": "2.00"}))
    finally:
        await mended(troubled.road)
        troubled.redis.revive()
    assert answer.status_code == 200
    assert took_s < 3 * TIMEOUT_S + SLACK_S
    assert await metric(troubled.client, 'cache_voidings_total{outcome="failed"}') == failed + 1
    if kind == "swallowed":
        # What no process can know but the writer: shows that the voiding really was lost.
        assert (await troubled.neighbour.get(paths[0])).json()["price"] == "1.00"

    async def is_shown(client: httpx.AsyncClient, path: str) -> bool:
        """Always; returns whether the cache was used."""
        answer = await client.get(path)
        body = answer.json()
        (shown,) = (p for p in body.get("data", [body]) if p["id"] == product["id"])
        assert shown["price"] == "2.00", (path, client.base_url)
        return "bypass" not in answer.headers["cache-status"]

    # A busy machine may take the cache for away a moment longer; until it is used, nothing is owed.
    await eventually_async(lambda: is_shown(troubled.client, paths[0]), deadline_s=PAUSE_S + 3)
    for path in paths:
        for client in (troubled.client, troubled.neighbour):
            await is_shown(client, path)
    for path in paths:
        await hits(troubled.client, path)
    with troubled.redis.client() as redis:
        assert redis.get(keys.GENERATION_ALL) != generation


@pytest.fixture
async def plane(tmp_path: Path, fresh_cache_redis: PrivateRedis) -> AsyncIterator[CachePlane]:
    settings = settings_for(
        tmp_path, "sqlite:////nowhere", redis_url=fresh_cache_redis.url, cache_pool_size=2
    )
    opened = CachePlane(open_cache_client(settings), settings)
    yield opened
    await opened.close()


def faults(reason: str) -> float:
    return sum(
        sample.value
        for family in CACHE_FAULTS.collect()
        for sample in family.samples
        if sample.name == "cache_faults_total" and sample.labels["reason"] == reason
    )


async def test_a_process_out_of_connections_does_not_take_the_cache_for_down(
    plane: CachePlane, fresh_cache_redis: PrivateRedis
) -> None:
    await plane.void([], [keys.GENERATION_ALL])
    with fresh_cache_redis.client() as client:
        generation = client.get(keys.GENERATION_ALL)
    before = faults("pool")
    await plane._turns.acquire()
    await plane._turns.acquire()
    refused = await asyncio.gather(
        *(plane.kept("anything") for _ in range(20)), return_exceptions=True
    )
    assert {type(error) for error in refused} <= {CacheUnavailable, *_subclasses(CacheUnavailable)}
    assert faults("pool") == before + 20
    # A voiding waits longer: missing it would cost everybody's entries.
    voiding = asyncio.create_task(plane.void([], [keys.GENERATION_PRODUCTS]))
    await asyncio.sleep(1.5 * TIMEOUT_S)
    plane._turns.release()
    assert await voiding == []
    plane._turns.release()
    assert await plane.kept("anything") is None
    with fresh_cache_redis.client() as client:
        assert client.get(keys.GENERATION_ALL) == generation


def _subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return set(kind.__subclasses__())


async def test_a_voiding_missed_while_another_is_on_its_way_stays_owed(
    tmp_path: Path, fresh_cache_redis: PrivateRedis
) -> None:
    async with road_to(fresh_cache_redis.port) as road:
        settings = settings_for(tmp_path, "sqlite:////nowhere", redis_url=road.url)
        plane = CachePlane(open_cache_client(settings), settings)
        road.blind = True
        assert await plane.void([], [keys.GENERATION_PRODUCTS]) is None
        road.blind = False
        road.forget_connections()
        await plane.client.ping()
        road.delay_s = 0.05
        making_up = asyncio.create_task(plane.void([], [keys.GENERATION_PRODUCTS]))
        await asyncio.sleep(0.02)
        await plane._turns.acquire()
        with fresh_cache_redis.client() as client:
            await eventually_async(lambda: client.exists(keys.GENERATION_ALL))
            generation = client.get(keys.GENERATION_ALL)
            # A second voiding, cancelled while the first, which clears the debt, is answered.
            missed = asyncio.create_task(plane.void([], [keys.GENERATION_PRODUCTS]))
            await asyncio.sleep(0)
            missed.cancel()
            await asyncio.gather(missed, return_exceptions=True)
            assert await making_up == []
            road.delay_s = 0.0
            plane._turns.release()
            await plane.run("limit", ["ratelimit:{x}"], [10, 1000, 1, ""])
            assert client.get(keys.GENERATION_ALL) != generation
        await plane.close()


async def test_after_a_pause_one_call_tries_the_cache_and_nobody_waits_for_it(
    tmp_path: Path, fresh_cache_redis: PrivateRedis
) -> None:
    async with road_to(fresh_cache_redis.port) as road:
        settings = settings_for(tmp_path, "sqlite:////nowhere", redis_url=road.url)
        plane = CachePlane(open_cache_client(settings), settings)
        road.blind = True

        async def wait_s() -> float:
            began_at = time.monotonic()
            with pytest.raises(CacheUnavailable):
                await plane.run("limit", ["ratelimit:{x}"], [10, 1000, 1, ""])
            return time.monotonic() - began_at

        assert min([await wait_s() for _ in range(3)]) > 0.9 * TIMEOUT_S
        assert await wait_s() < TIMEOUT_S / 2
        plane._cooldown._closed_until = 0.0  # the pause is over
        waits = await asyncio.gather(*(wait_s() for _ in range(20)))
        assert sum(1 for waited in waits if waited > TIMEOUT_S / 2) == 1
        await plane.close()


async def test_a_refusing_server_is_not_away(
    plane: CachePlane, fresh_cache_redis: PrivateRedis
) -> None:
    with fresh_cache_redis.client() as client:
        client.lpush("a-list", "x")
        for _ in range(10):
            with pytest.raises(CacheUnavailable):
                await plane.kept("a-list")
        assert await plane.kept("something-else") is None
        assert not client.exists(keys.GENERATION_ALL)


async def test_a_server_that_answers_others_is_not_away(
    tmp_path: Path, fresh_cache_redis: PrivateRedis
) -> None:
    """One connection hangs, as behind a broken balancer, while all others answer."""
    with socket.create_server((LOOPBACK, 0)) as mute:
        url = f"redis://{LOOPBACK}:{mute.getsockname()[1]}/0"
        settings = settings_for(tmp_path, "sqlite:////nowhere", redis_url=fresh_cache_redis.url)
        lame = open_cache_client(settings.model_copy(update={"redis_url": url}))
        plane = CachePlane(open_cache_client(settings), settings)
        await plane.kept("anything")
        hanging = [
            asyncio.create_task(plane._guarded("kept", lambda: lame.get("anything")))
            for _ in range(4)
        ]
        await asyncio.sleep(TIMEOUT_S / 2)
        assert await plane.kept("anything") is None
        failed = await asyncio.gather(*hanging, return_exceptions=True)
        assert all(isinstance(error, CacheUnavailable) for error in failed)
        assert await plane.kept("anything") is None
        await lame.aclose()
        await plane.close()
