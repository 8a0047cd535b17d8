"""The feed over HTTP, with a worker that numbers: what appears and when, and how waiting ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest

from tests.feed import FEED, Follower
from tests.fleet import metric
from tests.polling import eventually_async
from tests.processes import ApiProcess, WorkerProcess
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateMariaDB, PrivateRedis, SqlServer

_POLL_MS = 100
_SOON_S = 5.0
"""How long a change may take on a busy machine; a tenth of a second is usual."""
_READS = 'database_query_duration_seconds_count{purpose="changes_read"'
_POLLS = 'database_query_duration_seconds_count{purpose="changes_position"'


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    """An API process and a worker."""
    settings = {"CHANGES_POLL_MS": str(_POLL_MS), "CHANGES_WAIT_MOST_S": "20"}
    patience = {"DATABASE_QUERY_TIMEOUT_MS": "500", "DATABASE_ACQUIRE_TIMEOUT_MS": "500"}
    home = tmp_path_factory.mktemp("feed")
    with (
        running_api(mariadb, redis_server, home, **settings, **patience) as started,
        WorkerProcess(started.process.environment),
    ):
        yield started


@pytest.fixture
async def client(api: RunningApi) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=200)
    headers = {"authorization": f"Bearer {api.key}"}
    async with httpx.AsyncClient(
        base_url=api.url, headers=headers, timeout=30, trust_env=False, limits=limits
    ) as opened:
        yield opened


@dataclass(frozen=True)
class Shop:
    """The API with its feed, by one client."""

    api: RunningApi
    client: httpx.AsyncClient
    mariadb: SqlServer

    async def create(self, sku: str) -> dict[str, Any]:
        """A new product."""
        place = {"category": self.api.category, "farm": self.api.farm}
        body = {"sku": sku, "name": "Eggs", "price": "1.00", **place}
        answer = await self.client.post("/v1/products", json=body)
        answer.raise_for_status()
        created: dict[str, Any] = answer.json()
        return created

    async def at_the_end(self, wait: int = 0) -> Follower:
        """A follower that has read everything there is, when nothing waits for its number."""
        await eventually_async(lambda: self._unnumbered() == 0, deadline_s=_SOON_S)
        follower = Follower(self.client, since="now")
        await follower.read()
        follower.wait = wait
        return follower

    def _unnumbered(self) -> int:
        sql = "SELECT COUNT(*) AS n FROM product_changes WHERE seq IS NULL"
        return int(self.mariadb.rows(sql, database=self.api.database)[0]["n"])


@pytest.fixture
def shop(api: RunningApi, client: httpx.AsyncClient, mariadb: SqlServer) -> Shop:
    return Shop(api, client, mariadb)


async def waiting(client: httpx.AsyncClient, count: int) -> None:
    """Until this many followers wait."""

    async def is_so() -> bool:
        return await metric(client, "changes_followers_waiting") == count

    await eventually_async(is_so, deadline_s=_SOON_S)


async def test_writes_over_http_appear_in_their_order(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    follower = await shop.at_the_end(wait=5)
    product = await shop.create("ORDER")
    path = f"/v1/products/{product['id']}"
    began_at = time.monotonic()
    await follower.read_changes(1)
    assert time.monotonic() - began_at < _SOON_S
    assert follower.changes[-1] == {
        "change": "created",
        "id": product["id"],
        "farm": shop.api.farm,
        "sku": "ORDER",
        "version": 1,
        "changed_at": product["created_at"],
        "product": product,
    }
    patched = (await client.patch(path, json={"stock": 8})).json()
    await client.patch(path, json={"stock": 8})  # changes nothing
    assert (await client.delete(path)).status_code == 204
    await follower.read_changes(3)
    assert [(c["change"], c["version"]) for c in follower.changes] == [
        ("created", 1),
        ("updated", 2),
        ("deleted", 3),
    ]
    assert follower.changes[-1]["product"] is None
    assert follower.changes[1]["changed_at"] == patched["updated_at"]
    assert product["id"] not in follower.mirror


async def test_a_mirror_needs_no_other_call_to_start(client: httpx.AsyncClient) -> None:
    follower = Follower(client, limit=2)
    await follower.read_to_the_end()
    listed = (await client.get("/v1/products", params={"limit": 100})).json()["data"]
    assert follower.mirror == {product["id"]: product for product in listed}


async def test_the_answer_says_how_to_go_on(api: RunningApi, client: httpx.AsyncClient) -> None:
    answer = await client.get(FEED, params={"limit": 2, "wait": 3})
    page = answer.json()["page"]
    assert (page["limit"], page["has_more"]) == (2, True)
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    assert "ratelimit" in answer.headers
    link = answer.headers["link"]
    assert link == f'<{FEED}?limit=2&since={page["next_cursor"]}&wait=3>; rel="next"'
    following = await client.get(link[1 : link.index(">")])
    assert {e["id"] for e in following.json()["data"]}.isdisjoint(
        entry["id"] for entry in answer.json()["data"]
    )
    head = await client.head(FEED)
    assert (head.status_code, head.content) == (200, b"")
    async with httpx.AsyncClient(base_url=api.url, trust_env=False) as stranger:
        assert (await stranger.get(FEED)).status_code == 200
    for method in ("POST", "PATCH", "DELETE"):
        refused = await client.request(method, FEED, json={})
        assert (refused.status_code, set(refused.headers["allow"].split(", "))) == (
            405,
            {"GET", "HEAD"},
        )


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("wait=-1", "wait"),
        ("wait=21", "wait"),
        ("wait=0.5", "wait"),
        ("since=", "since"),
        ("since=yesterday", "since"),
        ("since=now&since=now", "since"),
        ("cursor=now", "cursor"),
        ("q=eggs", "q"),
    ],
)
async def test_a_faulty_parameter_is_named(
    client: httpx.AsyncClient, query: str, named: str
) -> None:
    answer = await client.get(f"{FEED}?{query}")
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == [named]


async def test_altered_and_foreign_cursors_are_refused(client: httpx.AsyncClient) -> None:
    cursor = (await client.get(FEED, params={"since": "now"})).json()["page"]["next_cursor"]
    foreign = (await client.get("/v1/products?limit=1")).json()["page"]["next_cursor"]
    for wrong in (f"A{cursor[1:]}", cursor[:-1], foreign):
        answer = await client.get(FEED, params={"since": wrong})
        assert answer.status_code == 400
        problem = answer.json()
        assert problem["type"] == "urn:farmlokal:problem:invalid-cursor"
        assert problem["errors"] == [
            {"parameter": "since", "detail": "is not a cursor of this feed"}
        ]
    assert (await client.get("/v1/products", params={"cursor": cursor})).status_code == 400


async def test_a_cursor_that_is_too_old_is_told_how_to_start_anew(
    shop: Shop, client: httpx.AsyncClient, mariadb: SqlServer
) -> None:
    follower, later = await shop.at_the_end(wait=5), await shop.at_the_end(wait=5)
    await shop.create("GONE")
    await later.read()
    with mariadb.connect(shop.api.database) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE feed_position SET purged_through = position")
        cursor.execute("DELETE FROM product_changes WHERE seq IS NOT NULL")
        connection.commit()
    answer = await client.get(FEED, params={"since": follower.since})
    assert answer.status_code == 410
    problem = answer.json()
    assert problem["type"] == "urn:farmlokal:problem:position-gone"
    assert "without `since`" in problem["detail"]
    follower.since = None
    await follower.read_to_the_end()
    assert "GONE" in {product["sku"] for product in follower.mirror.values()}
    # Who had read to the end notices nothing.
    later.wait = 0
    assert (await later.read())["data"] == []


async def test_waiting_ends_with_the_news(shop: Shop, client: httpx.AsyncClient) -> None:
    follower = await shop.at_the_end(wait=20)
    reading = asyncio.create_task(follower.read())
    await waiting(client, 1)
    began_at = time.monotonic()
    await shop.create("NEWS")
    page = await reading
    assert time.monotonic() - began_at < _SOON_S
    assert [entry["sku"] for entry in page["data"]] == ["NEWS"]
    await waiting(client, 0)


async def test_waiting_in_vain_ends_empty_at_the_same_place(shop: Shop) -> None:
    follower = await shop.at_the_end(wait=1)
    before = follower.since
    began_at = time.monotonic()
    page = await follower.read()
    assert 0.9 < time.monotonic() - began_at < _SOON_S
    assert (page["data"], page["page"]["has_more"]) == ([], False)
    assert follower.since == before


async def test_a_hundred_who_wait_cost_one_look_at_a_time_and_one_page(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    since = (await shop.at_the_end()).since
    followers = [Follower(client, since=since, wait=20) for _ in range(100)]
    reading = [asyncio.create_task(follower.read()) for follower in followers]
    await waiting(client, 100)
    began_at, before = time.monotonic(), await metric(client, _POLLS)

    async def many_looks() -> bool:
        return await metric(client, _POLLS) >= before + 10

    await eventually_async(many_looks, deadline_s=10)
    looks, lasted_s = await metric(client, _POLLS) - before, time.monotonic() - began_at
    assert looks <= lasted_s * 1000 / _POLL_MS + 1
    before = await metric(client, _READS)
    await shop.create("ALL")
    pages = await asyncio.gather(*reading)
    assert {page["data"][0]["sku"] for page in pages} == {"ALL"}
    await waiting(client, 0)
    # Woken together they read together: two statements, and a few more for who came too late.
    assert await metric(client, _READS) - before <= 10
    before = await metric(client, _POLLS)
    await asyncio.sleep(3 * _POLL_MS / 1000)  # nobody waits: nobody looks
    assert await metric(client, _POLLS) == before


async def test_a_client_that_leaves_is_forgotten(shop: Shop, client: httpx.AsyncClient) -> None:
    follower = await shop.at_the_end(wait=20)
    reading = asyncio.create_task(follower.read())
    await waiting(client, 1)
    reading.cancel()
    await waiting(client, 0)


async def test_the_database_may_be_away_while_somebody_waits(
    shop: Shop, client: httpx.AsyncClient, breakable_mariadb: PrivateMariaDB
) -> None:
    follower = await shop.at_the_end(wait=15)
    reading = asyncio.create_task(follower.read())
    await waiting(client, 1)
    faults = await metric(client, "database_faults_total")
    breakable_mariadb.freeze()

    async def is_noticed() -> bool:
        return await metric(client, "database_faults_total") > faults

    await eventually_async(is_noticed, deadline_s=_SOON_S)
    breakable_mariadb.resume()
    await is_back(shop)
    await shop.create("AFTER")
    assert [entry["sku"] for entry in (await reading)["data"]] == ["AFTER"]
    # Still away at the end: then it is no empty page, which would say that nothing happened.
    query = {"since": follower.since, "wait": "2"}
    reading_on = asyncio.create_task(client.get(FEED, params=query))
    await waiting(client, 1)
    breakable_mariadb.freeze()
    answer = await reading_on
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    breakable_mariadb.resume()
    await is_back(shop)


async def is_back(shop: Shop) -> None:
    """Until the process knows that the database is there again: it fails fast until then."""
    ready = partial(asyncio.to_thread, shop.api.process.is_ready)
    await eventually_async(ready, deadline_s=_SOON_S)


async def test_a_stop_answers_those_who_wait_at_once(shop: Shop, client: httpx.AsyncClient) -> None:
    since = (await shop.at_the_end()).since
    environment = {
        k: v for k, v in shop.api.process.environment.items() if k not in {"HOST", "PORT"}
    }
    with ApiProcess(environment) as process:
        async with httpx.AsyncClient(base_url=process.url, timeout=30, trust_env=False) as other:
            followers = [Follower(other, since=since, wait=20) for _ in range(10)]
            reading = [asyncio.create_task(follower.read()) for follower in followers]
            await waiting(client, 10)
            began_at = time.monotonic()
            assert await asyncio.to_thread(process.terminate, 10) == 0
            pages = await asyncio.gather(*reading)
            assert time.monotonic() - began_at < _SOON_S
    assert all(page["data"] == [] for page in pages)
    assert {follower.since for follower in followers} == {since}
