"""Reads asked about together are decided as each by itself: ``read_each.lua`` beside ``read.lua``.

Two releases run side by side on the same keys, and one asks so and the other so.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from coordination import keys
from coordination.cache import AnswerCache, ReadPlan
from coordination.cache_entry import NOT_FOUND, encode
from coordination.cache_look import LookState
from coordination.glances import ENOUGH, Glances, Question
from coordination.rate_limit import LimitRequest
from coordination.scripts import source
from tests.caching import LIFETIME, PLAN, VALUE, Source, cache_process
from tests.glancing import TERMS, Reader
from tests.polling import eventually_async
from tests.proxy import road_to
from tests.servers import PrivateRedis

pytestmark = pytest.mark.one_redis
LIMIT, WINDOW_MS = 3, 86_400_000
_GENERATION_TTL_MS, _LEASE_MS, _WARM_LEASE_MS = 20_000, 10_000, 5_000
_KNOWN, _OTHER = "0123456789abcdef", "fedcba9876543210"
# In microseconds, long ago: what was voided then is settled.
_ALL, _OWN, _WATCHED, _FORMER = (b"%016d-aaaaaaaa" % (10**15 + at) for at in range(4))
_STAMP = _ALL + _OWN[:25]


@dataclass(frozen=True, slots=True)
class _Case:
    """What stands under an entry's key, and what comes of reading it. ``None``: an error."""

    value: bytes | None
    state: int | None
    stamping: int = 2
    watched: tuple[str, ...] = ("watched",)


def _entry(stamp: bytes = _STAMP, token: str = _KNOWN, *, fresh_s: int = 30, good_s: int = 60,
           answer: Any = VALUE) -> bytes:  # fmt: skip
    now_ms = int(time.time() * 1000)
    return encode(
        answer,
        stamp=stamp,
        token=token,
        fresh_until_ms=now_ms + fresh_s * 1000,
        good_until_ms=now_ms + good_s * 1000,
    )


def _taken(kind: bytes, until_s: int = 60) -> bytes:
    """A value past its good time that somebody fills, or a lease."""
    old = _entry(fresh_s=-90, good_s=-60)
    return kind + old[1:51] + b"%013d" % (int(time.time() + until_s) * 1000) + old[64:]


def _cases() -> dict[str, _Case]:
    return {
        "served": _Case(_entry(), 1),
        "served to one who has another": _Case(_entry(token=_OTHER), 1),
        "served, of one generation": _Case(_entry(_ALL + b"-" * 25), 1, stamping=1),
        "no such thing": _Case(_entry(answer=NOT_FOUND), 1),
        "due for warming": _Case(_entry(fresh_s=-1), 1),
        "of a former generation": _Case(_entry(_ALL + _FORMER), 2),
        "of a former generation of all": _Case(_entry(_FORMER + _OWN), 2, watched=()),
        "voided": _Case(b"T" + _FORMER, 2),
        "voided together with all": _Case(b"T" + _STAMP, 2),
        "past its time": _Case(_entry(fresh_s=-90, good_s=-60), 2),
        "past its time, being filled": _Case(_taken(b"E"), 3),
        "past its time, whose filler died": _Case(_taken(b"E", until_s=-1), 2),
        "being filled": _Case(_taken(b"L"), 3),
        "missing": _Case(None, 2),
        "missing, with a generation missing": _Case(None, 2, watched=("gone", "watched")),
        "of another release": _Case(b"Z" + _entry()[1:], 2),
        "of another type": _Case(b"", None),
    }


_NAMES = tuple(_cases())


