"""The lane of hits: the same answers as by the ordinary way, and none that it must not give."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordination import keys
from tests.fleet import Fleet, api_fleet, metric, settled_metrics
from tests.polling import eventually_async
from tests.ports import LOOPBACK
from tests.servers import PrivateRedis, SqlServer

pytestmark = pytest.mark.one_redis
LIST = "/v1/products?category=apples&limit=7"
# A header that the lane knows nothing of.
ORDINARY = {"te": "trailers"}
_OF_THE_MOMENT = ("ratelimit", "cache-status", "x-request-id")
_PATIENCE_S = 10.0
LIMIT = 40


@pytest.fixture(scope="module")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory,
    mariadb: SqlServer,
    queue_redis: PrivateRedis,
    cache_redis: PrivateRedis,
) -> AsyncIterator[Fleet]:
    home: Path = tmp_path_factory.mktemp("lane")
    async with api_fleet(
        mariadb, home, queue=queue_redis, cache=cache_redis, CACHE_TIMEOUT_MS="1000"
    ) as running:
        for _ in range(9):
            await running.create("apples")
        yield running


_OUTCOMES = ("answered", "went_on", "left")


async def _counts(fleet: Fleet) -> Counter[str]:
    samples = [f'http_lane_requests_total{{outcome="{outcome}"}}' for outcome in _OUTCOMES]
    found = await settled_metrics(fleet.clients[0], samples)
    return Counter(dict(zip(_OUTCOMES, map(int, found.values()), strict=True)))


@asynccontextmanager
async def watched(fleet: Fleet) -> AsyncIterator[Counter[str]]:
    """What the lanes of the fleet did with the requests of a block; filled at its end."""
    before = await _counts(fleet)
    took: Counter[str] = Counter()
    yield took
    took.update(await _counts(fleet) - before)


async def known(fleet: Fleet, path: str) -> None:
    """Have every process recognise it: the second answer from the cache is the first such."""
    for client in fleet.clients:
        for _ in range(3):
            (await client.get(path)).raise_for_status()


def lasting(answer: httpx.Response) -> dict[str, str]:
    """The headers that do not depend on the moment."""
    return {name: value for name, value in answer.headers.items() if name not in _OF_THE_MOMENT}


async def both_ways(
    fleet: Fleet, path: str, headers: Mapping[str, str]
) -> tuple[httpx.Response, httpx.Response]:
    """By the lane, and by the ordinary way."""
    async with fleet.stranger() as client:
        await client.get("/health/live")
        async with watched(fleet) as took:
            quick = await client.get(path, headers=headers)
        assert took == {"answered": 1}
        return quick, await client.get(path, headers={**headers, **ORDINARY})


@pytest.mark.parametrize("kind", ["list", "product"])
@pytest.mark.parametrize(
    "condition", [None, "match", "weak", "*", '"other"'], ids=lambda condition: f"if-{condition}"
)
async def test_an_answer_is_the_same_by_either_way(
    fleet: Fleet, kind: str, condition: str | None
) -> None:
    path = LIST if kind == "list" else f"/v1/products/{(await fleet.create('eggs'))['id']}"
    await known(fleet, path)
    etag = (await fleet.clients[0].get(path)).headers["etag"]
    wanted = {"match": f'"x", {etag}', "weak": f"W/{etag}"}.get(condition or "", condition)
    headers = {} if wanted is None else {"if-none-match": wanted}
    quick, ordinary = await both_ways(fleet, path, headers)
    assert quick.status_code == ordinary.status_code
    assert quick.status_code == (304 if condition in {"match", "weak", "*"} else 200)
    assert quick.content == ordinary.content
    assert lasting(quick) == lasting(ordinary)
    assert set(quick.headers) == set(ordinary.headers)
    assert quick.headers["cache-status"].startswith("FarmLokal; hit; ttl=")


@pytest.mark.parametrize(
    ("given_id", "is_kept"), [("mine-1.2_3", True), ("not mine", False), ("a" * 65, False)]
)
async def test_only_a_harmless_request_id_comes_back(
    fleet: Fleet, given_id: str, is_kept: bool
) -> None:
    await known(fleet, LIST)
    for answer in await both_ways(fleet, LIST, {"x-request-id": given_id}):
        assert (answer.headers["x-request-id"] == given_id) is is_kept


async def test_its_log_line_and_its_metrics_are_those_of_any_request(fleet: Fleet) -> None:
    path = f"/v1/products/{(await fleet.create('eggs'))['id']}"
    await known(fleet, path)
    names = {way: f"{way}-{secrets.token_hex(4)}" for way in ("quick", "ordinary")}
    client = fleet.clients[0]
    # Nobody else has been told so for a while: all of those have been handed over.
    sample = 'http_requests_total{method="GET",route="/v1/products/{product_id}",status="304"}'
    before = await metric(client, sample)
    unchanged = {"if-none-match": "*"}
    await client.get(path, headers={"x-request-id": names["quick"], **unchanged})
    await client.get(path, headers={"x-request-id": names["ordinary"], **unchanged, **ORDINARY})
    found: dict[str, dict[str, Any]] = {}

    async def logged() -> bool:
        for line in fleet.processes[0].logs():
            for way, name in names.items():
                if line.get("request_id") == name:
                    found[way] = line
        return len(found) == 2

    await eventually_async(logged, deadline_s=5)
    quick, ordinary = found["quick"], found["ordinary"]
    own = {"request_id", "timestamp", "duration_ms"}
    assert quick.keys() == ordinary.keys()
    assert {k: v for k, v in quick.items() if k not in own} == {
        k: v for k, v in ordinary.items() if k not in own
    }

    async def counted() -> bool:
        return await metric(client, sample) == before + 2

    await eventually_async(counted, deadline_s=5)


async def test_requests_that_follow_at_once_are_answered_in_their_order(fleet: Fleet) -> None:
    await known(fleet, LIST)
    listed = (await fleet.clients[0].get(LIST)).content
    ways = ["", "TE: trailers\r\n", "", "", "TE: trailers\r\n", ""]
    requests = [
        f"GET {LIST if n % 2 else '/health/live'} HTTP/1.1\r\nHost: f\r\nX-Request-ID: n-{n}\r\n"
        f"{ways[n % len(ways)]}\r\n".encode()
        for n in range(60)
    ]

    def ask(pieces: list[bytes]) -> list[tuple[int, str, bytes]]:
        with socket.create_connection((LOOPBACK, fleet.processes[0].port), _PATIENCE_S) as road:
            road.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                road.sendall(piece)
            with road.makefile("rb") as incoming:
                return [_read(incoming) for _ in requests]

    whole = b"".join(requests)
    for pieces in (
        [whole],
        requests,
        [whole[at : at + 97] for at in range(0, len(whole), 97)],
    ):
        answers = await asyncio.to_thread(ask, pieces)
        assert [name for _, name, _ in answers] == [f"n-{n}" for n in range(60)]
        assert {status for status, _, _ in answers} == {200}
        assert {body for _, _, body in answers[1::2]} == {listed}


async def test_what_a_flood_holds_behind_a_request_in_the_lane_is_answered(
    fleet: Fleet, cache_redis: PrivateRedis
) -> None:
    """More than a connection holds: it reads no more for a while, and goes on afterwards."""
    await known(fleet, LIST)
    number = 3_000
    flood = b"".join(
        f"GET /health/live HTTP/1.1\r\nX-Request-ID: n-{n}\r\n\r\n".encode() for n in range(number)
    )

    def ask() -> list[str]:
        with (
            socket.create_connection((LOOPBACK, fleet.processes[0].port), _PATIENCE_S) as road,
            road.makefile("rb") as incoming,
        ):
            cache_redis.freeze()
            try:
                road.sendall(b"GET /health/live HTTP/1.1\r\n\r\n")
                _read(incoming)
                road.sendall(f"GET {LIST} HTTP/1.1\r\nX-Request-ID: list\r\n\r\n".encode())
                # By the time this is answered, the server has read it.
                httpx.get(f"{fleet.processes[0].url}/health/live", trust_env=False)
                road.sendall(flood)
                httpx.get(f"{fleet.processes[0].url}/health/live", trust_env=False)
            finally:
                cache_redis.resume()
            return [_read(incoming)[1] for _ in range(number + 1)]

    async with watched(fleet) as took:
        answered = await asyncio.to_thread(ask)
    assert answered == ["list", *(f"n-{n}" for n in range(number))]
    assert took == {"answered": 1}


async def test_what_follows_a_refused_body_is_none_of_the_lanes(fleet: Fleet) -> None:
    """Where a body's trailers may come, a request is none: it would be smuggled in."""
    await known(fleet, LIST)

    def ask(end_of_body: bytes) -> bytes:
        with socket.create_connection((LOOPBACK, fleet.processes[0].port), _PATIENCE_S) as road:
            road.sendall(b"POST /nothing HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            with road.makefile("rb") as incoming:
                assert _read(incoming)[0] == 404
                road.sendall(end_of_body)
                # By the time this is answered, the server has read it.
                httpx.get(f"{fleet.processes[0].url}/health/live", trust_env=False)
                road.sendall(f"GET {LIST} HTTP/1.1\r\nConnection: keep-alive\r\n\r\n".encode())
                return bytes(incoming.read(15))

    assert await asyncio.to_thread(ask, b"0\r\n") == b""
    assert await asyncio.to_thread(ask, b"0\r\n\r\n") == b"HTTP/1.1 200 OK"


def _read(incoming: Any) -> tuple[int, str, bytes]:
    class Road:
        def makefile(self, _mode: str) -> Any:
            return _Open(incoming)

    answer = HTTPResponse(Road())  # type: ignore[arg-type]  # it only makes a file of it
    answer.begin()
    return answer.status, answer.headers["x-request-id"], answer.read()


class _Open:
    """The stream, which one answer must not close for the next."""

    def __init__(self, incoming: Any) -> None:
        self._incoming = incoming

    def __getattr__(self, name: str) -> Any:
        return getattr(self._incoming, name)

    def close(self) -> None:
        pass


_NAMES = st.sampled_from(
    [
        "X-Request-ID",
        "If-None-Match",
        "Accept",
        "X-Forwarded-For",
        "Connection",
        "Cookie",
        "",
        "A B",
    ]
)
_VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=30
) | st.sampled_from(["keep-alive", "close", "*", "id-1", "192.0.2.7"])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=5))
async def test_whatever_else_a_head_says(fleet: Fleet, headers: list[tuple[str, str]]) -> None:
    await known(fleet, LIST)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)

    def ask(more: str) -> tuple[int, str | None, bytes]:
        with socket.create_connection((LOOPBACK, fleet.processes[0].port), _PATIENCE_S) as road:
            # So that the connection is known to be idle when the request comes.
            road.sendall(b"GET /health/live HTTP/1.1\r\n\r\n")
            with road.makefile("rb") as incoming:
                _read(incoming)
                road.sendall(f"GET {LIST} HTTP/1.1\r\n{head}{more}\r\n".encode())
                return _read_asked(incoming)

    quick, ordinary = await asyncio.gather(
        asyncio.to_thread(ask, ""), asyncio.to_thread(ask, "TE: trailers\r\n")
    )
    assert quick == ordinary


