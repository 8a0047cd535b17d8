"""The sliding window counter: its arithmetic by a clock of the test's, its bounds in a race."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.client_address import client_address, limit_identity
from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.rate_limit import LimitRequest, RateLimiter, RateLimitExceeded, Verdict
from coordination.settings import Settings
from tests.databases import settings_for
from tests.fleet import Fleet, api_fleet
from tests.herd import herd
from tests.servers import PrivateRedis, SqlServer

LIMIT, WINDOW_S = 1000, 60
WINDOW_MS = WINDOW_S * 1000
START_MS = 1_700_000_000_000 // WINDOW_MS * WINDOW_MS
CLIENT = LimitRequest("somebody", LIMIT, WINDOW_S)


@pytest.fixture
async def limiter(tmp_path: Path, fresh_cache_redis: PrivateRedis) -> AsyncIterator[RateLimiter]:
    settings = settings_for(tmp_path, "sqlite:////nowhere", redis_url=fresh_cache_redis.url)
    plane = CachePlane(open_cache_client(settings), settings)
    yield RateLimiter(plane)
    await plane.close()


def counted(redis: PrivateRedis, previous: int, current: int, window: int = 0) -> None:
    """As if these had been admitted in the window before and in this one."""
    with redis.client() as client:
        name, index = keys.rate_limit(CLIENT.client), START_MS // WINDOW_MS + window
        client.hset(name, mapping={"w": index, "c": current, "p": previous})
        client.pexpire(name, 2 * WINDOW_MS)


async def ask(limiter: RateLimiter, at_s: float, request: LimitRequest = CLIENT) -> Verdict:
    try:
        verdict = await limiter.check(request, now_ms=START_MS + round(at_s * 1000))
    except RateLimitExceeded as error:
        return error.verdict
    assert verdict is not None
    return verdict


async def test_the_worked_example_is_rejected(
    limiter: RateLimiter, fresh_cache_redis: PrivateRedis
) -> None:
    counted(fresh_cache_redis, previous=800, current=300)
    # 800 × 55/60 + 300 = 1033, before this request is even added.
    now_ms = START_MS + 5_000
    reply = await limiter._plane.run(
        "limit", [keys.rate_limit(CLIENT.client)], [LIMIT, WINDOW_MS, 1, now_ms]
    )
    assert reply == [0, 800, 300, now_ms]
    rejected = await ask(limiter, 5)
    assert (rejected.allowed, rejected.remaining, rejected.reset_s) == (False, 0, 55)
    # 699 of 800 may be left: in 2.575 s.
    assert rejected.retry_after_s == 3
    assert not (await ask(limiter, 7.5)).allowed
    assert (await ask(limiter, 7.575)).allowed


async def test_the_limit_is_reached_exactly_and_rejected_requests_are_not_counted(
    limiter: RateLimiter, fresh_cache_redis: PrivateRedis
) -> None:
    counted(fresh_cache_redis, previous=0, current=998)
    first = await ask(limiter, 30)
    assert (first.allowed, first.remaining) == (True, 1)
    last = await ask(limiter, 30)
    assert (last.allowed, last.remaining) == (True, 0)
    for _ in range(50):
        assert not (await ask(limiter, 30)).allowed
    with fresh_cache_redis.client() as client:
        name = keys.rate_limit(CLIENT.client)
        assert client.hget(name, "c") == b"1000"


async def test_a_count_lasts_to_the_end_of_the_next_window(
    limiter: RateLimiter, fresh_cache_redis: PrivateRedis
) -> None:
    name = keys.rate_limit(CLIENT.client)
    with fresh_cache_redis.client() as client:
        for at_s in (10, 20, 70):
            assert (await ask(limiter, at_s)).allowed
            # At least, however late in its window the first of them came; and not for ever.
            assert WINDOW_MS < client.pttl(name) <= 2 * WINDOW_MS
        assert client.hmget(name, "c", "p") == [b"1", b"2"]


async def test_windows_roll_over(limiter: RateLimiter, fresh_cache_redis: PrivateRedis) -> None:
    counted(fresh_cache_redis, previous=500, current=1000)
    # The next window: this one's count fades, the one before is forgotten.
    assert not (await ask(limiter, 60)).allowed
    halfway = await ask(limiter, 90)
    assert (halfway.allowed, halfway.remaining) == (True, 499)
    with fresh_cache_redis.client() as client:
        held = client.hgetall(keys.rate_limit(CLIENT.client))
    assert (held[b"c"], held[b"p"]) == (b"1", b"1000")
    # A window without any request in between.
    assert (await ask(limiter, 180)).remaining == 999


async def test_a_look_costs_nothing(limiter: RateLimiter, fresh_cache_redis: PrivateRedis) -> None:
    look = LimitRequest(CLIENT.client, LIMIT, WINDOW_S, cost=0)
    for _ in range(3):
        assert (await ask(limiter, 1, look)).remaining == LIMIT
    counted(fresh_cache_redis, previous=0, current=LIMIT)
    assert not (await ask(limiter, 1, look)).allowed


async def test_retry_after_is_true_to_the_second(
    limiter: RateLimiter, fresh_cache_redis: PrivateRedis
) -> None:
    rng = random.Random(7)
    rejections = 0
    for _ in range(300):
        limit = rng.choice([1, 2, 7, 100, 1000])
        request = LimitRequest(CLIENT.client, limit, WINDOW_S)
        previous, current = rng.randint(0, limit), rng.randint(0, limit)
        at_s = rng.randrange(WINDOW_MS) / 1000
        counted(fresh_cache_redis, previous, current)
        verdict = await ask(limiter, at_s, request)
        if verdict.allowed:
            continue
        rejections += 1
        wait_s = verdict.retry_after_s
        counted(fresh_cache_redis, previous, current)
        if wait_s > 1:
            assert not (await ask(limiter, at_s + wait_s - 1, request)).allowed
        assert (await ask(limiter, at_s + wait_s, request)).allowed
    assert rejections > 50


async def test_within_a_fixed_window_no_race_admits_more_than_the_limit(
    limiter: RateLimiter,
) -> None:
    request = LimitRequest("racer", 100, WINDOW_S)
    verdicts = await asyncio.gather(*(ask(limiter, 1, request) for _ in range(200)))
    assert Counter(verdict.allowed for verdict in verdicts) == {True: 100, False: 100}
    assert sorted(v.remaining for v in verdicts if v.allowed) == list(range(100))


async def test_the_worst_timing_admits_less_than_twice_the_limit(limiter: RateLimiter) -> None:
    request = LimitRequest("schemer", 100, WINDOW_S)
    admitted_at = [
        moment_ms
        for moment_ms in (
            *[59_999] * 100,  # a burst at the very end of one window,
            *range(60_000, 120_000, 100),  # then as fast as it goes
        )
        if (await ask(limiter, moment_ms / 1000, request)).allowed
    ]
    worst = max(
        sum(1 for other in admitted_at if moment <= other < moment + WINDOW_MS)
        for moment in admitted_at
    )
    assert 150 < worst < 200


NETWORKS = Settings(trusted_proxies="10.0.0.0/8,192.168.1.1").trusted_proxies


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "expected"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # no proxy of ours says so
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the left one is hearsay
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 192.168.1.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.2.3.4", "10.2.3.4"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_only_proxies_of_ours_say_whom_they_forward(
    peer: str, forwarded_for: str | None, expected: str
) -> None:
    assert client_address(peer, forwarded_for, NETWORKS) == expected


def test_addresses_one_ipv6_client_can_choose_from_share_a_bucket() -> None:
    assert limit_identity("2001:db8::1") == limit_identity("2001:db8::ffff:2")
    assert limit_identity("2001:db8::1") != limit_identity("2001:db8:0:1::1")
    assert limit_identity("198.51.100.1") != limit_identity("198.51.100.2")


HTTP_LIMIT, FAILED_LOGINS = 100, 5


@pytest.fixture(scope="module")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory,
    mariadb: SqlServer,
    queue_redis: PrivateRedis,
    cache_redis: PrivateRedis,
) -> AsyncIterator[Fleet]:
    async with api_fleet(
        mariadb,
        tmp_path_factory.mktemp("limits"),
        queue=queue_redis,
        cache=cache_redis,
        RATE_LIMIT_REQUESTS=str(HTTP_LIMIT),
        # No window may end in the middle of a test.
        RATE_LIMIT_WINDOW_S="86400",
        RATE_LIMIT_FAILED_LOGINS=str(FAILED_LOGINS),
        TRUSTED_PROXIES="127.0.0.1",
        API_KEY_CACHE_S="1",
        # On a busy machine a check might go unanswered, and what is unchecked is admitted.
        CACHE_TIMEOUT_MS="2000",
    ) as running:
        yield running


async def remaining(client: httpx.AsyncClient, **headers: str) -> int:
    answer = await client.get("/v1/products", headers=headers)
    return int(answer.headers["ratelimit"].split(";r=")[1].split(";")[0])


async def test_a_race_over_two_processes_admits_exactly_the_limit(fleet: Fleet) -> None:
    ports = [process.port for process in fleet.processes]
    answers = await herd(ports, 200, "/v1/products", {"x-forwarded-for": "198.51.100.1"})
    assert Counter(answer.status for answer in answers) == {200: 100, 429: 100}
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == '"default";q=100;w=86400'
        assert answer.headers["ratelimit"].startswith('"default";r=')
        if answer.status == 429:
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) > 0
            assert b"quota-exceeded" in answer.body
            assert b'"violated-policies":["default"]' in answer.body


async def test_every_kind_of_answer_counts_once_and_carries_its_headers(fleet: Fleet) -> None:
    stranger = fleet.stranger("198.51.100.2")
    product = await fleet.create("apples")
    path = f"/v1/products/{product['id']}"
    tag = (await stranger.get(path)).headers["etag"]
    left = HTTP_LIMIT - 1
    bad_id = "/v1/products/00000000-0000-7000-8000-000000000000"
    for method, target, status, headers in (
        ("GET", path, 200, {}),
        ("GET", path, 304, {"if-none-match": tag}),
        ("HEAD", path, 200, {}),
        ("GET", bad_id, 404, {}),
        ("GET", bad_id, 404, {}),
        ("GET", "/v1/products/no-uuid", 400, {}),
        ("GET", "/v1/products?category=nowhere", 400, {}),  # counted, then found wanting
        ("GET", "/v1/products?category=999999", 400, {}),
        ("GET", "/v1/products?limit=0", 400, {}),
        ("GET", "/v1/products?cursor=forged", 400, {}),
        ("GET", "/v1/categories", 200, {}),
        ("GET", "/nowhere", 404, {}),
        ("GET", "/openapi.json", None, {}),
        ("PUT", path, 405, {}),
        ("DELETE", path, 401, {}),
        ("POST", "/v1/products", 401, {}),
        ("GET", path, 401, {"authorization": "Basic abc"}),
        ("GET", path, 401, {"authorization": "Bearer forged"}),
    ):
        answer = await stranger.request(method, target, headers=headers)
        assert status in (None, answer.status_code), (method, target, answer.text)
        left -= 1
        shown = answer.headers["ratelimit"]
        assert shown.startswith(f'"default";r={left};t='), (method, target, shown)
        assert answer.headers["ratelimit-policy"] == '"default";q=100;w=86400'
    await stranger.aclose()


async def test_health_and_metrics_are_not_limited(fleet: Fleet) -> None:
    stranger = fleet.stranger("198.51.100.3")
    assert await remaining(stranger) == HTTP_LIMIT - 1
    for path in ("/health/live", "/health/ready", "/metrics") * 3:
        answer = await stranger.get(path)
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers
    assert await remaining(stranger) == HTTP_LIMIT - 2
    await stranger.aclose()


async def test_forged_keys_get_no_bucket_of_their_own(fleet: Fleet) -> None:
    stranger = fleet.stranger("198.51.100.4")
    statuses = []
    for number in range(FAILED_LOGINS + 3):
        # Well-formed, so that only the database can tell.
        forged = f"Bearer fl_{number:043d}"
        answer = await stranger.get("/v1/products", headers={"authorization": forged})
        statuses.append(answer.status_code)
        assert "ratelimit" in answer.headers
    assert statuses == [401] * FAILED_LOGINS + [429] * 3
    # The address itself may still read, and each refused login was a request of its.
    assert await remaining(stranger) == HTTP_LIMIT - FAILED_LOGINS - 1
    await stranger.aclose()


async def test_a_valid_key_has_a_bucket_of_its_own_wherever_it_comes_from(fleet: Fleet) -> None:
    stranger = fleet.stranger("198.51.100.5")
    by_key = {"authorization": f"Bearer {fleet.key}"}
    first = await remaining(stranger, **by_key)
    other = await remaining(fleet.clients[1], **{"x-forwarded-for": "198.51.100.6"})
    assert other == first - 1
    assert await remaining(stranger) == HTTP_LIMIT - 1
    await stranger.aclose()


async def test_a_forwarded_address_is_read_from_the_proxys_own_line(fleet: Fleet) -> None:
    """Some proxies add a header line below the one the client made up."""
    stranger = fleet.stranger()

    async def left(*lines: str) -> int:
        headers = [("x-forwarded-for", line) for line in lines]
        answer = await stranger.get("/v1/products", headers=headers)
        return int(answer.headers["ratelimit"].split(";r=")[1].split(";")[0])

    assert await left("198.51.100.7") == HTTP_LIMIT - 1
    assert await left("1.1.1.1, 198.51.100.7") == HTTP_LIMIT - 2
    assert await left("2.2.2.2", "198.51.100.7") == HTTP_LIMIT - 3
    await stranger.aclose()


async def test_a_revoked_key_is_refused_within_its_time(fleet: Fleet, mariadb: SqlServer) -> None:
    """Last in this module: the fleet's own key goes."""
    for client in fleet.clients:
        assert (await client.get("/v1/products")).status_code == 200
    sql = "UPDATE api_keys SET revoked_at = NOW(6) WHERE id = %s"
    assert mariadb.execute(sql, [fleet.key_id], database=fleet.database) == 1
    ends_at = time.monotonic() + 1.5
    refused: set[int] = set()
    while len(refused) < 2:
        assert time.monotonic() < ends_at
        for number in {0, 1} - refused:
            # Asked for all the time: being used must not prolong its life.
            answer = await fleet.clients[number].get("/v1/products/no-uuid")
            if answer.status_code == 401:
                refused.add(number)