class _World:
    """Equal keys under a prefix of their own."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.client = client
        self.prefix = prefix

    def put(self, cases: dict[str, _Case]) -> None:
        for name, value in (("all", _ALL), ("own", _OWN), ("watched", _WATCHED)):
            self.client.set(self.prefix + name, value, px=_GENERATION_TTL_MS)
        for name, case in cases.items():
            if case.state is None:
                self.client.lpush(self.prefix + name, "x")
            elif case.value is not None:
                self.client.set(self.prefix + name, case.value, px=60_000)

    def keys_of(self, client: str, name: str, case: _Case) -> list[str]:
        generations = ("all", "own")[: case.stamping]
        return [self.prefix + key for key in (client, name, *generations, *case.watched)]

    def contents(self) -> dict[str, tuple[object, int]]:
        """What stands there, and for how many more seconds."""
        found: dict[str, tuple[object, int]] = {}
        for key in self.client.scan_iter(f"{self.prefix}*"):
            kind = self.client.type(key)
            value: Any = self.client.get(key) if kind == b"string" else kind
            if kind == b"hash":
                value = self.client.hgetall(key)
            left_s = round(int(self.client.pttl(key)) / 1000)
            found[key.decode().removeprefix(self.prefix)] = (value, left_s)
        return found


_Asked = list[tuple[str, str, str]]
"""Of each read: whom it is counted against, what it reads, and its token."""


def _together(world: _World, cases: dict[str, _Case], asked: _Asked) -> tuple[int, list[object]]:
    """By one script. Returns its time and what ``read.lua`` would say of each."""
    script_keys: list[str] = []
    arguments: list[str | int] = [
        *(LIMIT, WINDOW_MS, 1),
        *(_GENERATION_TTL_MS, _LEASE_MS, _WARM_LEASE_MS),
    ]
    for client, name, token in asked:
        own = world.keys_of(client, name, cases[name])
        script_keys += own
        arguments += [token, _KNOWN, cases[name].stamping, len(own)]
    reply: Any = world.client.eval(source("read_each"), len(script_keys), *script_keys, *arguments)
    now_ms, told = reply[0], []
    for (_, name, _), previous, current in zip(asked, reply[1::2], reply[2::2], strict=True):
        if previous >= 0:
            stamp = _STAMP if cases[name].stamping == 2 else _ALL + b"-" * 25
            current = [1, previous, current, now_ms, 1, stamp, _KNOWN.encode(), b"", 0, 0]
        told.append(_plain(current))
    return now_ms, told


def _one_by_one(world: _World, cases: dict[str, _Case], asked: _Asked, now_ms: int) -> list[object]:
    """By ``read.lua``, at that time."""
    told: list[object] = []
    for client, name, token in asked:
        own = world.keys_of(client, name, cases[name])
        arguments: list[str | int] = [
            *(LIMIT, WINDOW_MS, 1, now_ms, token),
            *(_GENERATION_TTL_MS, _LEASE_MS, _WARM_LEASE_MS, cases[name].stamping, _KNOWN),
        ]
        try:
            reply: Any = world.client.eval(source("read"), len(own), *own, *arguments)
        except ResponseError as error:
            reply = error
        told.append(_plain(reply))
    return told


def _plain(reply: Any) -> object:
    return str(reply).split()[0] if isinstance(reply, ResponseError) else reply


@pytest.fixture
def worlds(fresh_redis: PrivateRedis) -> Any:
    with fresh_redis.client() as client:
        yield _World(client, "one:"), _World(client, "each:")


def _compared(worlds: tuple[_World, _World], asked: _Asked) -> list[object]:
    """What both ways say, which is the same and leaves the same behind."""
    one, each = worlds
    cases = _cases()
    one.put(cases)
    each.put(cases)
    now_ms, told = _together(each, cases, asked)
    assert told == _one_by_one(one, cases, asked, now_ms)
    left, expected = each.contents(), one.contents()
    # Made by the server's clock at its own moment.
    made = [found.pop("gone", (b"", 0)) for found in (left, expected)]
    assert [len(value) for value, _ in made if isinstance(value, bytes)] in ([0, 0], [25, 25])
    assert left.keys() == expected.keys()
    for key, (value, left_s) in expected.items():
        assert left[key][0] == value, key
        assert abs(left[key][1] - left_s) <= 1, key
    return told


def _token(number: int) -> str:
    return f"{number:016x}"


@pytest.mark.parametrize("name", _NAMES)
async def test_one_read_is_decided_as_by_itself(worlds: tuple[_World, _World], name: str) -> None:
    (told,) = _compared(worlds, [("client", name, _token(1))])
    expected = _cases()[name].state
    if expected is None:
        assert told == "WRONGTYPE"
    else:
        assert isinstance(told, list)
        assert told[4] == expected


@pytest.mark.parametrize("seed", range(20))
async def test_several_reads_are_decided_as_one_after_the_other(
    worlds: tuple[_World, _World], seed: int
) -> None:
    """The same entries and clients several times among them: leases, warming and the limit."""
    chance = random.Random(seed)
    names = chance.sample(_NAMES, 4)
    asked = [
        (chance.choice(["a", "b", "c"]), chance.choice(names), _token(number))
        for number in range(ENOUGH)
    ]
    _compared(worlds, asked)


async def test_the_limit_falls_in_the_middle_of_them(worlds: tuple[_World, _World]) -> None:
    told = _compared(worlds, [("a", "served", _token(number)) for number in range(ENOUGH)])
    assert [reply[0] for reply in told if isinstance(reply, list)] == [1] * LIMIT + [0] * (
        ENOUGH - LIMIT
    )


async def test_one_of_another_type_costs_the_others_nothing(
    worlds: tuple[_World, _World],
) -> None:
    """Neither their answers nor a lease that nobody knows of."""
    names = ["missing", "served", "of another type", "served", "missing"]
    told = _compared(worlds, [(str(at), name, _token(at)) for at, name in enumerate(names)])
    states = [reply[4] if isinstance(reply, list) else reply for reply in told]
    assert states == [2, 1, "WRONGTYPE", 1, 3]


_TERMS = LimitRequest("", limit=33, window_s=86_400)


async def _filled(cache: AnswerCache, plan: ReadPlan = PLAN) -> None:
    """Have its answer at hand."""
    source = Source()
    for _ in range(2):
        await cache.fetch(plan, source.fill, None)
    assert cache.at_hand(plan.entry)


async def _all_told(readers: list[Reader]) -> None:
    async def are_told() -> bool:
        return all(reader.told for reader in readers)

    await eventually_async(are_told, deadline_s=5)
    assert {len(reader.told) for reader in readers} == {1}


async def test_of_many_at_once_exactly_as_many_are_admitted_as_the_limit_says(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    async with AsyncExitStack() as processes:
        readers: list[Reader] = []
        lanes = []
        for _ in range(2):
            cache = await processes.enter_async_context(cache_process(tmp_path, fresh_redis))
            await _filled(cache)
            lanes.append(Glances(cache, _TERMS))
        for number in range(100):
            reader = Reader(terms=_TERMS)
            assert lanes[number % 2].ask(reader, Question(PLAN))
            readers.append(reader)
            if number % 17 == 0:
                await asyncio.sleep(0)
        await _all_told(readers)
    assert Counter(reader.told[0] for reader in readers) == {"hit": 33, LookState.LIMITED: 67}
    remaining = [
        verdict.remaining for reader in readers for verdict in reader.verdicts
        if verdict is not None and verdict.allowed
    ]  # fmt: skip
    assert sorted(remaining) == list(range(33))
    with fresh_redis.client() as client:
        assert client.hget(keys.rate_limit("somebody"), "c") == b"33"


@pytest.mark.parametrize("mishap", ["frozen", "killed", "restarted", "scripts gone"])
async def test_whatever_happens_to_the_server_everybody_is_told_once(
    tmp_path: Path, fresh_redis: PrivateRedis, mishap: str
) -> None:
    async with cache_process(tmp_path, fresh_redis) as cache:
        lane = Glances(cache, TERMS)
        await _filled(cache)
        if mishap == "scripts gone":
            with fresh_redis.client() as client:
                client.script_flush()
        elif mishap == "restarted":
            fresh_redis.kill()
            fresh_redis.restart()
        else:
            fresh_redis.freeze()
        readers = [Reader() for _ in range(3 * ENOUGH + 1)]
        for reader in readers:
            assert lane.ask(reader, Question(PLAN))
        await asyncio.sleep(0)
        if mishap == "killed":
            fresh_redis.kill()
        await _all_told(readers)
    told = {what for reader in readers for what in reader.told}
    assert told <= ({"hit"} if mishap == "scripts gone" else {"fault", "declined"})


async def test_a_lease_that_nobody_was_told_of_is_returned(
    tmp_path: Path, fresh_redis: PrivateRedis
) -> None:
    """The server did it all, and its reply was lost."""
    voided = ReadPlan("list", keys.product_list("voided"), PLAN.generations, LIFETIME)
    async with (
        road_to(fresh_redis.port) as road,
        cache_process(tmp_path, road, cache_breaker_failures=100) as cache,
    ):
        lane = Glances(cache, TERMS)
        await _filled(cache)
        await _filled(cache, voided)
        leases: list[bool] = []

        def look() -> None:
            with fresh_redis.client() as client:
                held: Any = client.get(voided.entry)
                leases.append(held is not None and held.startswith(b"L"))
            road.hangs_up = False

        with fresh_redis.client() as client:
            client.delete(voided.entry)
        road.hangs_up = True
        readers = [Reader(), Reader(), Reader(voided, then=look), Reader()]
        for reader in readers:
            assert lane.ask(reader, Question(reader.plan))
        await _all_told(readers)
        assert [reader.told for reader in readers] == [["fault"]] * 4
        assert leases == [True]

        async def is_free() -> bool:
            with fresh_redis.client() as client:
                return client.get(voided.entry) is None

        await eventually_async(is_free, deadline_s=2)