def _read_asked(incoming: Any) -> tuple[int, str | None, bytes]:
    status, name, body = _read(incoming)
    return status, name if name in {"id-1"} else None, body


async def test_the_limit_is_exact_and_counts_a_refused_read_once(
    tmp_path: Path,
    mariadb: SqlServer,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
) -> None:
    async with api_fleet(
        mariadb, tmp_path, queue=fresh_queue_redis, cache=fresh_cache_redis,
        RATE_LIMIT_REQUESTS=str(LIMIT), RATE_LIMIT_WINDOW_S="86400", CACHE_TIMEOUT_MS="2000",
        TRUSTED_PROXIES=f"{LOOPBACK}/32",
    ) as fleet:  # fmt: skip
        await fleet.create("apples")
        path = "/v1/products?category=apples"
        await known(fleet, path)
        async with watched(fleet) as took, fleet.stranger("192.0.2.9") as client:
            answers = await asyncio.gather(*(client.get(path) for _ in range(3 * LIMIT)))
        assert Counter(answer.status_code for answer in answers) == {200: LIMIT, 429: 2 * LIMIT}
        assert took["went_on"] > 0
        with fresh_cache_redis.client() as looking:
            name = keys.rate_limit("addr:192.0.2.9")
            assert looking.hget(name, "c") == str(LIMIT).encode()
        remaining = sorted(
            int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0])
            for answer in answers
            if answer.status_code == 200
        )
        assert remaining == list(range(LIMIT)), "two were told the same"


