"""Gathering: who goes at once and who waits, and that everybody is told once whatever happens."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Disconnected

from coordination import pipelining
from coordination.cache import AnswerCache
from coordination.cache_ahead import Glance
from coordination.cache_entry import Entry
from coordination.cache_look import LookState
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.glances import ENOUGH, Glances, Question
from tests.caching import PLAN, VALUE
from tests.databases import settings_for
from tests.glancing import TERMS, Reader

_NOW_MS = 1_700_000_000_000
_QUESTION = Question(PLAN)


class _Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        pass


class _Desk:
    """One process's glances, and the server's end of its connection."""

    def __init__(self, cache: AnswerCache, patch: pytest.MonkeyPatch) -> None:
        self.cache = cache
        self.glances = Glances(cache, TERMS)
        self.given_back: list[str] = []
        patch.setattr(cache, "give_back", lambda _, token: self.given_back.append(token))
        cache._near.keep(PLAN.entry, "0123456789abcdef", Entry(VALUE, _NOW_MS + 30_000))
        self.connect()

    def connect(self) -> None:
        self.wire = _Wire()
        self.connection = pipelining._Connection(asyncio.get_running_loop(), 30.0)
        self.connection.connection_made(self.wire)
        quick: Any = self.cache.plane._quick
        quick._connection = self.connection

    def ask(self, number: int = 1, **options: Any) -> list[Reader]:
        readers = [Reader(**options) for _ in range(number)]
        for reader in readers:
            assert self.put(reader)
            assert not reader.told, "before it had asked"
        return readers

    def put(self, reader: Glance) -> bool:
        return self.glances.ask(reader, _QUESTION)

    @property
    def asked(self) -> list[int]:
        """Of how many reads each question was that has been written."""
        return [
            len(re.findall(rb"ratelimit:", one))
            for write in self.wire.written
            for one in re.split(rb"EVAL(?:SHA)?\r\n", write)[1:]
        ]

    def reply(self, *what: object) -> None:
        """The server answers the oldest question; by default that all of it are hits."""
        number = self._oldest()
        self.connection.data_received(_resp(what[0] if what else _hits(number)))

    def _oldest(self) -> int:
        taker: Any = self.connection.pending[0][0]
        return len(taker.those)


def _hits(number: int) -> list[object]:
    return [_NOW_MS, *[0, 1] * number]


def _resp(what: object) -> bytes:
    if isinstance(what, list):
        return b"*%d\r\n%b" % (len(what), b"".join(map(_resp, what)))
    if isinstance(what, int):
        return b":%d\r\n" % what
    if isinstance(what, bytes):
        return b"$%d\r\n%b\r\n" % (len(what), what)
    return b"-%b\r\n" % str(what).encode()


def _found(state: LookState) -> list[object]:
    return [1, 0, 1, _NOW_MS, int(state), b"s" * 50, b"t" * 16, b"", 0, 0]


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Desk]:
    settings = settings_for(tmp_path, "sqlite:////nowhere", redis_url="redis://127.0.0.1:1/0")
    plane = CachePlane(open_cache_client(settings), settings)
    yield _Desk(AnswerCache(plane), monkeypatch)
    await plane.close()


async def _turn() -> None:
    await asyncio.sleep(0)


def _told(readers: list[Reader]) -> list[list[LookState | str]]:
    return [reader.told for reader in readers]


async def test_as_many_as_are_enough_go_at_once(desk: _Desk) -> None:
    readers = desk.ask(ENOUGH)
    assert desk.asked == [ENOUGH]
    desk.reply()
    assert _told(readers) == [["hit"]] * ENOUGH


async def test_fewer_go_together_when_the_turn_ends(desk: _Desk) -> None:
    desk.ask(ENOUGH - 1)
    assert desk.asked == []
    await _turn()
    assert desk.asked == [ENOUGH - 1]


async def test_who_comes_while_a_question_is_under_way_goes_with_its_reply(desk: _Desk) -> None:
    (first,) = desk.ask()
    await _turn()
    desk.ask(2)
    await _turn()
    assert desk.asked == [1]
    desk.reply()
    assert first.told == ["hit"]
    assert desk.asked == [1, 2]


async def test_enough_of_them_do_not_wait_for_a_reply(desk: _Desk) -> None:
    desk.ask()
    await _turn()
    desk.ask(2 * ENOUGH)
    assert desk.asked == [1, ENOUGH, ENOUGH]


async def test_who_cannot_ask_is_told_so_at_once(desk: _Desk) -> None:
    desk.connection.abort(Disconnected("cut"))
    assert not desk.put(Reader())
    desk.connect()
    desk.cache._near.drop(PLAN.entry)
    assert not desk.put(Reader())
    await _turn()
    assert desk.asked == []


async def test_those_whose_connection_goes_before_they_could_ask_take_their_own_way(
    desk: _Desk,
) -> None:
    readers = desk.ask(3)
    desk.connection.abort(Disconnected("cut"))
    await _turn()
    await _turn()
    assert _told(readers) == [["declined"]] * 3
    assert desk.given_back == []
    desk.connect()
    desk.ask()
    await _turn()
    assert desk.asked == [1]


async def test_a_connection_that_can_carry_no_more_strands_nobody(
    desk: _Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = [Reader() for _ in range(ENOUGH)]
    queue = iter(again)
    readers = desk.ask(ENOUGH - 1, then=lambda: desk.put(next(queue)))
    monkeypatch.setattr(pipelining, "_MOST_UNDER_WAY", 1)
    desk.connection.send(("PING",))
    readers += desk.ask()
    assert not desk.put(Reader())
    monkeypatch.undo()
    for _ in range(3):
        await _turn()
    assert _told(readers) == [["declined"]] * ENOUGH
    desk.connection.data_received(b"+PONG\r\n")
    desk.reply()
    assert _told(again) == [["hit"]] * (ENOUGH - 1) + [[]]


async def test_a_server_that_does_not_know_the_script_is_given_its_text(desk: _Desk) -> None:
    readers = desk.ask(ENOUGH)
    desk.reply("NOSCRIPT No matching script.")
    assert desk.asked == [ENOUGH, ENOUGH]
    assert b"local function admit" in desk.wire.written[-1]
    assert _told(readers) == [[]] * ENOUGH
    desk.reply()
    assert _told(readers) == [["hit"]] * ENOUGH


@pytest.mark.parametrize(
    "reply",
    [
        b"OK",
        [],
        [_NOW_MS, *[0, 1] * (ENOUGH - 1)],
        [_NOW_MS, *[0, 1] * (ENOUGH - 1), b"0", 1],
        [_NOW_MS, *[0, 1] * (ENOUGH - 1), 0, b"1"],
        [_NOW_MS, *[0, 1] * (ENOUGH - 1), -1, 1],
        [_NOW_MS, *[0, 1] * (ENOUGH - 1), -1, [1, 2]],
        [b"now", *[0, 1] * ENOUGH],
    ],
    ids=repr,
)
async def test_a_reply_that_cannot_be_read_is_a_fault_for_all(desk: _Desk, reply: object) -> None:
    """Nobody knows what was done, so the leases that may have been taken are returned."""
    readers = desk.ask(ENOUGH)
    waiting = desk.ask()
    desk.reply(reply)
    assert _told(readers) == [["fault"]] * ENOUGH
    assert desk.given_back == [reader.token for reader in readers]
    desk.reply()
    assert _told(waiting) == [["hit"]]


async def test_a_broken_connection_is_a_fault_for_those_who_had_asked(desk: _Desk) -> None:
    readers = desk.ask(2 * ENOUGH)
    waiting = desk.ask()
    desk.connection.abort(Disconnected("cut"))
    assert _told(readers) == [["fault"]] * 2 * ENOUGH
    assert desk.given_back == [reader.token for reader in readers]
    await _turn()
    assert _told(waiting) == [["declined"]]


async def test_each_is_told_what_was_found_for_it(desk: _Desk) -> None:
    """A read that the server refuses has taken no lease, and costs the others nothing."""
    readers = desk.ask(ENOUGH)
    wrong = "WRONGTYPE Operation against a key holding the wrong kind of value"
    others = [-1, wrong, -1, _found(LookState.FILLING), -1, _found(LookState.WAITING)]
    desk.reply([_NOW_MS, *[0, 1] * (ENOUGH - 3), *others])
    told = ["hit"] * (ENOUGH - 3) + ["fault", LookState.FILLING, LookState.WAITING]
    assert _told(readers) == [[what] for what in told]
    assert desk.given_back == []


@pytest.mark.parametrize("end", ["hit", "found", "fault", "declined"])
async def test_one_that_breaks_costs_nobody_what_is_theirs(desk: _Desk, end: str) -> None:
    def clumsy() -> None:
        raise RuntimeError("not that")

    readers = [*desk.ask(2), *desk.ask(1, then=clumsy), *desk.ask(2)]
    if end == "declined":
        desk.connection.abort(Disconnected("cut"))
    await _turn()
    if end == "fault":
        desk.connection.abort(Disconnected("cut"))
    elif end == "hit":
        desk.reply()
    elif end == "found":
        desk.reply([_NOW_MS, *[-1, _found(LookState.WAITING)] * 5])
    await _turn()
    told = LookState.WAITING if end == "found" else end
    assert _told(readers) == [[told]] * 5


@pytest.mark.parametrize("seed", range(30))
async def test_everybody_is_told_once_whatever_happens(
    desk: _Desk, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers that come, and ask again when told, among replies, refusals and lost connections."""
    chance = random.Random(seed)
    readers: list[Reader] = []

    def come() -> None:
        if len(readers) < 300:
            reader = Reader(then=come if chance.random() < 0.5 else lambda: None)
            if desk.put(reader):
                readers.append(reader)

    def answer() -> None:
        if desk.connection.pending:
            number = desk._oldest()
            desk.reply(
                chance.choice(
                    [
                        _hits(number),
                        _hits(number),
                        [_NOW_MS, *[-1, _found(LookState.LIMITED)] * number],
                        "NOSCRIPT No matching script.",
                        "OOM command not allowed",
                        b"?",
                    ]
                )
            )

    def lose() -> None:
        desk.connection.abort(Disconnected("cut"))
        desk.connect()

    # Otherwise the first faults would have the server left alone for all the rest.
    monkeypatch.setattr(desk.cache.plane._cooldown, "failed", lambda _began_at: False)
    for _ in range(400):
        for _ in range(chance.randrange(12)):
            come()
        what = chance.choices(["answer", "lose", "nothing"], [6, 1, 2])[0]
        if what == "answer":
            answer()
        elif what == "lose":
            lose()
        if chance.random() < 0.5:
            await _turn()
    for _ in range(1_000):
        await _turn()
        if desk.connection.pending:
            desk.reply()
    assert len(readers) == 300
    assert Counter(len(reader.told) for reader in readers) == {1: 300}
