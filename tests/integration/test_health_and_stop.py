"""What a balancer is told through outages, and what a SIGTERM leaves of requests on their way."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.migrate import migrate
from tests.databases import settings_for
from tests.fleet import Fleet, api_fleet
from tests.herd import request
from tests.polling import eventually_async
from tests.ports import LOOPBACK
from tests.processes import ApiProcess, environment_for
from tests.servers import PrivateMariaDB, PrivateRedis, SqlServer

DRAIN_S = 0.4


@contextmanager
def launched(environment: dict[str, str]) -> Iterator[ApiProcess]:
    """Started, and not waited for."""
    process = ApiProcess(environment)
    process.launch()
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
async def probe() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        yield client


async def ready(
    client: httpx.AsyncClient, process: ApiProcess, query: str = ""
) -> tuple[int, dict[str, Any]]:
    answer = await client.get(f"{process.url}/health/ready{query}")
    return answer.status_code, answer.json()


async def becomes(
    client: httpx.AsyncClient, process: ApiProcess, status: int, text: str, query: str = ""
) -> dict[str, Any]:
    async def is_so() -> dict[str, Any] | None:
        found, document = await ready(client, process, query)
        return document if (found, document["status"]) == (status, text) else None

    return await eventually_async(
        is_so, deadline_s=8, retry_on=httpx.TransportError, describe=process.last_words
    )


async def test_readiness_through_outages(
    tmp_path: Path,
    breakable_mariadb: PrivateMariaDB,
    fresh_database: str,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
    probe: httpx.AsyncClient,
) -> None:
    await migrate(settings_for(tmp_path, fresh_database))
    environment = environment_for(
        tmp_path,
        database_url=fresh_database,
        queue_redis_url=fresh_queue_redis.url,
        cache_redis_url=fresh_cache_redis.url,
    )
    fresh_cache_redis.kill()
    with launched(environment) as process:
        # Never ready before both have answered once.
        document = await becomes(probe, process, 503, "unavailable")
        assert document["checks"] == {"database": "ok", "cache": "unavailable", "queue": "ok"}
        assert (await probe.get(f"{process.url}/health/live")).status_code == 200
        fresh_cache_redis.restart()
        await becomes(probe, process, 200, "ok")
        await becomes(probe, process, 200, "ok", "?strict=1")
        # From now on Redis alone empties no pool.
        for redis in (fresh_cache_redis, fresh_queue_redis):
            for break_it in (redis.kill, redis.freeze):
                break_it()
                await becomes(probe, process, 200, "degraded")
                await becomes(probe, process, 503, "unavailable", "?strict=1")
                redis.revive()
                await becomes(probe, process, 200, "ok")
        for break_it in (breakable_mariadb.freeze, breakable_mariadb.kill):
            break_it()
            await becomes(probe, process, 503, "unavailable")
            began_at = time.monotonic()
            await asyncio.sleep(0.6)  # the age at which a verdict is no longer shared
            assert (await ready(probe, process))[0] == 503
            assert time.monotonic() - began_at < 0.6 + 1.0 + 0.7
            assert (await probe.get(f"{process.url}/health/live")).status_code == 200
            breakable_mariadb.revive()
            await becomes(probe, process, 200, "ok")
        assert (await probe.get(f"{process.url}/health/ready?strict=maybe")).status_code == 400


async def test_without_its_schema_it_is_not_ready(
    tmp_path: Path,
    fresh_database: str,
    fresh_redis: PrivateRedis,
    probe: httpx.AsyncClient,
) -> None:
    environment = environment_for(tmp_path, database_url=fresh_database, redis_url=fresh_redis.url)
    with launched(environment) as process:
        document = await becomes(probe, process, 503, "unavailable")
        assert document["checks"]["database"] == "unavailable"
        await migrate(settings_for(tmp_path, fresh_database))
        await becomes(probe, process, 200, "ok")


@pytest.fixture
def drain_s() -> float:
    return DRAIN_S


@pytest.fixture
async def fleet(
    tmp_path: Path,
    mariadb: SqlServer,
    queue_redis: PrivateRedis,
    cache_redis: PrivateRedis,
    drain_s: float,
) -> AsyncIterator[Fleet]:
    async with api_fleet(
        mariadb,
        tmp_path,
        queue=queue_redis,
        cache=cache_redis,
        processes=1,
        DRAIN_DELAY_MS=str(int(drain_s * 1000)),
        SHUTDOWN_TIMEOUT_S="5",
    ) as running:
        yield running


async def keep_asking(port: int, answers: Counter[str], times: list[float]) -> None:
    """A client with a lasting connection, as a balancer's, until nobody listens any more."""
    lines = request("/v1/products?limit=2", {})
    while True:
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
        except ConnectionError:
            return  # nobody listens any more
        lasting = True
        while lasting:
            writer.write(lines)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(
                    line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:] if line
                )
                await reader.readexactly(int(fields["content-length"]))
            except (asyncio.IncompleteReadError, ConnectionError):
                answers["cut off"] += 1
                break
            answers[head.decode().split()[1]] += 1
            times.append(time.monotonic())
            lasting = fields.get("connection") != "close"
        writer.close()


