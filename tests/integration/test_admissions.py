"""The limiter asked about many at once: exact for each, whoever they come with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.pipelining import Taker
from coordination.rate_limit import LimitRequest, RateLimiter, Verdict
from coordination.rate_limit_ahead import Admissions
from tests.databases import settings_for
from tests.polling import eventually_async
from tests.servers import PrivateRedis

pytestmark = pytest.mark.one_redis
LIMIT = 137
REQUEST = LimitRequest("partner:hill", LIMIT, 86_400, policy="webhooks")


@dataclass
class Asked:
    """One who is told."""

    told: tuple[Verdict | None, bytes | None] | str = ""

    def decided(self, verdict: Verdict | None, value: bytes | None) -> None:
        assert not self.told
        self.told = (verdict, value)

    def undecided(self) -> None:
        assert not self.told
        self.told = "undecided"

    @property
    def verdict(self) -> Verdict | None:
        assert isinstance(self.told, tuple), self.told
        return self.told[0]


@pytest.fixture
async def planes(
    tmp_path: Path, fresh_cache_redis: PrivateRedis
) -> AsyncIterator[tuple[CachePlane, ...]]:
    """As of two processes, connected."""
    settings = settings_for(tmp_path, "sqlite:////nowhere", redis_url=fresh_cache_redis.url)
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(2):
            plane = CachePlane(open_cache_client(settings), settings)
            stack.push_async_callback(plane.close)
            await RateLimiter(plane).check(LimitRequest("warm", 1_000, 60))
            opened.append(plane)
        yield tuple(opened)


async def ask(admissions: Admissions, number: int) -> list[Asked]:
    """All in one turn of the loop."""
    those = [Asked() for _ in range(number)]
    for position, who in enumerate(those):
        admissions.ask(who, f"seen:{position}")
    await eventually_async(lambda: all(who.told for who in those))
    return those


def counted(redis: PrivateRedis) -> int:
    with redis.client() as client:
        held = client.hget(keys.rate_limit(REQUEST.client), "c")
    assert isinstance(held, bytes)
    return int(held)


async def test_the_first_are_admitted_and_each_is_told_its_own_count(
    planes: tuple[CachePlane, ...], fresh_cache_redis: PrivateRedis
) -> None:
    """They are more than are asked about at once, and the limit runs out in the midst of some."""
    verdicts = [who.verdict for who in await ask(Admissions(planes[0], REQUEST), 250)]
    assert all(verdict is not None for verdict in verdicts)
    assert [v.allowed for v in verdicts if v] == [True] * LIMIT + [False] * (250 - LIMIT)
    assert [v.remaining for v in verdicts[:LIMIT] if v] == list(range(LIMIT - 1, -1, -1))
    assert all(v.retry_after_s > 0 for v in verdicts[LIMIT:] if v)
    assert counted(fresh_cache_redis) == LIMIT


async def test_what_is_known_is_told_to_who_asked_for_it(
    planes: tuple[CachePlane, ...], fresh_cache_redis: PrivateRedis
) -> None:
    with fresh_cache_redis.client() as client:
        client.mset({"seen:1": b"one", "seen:3": b"three", "seen:9": b"refused"})
    limit = LimitRequest("partner:hill", 5, 86_400)
    those = await ask(Admissions(planes[0], limit), 10)
    values = [who.told[1] for who in those if isinstance(who.told, tuple)]
    assert values == [None, b"one", None, b"three", *[None] * 6]


async def test_two_processes_at_once_admit_no_more_than_the_limit(
    planes: tuple[CachePlane, ...], fresh_cache_redis: PrivateRedis
) -> None:
    groups = [Admissions(plane, REQUEST) for plane in planes]
    rounds = await asyncio.gather(*(ask(groups[n % 2], 7) for n in range(40)))
    verdicts = [who.verdict for those in rounds for who in those]
    assert [v.allowed for v in verdicts if v].count(True) == LIMIT
    assert sorted(v.remaining for v in verdicts if v and v.allowed) == list(range(LIMIT))
    assert counted(fresh_cache_redis) == LIMIT


async def test_a_server_that_forgot_the_script_counts_each_once(
    planes: tuple[CachePlane, ...], fresh_cache_redis: PrivateRedis
) -> None:
    with fresh_cache_redis.client() as client:
        client.script_flush()
    those = await ask(Admissions(planes[0], REQUEST), 10)
    assert [who.verdict.remaining for who in those if who.verdict] == [*range(136, 126, -1)]
    assert counted(fresh_cache_redis) == 10


async def test_without_a_server_all_go_ahead_unchecked_or_ask_in_full(
    planes: tuple[CachePlane, ...], fresh_cache_redis: PrivateRedis
) -> None:
    fresh_cache_redis.freeze()
    try:
        admissions = Admissions(planes[0], REQUEST)
        assert [who.told for who in await ask(admissions, 3)] == [(None, None)] * 3
        # Its connection is gone: who asks now is to wait for another, which takes a coroutine.
        assert [who.told for who in await ask(admissions, 3)] == ["undecided"] * 3
    finally:
        fresh_cache_redis.revive()


@pytest.mark.parametrize("reply", [1, [2, 0, 0, 1_000, [None]]])
async def test_a_reply_that_is_none_of_ours_leaves_nobody_waiting(
    planes: tuple[CachePlane, ...], monkeypatch: pytest.MonkeyPatch, reply: object
) -> None:
    """They go ahead, all of them, as when there is no answer."""

    def answer(_: bytes, taker: Taker, *, at_once: bool) -> bool:
        assert at_once
        asyncio.get_running_loop().call_soon(taker.set_result, reply)
        return True

    monkeypatch.setattr(planes[0], "offer", answer)
    admissions, asked = Admissions(planes[0], REQUEST), [Asked() for _ in range(2)]
    for number, who in enumerate(asked):
        admissions.ask(who, keys.webhook_seen("hill", str(number)))

    async def all_told() -> bool:
        return all(who.told for who in asked)

    await eventually_async(all_told)
    assert [who.told for who in asked] == [(None, None)] * 2