async def test_a_read_that_goes_on_fills_under_its_own_look_and_counts_once(
    fleet: Fleet, cache_redis: PrivateRedis
) -> None:
    path = f"/v1/products/{(await fleet.create('eggs'))['id']}"
    await known(fleet, path)
    name = keys.rate_limit(f"addr:{LOOPBACK}")

    def counted() -> tuple[int, int]:
        """Which window it is, and how many it has counted."""
        with cache_redis.client() as looking:
            window, count = looking.hmget(name, "w", "c")
            return int(window or 0), int(count or 0)

    # Without a key: the lane declines one that was verified half a minute ago.
    async with fleet.stranger() as client:
        await client.get(path)
        async with watched(fleet) as took:
            await fleet.clients[1].patch(path, json={"stock": 5})
            window, before = counted()
            answer = await client.get(path)
            # A minute may have turned in between.
            assert counted() in {(window, before + 1), (window + 1, 1)}
    assert took == {"went_on": 1}
    assert (answer.json()["stock"], answer.headers["cache-status"]) == (
        5,
        "FarmLokal; fwd=miss; stored",
    )


async def test_no_reader_in_the_lane_sees_an_older_version_than_was_acknowledged(
    fleet: Fleet,
) -> None:
    product = await fleet.create("apples")
    paths = (f"/v1/products/{product['id']}", LIST)
    for path in paths:
        await known(fleet, path)
    acknowledged, writing = product["version"], True

    async def write() -> None:
        nonlocal acknowledged, writing
        for number in range(150):
            writer = fleet.clients[number % 2]
            answer = await writer.patch(paths[0], json={"stock": number})
            acknowledged = answer.json()["version"]
        writing = False

    async def read(client: httpx.AsyncClient, path: str) -> int:
        count = 0
        while writing:
            at_least = acknowledged
            found = (await client.get(path)).json()
            one = found if "version" in found else found["data"][0]
            assert (one["id"], one["version"] >= at_least) == (product["id"], True)
            count += 1
        return count

    async with watched(fleet) as took:
        reading = [read(client, path) for client in fleet.clients for path in paths for _ in "12"]
        await asyncio.gather(write(), *reading)
    assert min(took["answered"], took["went_on"]) > 100