@pytest.mark.parametrize("drain_s", [DRAIN_S, 0.0])
async def test_a_stop_under_load_answers_every_request_it_began(
    fleet: Fleet, mariadb: SqlServer, drain_s: float
) -> None:
    (process,) = fleet.processes
    product = await fleet.create("apples")
    path = f"/v1/products/{product['id']}"
    answers: Counter[str] = Counter()
    times: list[float] = []
    idle_reader, idle_writer = await asyncio.open_connection(LOOPBACK, process.port)
    idle_writer.write(request("/v1/products", {}))
    first = await idle_reader.readuntil(b"\r\n\r\n")
    await idle_reader.readexactly(int(first.lower().split(b"content-length: ")[1].split()[0]))
    askers = [asyncio.create_task(keep_asking(process.port, answers, times)) for _ in range(20)]
    with mariadb.connect(fleet.database) as holding, holding.cursor() as cursor:
        holding.begin()
        cursor.execute("SELECT id FROM products FOR UPDATE")
        slow = asyncio.create_task(fleet.clients[0].patch(path, json={"stock": 77}))
        await eventually_async(lambda: answers["200"] > 100)
        told_at = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(process.terminate, 10))

        async def is_draining() -> bool:
            async with fleet.stranger() as stranger:
                answer = await stranger.get("/health/ready")
            return answer.status_code == 503 and answer.json()["draining"]

        if drain_s:
            await eventually_async(is_draining, deadline_s=drain_s)
        # Its request crosses with the stop: the connection looked idle.
        draining = partial(process.wait_for_log, lambda line: line["message"] == "Web draining")
        await asyncio.to_thread(draining)
        idle_writer.write(request("/v1/products", {}))
        last = await idle_reader.readuntil(b"\r\n\r\n")
        assert last.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in last.lower()
        await asyncio.gather(*askers)  # until nobody listens
        assert time.monotonic() - told_at >= drain_s * 0.9
        assert not slow.done()
        holding.rollback()
    answer = await slow
    assert (answer.status_code, answer.json()["stock"]) == (200, 77)
    assert await stopping == 0
    assert set(answers) == {"200"}, answers
    # It went on serving while balancers were to notice.
    assert max(times) > told_at + drain_s / 2
    idle_writer.close()
    assert process.stray_lines() == []
    assert process.errors.tail() == ""


async def test_a_stop_does_not_outlast_its_deadline(fleet: Fleet, mariadb: SqlServer) -> None:
    (process,) = fleet.processes
    product = await fleet.create("apples")
    path = f"/v1/products/{product['id']}"
    with mariadb.connect(fleet.database) as holding, holding.cursor() as cursor:
        holding.begin()
        cursor.execute("SELECT id FROM products FOR UPDATE")
        slow = asyncio.create_task(fleet.clients[0].patch(path, json={"stock": 77}))

        def waits_for_the_lock() -> bool:
            sql = "SELECT COUNT(*) AS n FROM information_schema.innodb_trx WHERE trx_state = %s"
            return bool(mariadb.rows(sql, ["LOCK WAIT"])[0]["n"])

        # The server renews this table when it has not been read for a tenth of a second.
        await eventually_async(waits_for_the_lock, interval_s=0.2)
        # An upload that never ends, too.
        _, writer = await asyncio.open_connection(LOOPBACK, process.port)
        writer.write(b"POST /v1/products HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        began_at = time.monotonic()
        assert await asyncio.to_thread(process.terminate, 12) == 0
        assert time.monotonic() - began_at < DRAIN_S + 5 + 4
        (outcome,) = await asyncio.gather(slow, return_exceptions=True)
        assert isinstance(outcome, httpx.TransportError | httpx.Response)
        writer.close()
