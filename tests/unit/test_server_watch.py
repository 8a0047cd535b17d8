"""When statements fail at once because the database is away, and when they never do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from coordination.errors import DatabaseUnavailable
from coordination.settings import load_settings
from models.server_watch import Question, ServerWatch
from tests.polling import eventually_async

_FAILURES = 3
_PATIENCE_MS = 100


class Server:
    """What the question meets: an answer, or silence until it is there again."""

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.asked = 0
        self.asked_at_once = 0
        self.most_at_once = 0
        self.dropped = 0

    async def question(self) -> None:
        self.asked += 1
        self.asked_at_once += 1
        self.most_at_once = max(self.most_at_once, self.asked_at_once)
        try:
            await self.there.wait()
        finally:
            self.asked_at_once -= 1

    def was_asked(self, times: int) -> bool:
        return self.asked >= times

    def drop_idle(self) -> None:
        self.dropped += 1


@asynccontextmanager
async def watched(server: Server, home: Path, *, asks: bool = True) -> AsyncIterator[ServerWatch]:
    settings = load_settings(
        environment="test",
        farmlokal_home=home,
        database_breaker_failures=_FAILURES,
        database_breaker_pause_ms=10,
        database_acquire_timeout_ms=_PATIENCE_MS,
    )
    question: Question | None = server.question if asks else None
    watch = ServerWatch("primary", settings, question, server.drop_idle)
    yield watch
    await watch.close()
    await watch.close()


def fail(watch: ServerWatch, times: int) -> None:
    for _ in range(times):
        watch.unanswered(watch.now())


async def left_alone(watch: ServerWatch) -> None:
    fail(watch, _FAILURES)
    await eventually_async(lambda: watch.is_away, deadline_s=10)


async def test_failures_that_nobody_contradicts_make_statements_fail_at_once(
    tmp_path: Path,
) -> None:
    """One task asks on; connections to a server that is not there are given up."""
    server = Server()
    async with watched(server, tmp_path) as watch:
        fail(watch, _FAILURES - 1)
        await asyncio.sleep(0)
        assert (watch.is_away, server.asked) == (False, 0)
        await left_alone(watch)
        with pytest.raises(DatabaseUnavailable):
            watch.admit()
        fail(watch, 10)
        await eventually_async(lambda: server.asked >= 3, deadline_s=10)
        assert server.most_at_once == 1
        assert server.dropped == 1
        server.there.set()
        await eventually_async(lambda: not watch.is_away, deadline_s=10)
        watch.admit()


async def test_a_server_that_answers_the_question_is_never_left_alone(tmp_path: Path) -> None:
    """Slow statements of ours and a pool that is used up fail too, however many."""
    server = Server()
    server.there.set()
    async with watched(server, tmp_path) as watch:
        for turn in range(1, 4):
            fail(watch, _FAILURES)
            await eventually_async(partial(server.was_asked, turn), deadline_s=10)
            watch.admit()
        assert server.dropped == 0


async def test_a_failure_counts_for_nothing_once_others_were_answered(tmp_path: Path) -> None:
    """A statement that began before the last answer waited for something of its own."""
    server = Server()
    async with watched(server, tmp_path) as watch:
        began_at = watch.now()
        watch.answered()
        for _ in range(10):
            watch.unanswered(began_at)
        await asyncio.sleep(0)
        assert server.asked == 0


async def test_whoever_waits_is_let_go_when_the_server_turns_out_to_be_away(
    tmp_path: Path,
) -> None:
    """Nobody waits out a patience that others have already waited out in vain."""
    server = Server()
    async with watched(server, tmp_path) as watch:

        async def wait() -> None:
            async with watch.patience(60):
                await asyncio.Event().wait()

        waiting = [asyncio.create_task(wait()) for _ in range(5)]
        await asyncio.sleep(0)
        fail(watch, _FAILURES)
        async with asyncio.timeout(10):
            ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [TimeoutError] * 5


async def test_silence_alone_is_noticed(tmp_path: Path) -> None:
    """A server that hangs makes nothing fail for a long time; the next statement has it asked."""
    server = Server()
    async with watched(server, tmp_path) as watch:

        async def wait() -> None:
            async with watch.patience(60):
                await asyncio.Event().wait()

        waiting = []
        async with asyncio.timeout(10):
            while not watch.is_away:
                waiting.append(asyncio.create_task(wait()))
                await asyncio.sleep(_PATIENCE_MS / 5000)
        await asyncio.gather(*waiting, return_exceptions=True)
        assert server.asked >= 1


async def test_an_answer_to_anything_ends_it(tmp_path: Path) -> None:
    """What readiness asks, or a late statement, need not wait for the next question."""
    server = Server()
    async with watched(server, tmp_path) as watch:
        await left_alone(watch)
        watch.answered()
        watch.admit()


async def test_a_file_is_never_left_alone(tmp_path: Path) -> None:
    """SQLite has no server that could hang; its failures come at once anyhow."""
    server = Server()
    async with watched(server, tmp_path, asks=False) as watch:
        fail(watch, 100)
        await asyncio.sleep(0)
        watch.admit()