async def test_a_deleted_product_is_gone_at_once(fleet: Fleet) -> None:
    product = await fleet.create("apples")
    path = f"/v1/products/{product['id']}"
    await known(fleet, path)
    assert (await fleet.clients[1].delete(path)).status_code == 204
    for client in fleet.clients:
        for _ in range(3):
            assert (await client.get(path)).status_code == 404


async def test_a_server_that_is_silent_or_new_costs_nobody_an_answer(
    fleet: Fleet, cache_redis: PrivateRedis
) -> None:
    await known(fleet, LIST)
    expected = (await fleet.clients[0].get(LIST)).content
    cache_redis.freeze()
    try:
        frozen = await asyncio.gather(*(fleet.clients[0].get(LIST) for _ in range(20)))
    finally:
        cache_redis.resume()
    assert {(answer.status_code, answer.content) for answer in frozen} == {(200, expected)}
    assert "fwd=bypass" in frozen[0].headers["cache-status"]

    async def is_hit() -> bool:
        return "; hit" in (await fleet.clients[0].get(LIST)).headers["cache-status"]

    await eventually_async(is_hit, deadline_s=10)
    with cache_redis.client() as client:
        client.script_flush()
    again = await asyncio.gather(*(fleet.clients[0].get(LIST) for _ in range(20)))
    assert {(answer.status_code, answer.content) for answer in again} == {(200, expected)}


async def test_a_key_that_is_revoked_meanwhile_does_not_keep_others_from_filling(
    tmp_path: Path,
    mariadb: SqlServer,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
) -> None:
    """Its look took the lease before the key was asked for again."""
    async with api_fleet(
        mariadb, tmp_path, queue=fresh_queue_redis, cache=fresh_cache_redis, processes=1,
        API_KEY_CACHE_S="3", CACHE_TIMEOUT_MS="10000",
    ) as fleet:  # fmt: skip
        path = f"/v1/products/{(await fleet.create('eggs'))['id']}"
        await known(fleet, path)
        with fresh_cache_redis.client() as client:
            client.delete(keys.GENERATION_ALL)
        async with watched(fleet) as took, fleet.stranger() as stranger:
            fresh_cache_redis.freeze()
            try:
                asking = asyncio.create_task(fleet.clients[0].get(path))

                async def is_asked() -> bool:
                    return await metric(stranger, "http_requests_in_flight") >= 2

                await eventually_async(is_asked, deadline_s=0.8)
                mariadb.execute(
                    "UPDATE api_keys SET revoked_at = UTC_TIMESTAMP(6)", database=fleet.database
                )
                await asyncio.sleep(3)  # as long as a key is believed
            finally:
                fresh_cache_redis.resume()
            assert (await asking).status_code == 401
        assert took == {"went_on": 1}
        async with fleet.stranger() as stranger:
            answer = await stranger.get(path, headers=ORDINARY)
        assert answer.headers["cache-status"] == "FarmLokal; fwd=miss; stored"


async def test_a_client_that_leaves_does_not_keep_others_from_filling(
    fleet: Fleet, cache_redis: PrivateRedis
) -> None:
    """Its look took the lease, and nobody would fill under it."""
    product = await fleet.create("eggs")
    path = f"/v1/products/{product['id']}"
    await known(fleet, path)
    reader, writer = await asyncio.open_connection(LOOPBACK, fleet.processes[0].port)
    writer.write(b"GET /health/live HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"}")
    with cache_redis.client() as client:
        client.delete(keys.GENERATION_ALL)
    async with watched(fleet) as took:
        cache_redis.freeze()
        try:
            writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())

            async def is_asked() -> bool:
                # The scrape itself is in flight as well.
                return await metric(fleet.clients[0], "http_requests_in_flight") >= 2

            await eventually_async(is_asked, deadline_s=0.8)
            writer.transport.abort()
            # By the time this is answered, the server knows.
            await fleet.clients[0].get("/health/live")
        finally:
            cache_redis.resume()
    assert took == {"left": 1}
    answer = await fleet.clients[0].get(path, headers=ORDINARY)
    assert answer.headers["cache-status"] == "FarmLokal; fwd=miss; stored"
