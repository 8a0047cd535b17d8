"""The scheduler's token job, with leadership, store and time in hand."""

from __future__ import annotations

import asyncio
import logging

import pytest

from coordination.tokens.store import Refreshed
from scheduler.board import Board
from scheduler.token_refresh import TokenRefresh


class Leader:
    remaining = 5.0

    def remaining_s(self) -> float:
        return self.remaining


class Store:
    """Answers with `refreshed`, once `answers` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.refreshed = Refreshed("fresh", 3600.0, 1770.0)
        self.answers = asyncio.Event()
        self.answers.set()

    async def refresh_if_due(self, provider: str) -> Refreshed:
        self.asked += 1
        await self.answers.wait()
        return self.refreshed


class Clock:
    at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def store() -> Store:
    return Store()


async def test_only_a_leader_asks(store: Store) -> None:
    """Two schedulers run; the second must not even look."""
    leader = Leader()
    refresh = TokenRefresh("supply", leader, store, Clock())
    leader.remaining = 0.0
    assert await refresh.tick() == "standby"
    assert store.asked == 0
    leader.remaining = 1.0
    assert await refresh.tick() == "fresh"
    assert store.asked == 1


async def test_a_slow_provider_is_asked_once_and_holds_up_no_tick(store: Store) -> None:
    """A provider may take seconds; ticks come every second and must neither pile up nor ask."""
    refresh = TokenRefresh("supply", Leader(), store, Clock())
    store.answers.clear()
    store.refreshed = Refreshed("stored", 3600.0, 1770.0)
    assert await refresh.tick() == "asking"
    assert await refresh.tick() == "asking"
    store.answers.set()
    assert await refresh.tick() == "stored"
    assert store.asked == 1
    assert refresh.status.asked_outcome == "stored"


async def test_what_was_asked_stays_visible_while_nothing_is_due(store: Store) -> None:
    """The last real answer is what an operator looks for, not the look a second ago."""
    clock = Clock()
    refresh = TokenRefresh("supply", Leader(), store, clock)
    store.refreshed = Refreshed("unavailable", 20.0, 0.0)
    await refresh.tick()
    asked_at = refresh.status.asked_at
    clock.at += 1
    store.refreshed = Refreshed("waiting", 19.0, 0.0)
    assert await refresh.tick() == "waiting"
    assert (refresh.status.asked_at, refresh.status.asked_outcome) == (asked_at, "unavailable")
    assert refresh.status.expires_at is not None
    assert refresh.status.expires_at.timestamp() == clock.at + 19


async def test_a_provider_whose_tokens_are_used_once_is_left_alone(store: Store) -> None:
    """Nothing of them can be kept, so asking every second would only wear the provider out."""
    clock = Clock()
    refresh = TokenRefresh("supply", Leader(), store, clock)
    store.refreshed = Refreshed("used_once", None, None)
    assert await refresh.tick() == "used_once"
    clock.at += 59
    assert await refresh.tick() == "uncached"
    clock.at += 2
    assert await refresh.tick() == "used_once"


async def test_closing_gives_up_what_is_under_way(store: Store) -> None:
    """A scheduler ends within two seconds, whatever a provider does."""
    refresh = TokenRefresh("supply", Leader(), store, Clock())
    store.answers.clear()
    assert await refresh.tick() == "asking"
    await refresh.close()
    await refresh.close()


async def test_a_defect_in_a_job_is_logged_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The next tick runs all the same, and an operator sees that this one failed."""

    async def broken() -> str:
        raise ZeroDivisionError

    board = Board(Clock())
    with caplog.at_level(logging.ERROR):
        await board.run("job", broken)
    ran = board.last("job")
    assert ran is not None
    assert ran.outcome == "failed"
    assert "Scheduled job failed" in caplog.text


async def test_a_tick_that_was_on_its_way_asks_no_more_after_the_close(store: Store) -> None:
    """It would leave a request behind that nobody ends, on connections that are closed."""
    refresh = TokenRefresh("supply", Leader(), store, Clock())
    await refresh.close()
    assert await refresh.tick() == "stopped"
    assert store.asked == 0
