"""Several processes before one partner: what reaches it when the circuit is half-open."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from coordination.breakers.circuit import State
from coordination.errors import CircuitOpen, PartnerUnavailable
from tests.flaky_partner import Behaviour
from tests.partner_calls import Calls, calls_to_flaky_partner
from tests.polling import eventually_async
from tests.servers import PrivateRedis
from tests.service import Service

OPEN_MS = 500


class Callers:
    """Processes that wait for one word to call, all at once."""

    def __init__(self, home: Path, redis_url: str, partner_url: str, stack: ExitStack) -> None:
        self._home, self._redis_url, self._partner_url = home, redis_url, partner_url
        self._stack = stack
        self.processes: list[Service] = []

    def start(self, calls: int, attempt_ms: int, go: Path) -> Service:
        about = {"base_url": self._partner_url, "attempt_ms": attempt_ms, "concurrency": 64}
        process = Service(
            {
                "FARMLOKAL_HOME": str(self._home),
                "REDIS_URL": self._redis_url,
                "PARTNER_SERVICES": json.dumps({"supply": about}),
                "PARTNER_BREAKER_OPEN_MS": str(OPEN_MS),
                "PARTNER_RETRY_DELAYS_MS": "100",
                "LOCK_TIMEOUT_MS": "5000",
                "OAUTH_LOCK_MS": "30000",
                "GO_FILE": str(go),
                "CALLS": str(calls),
            },
            module="tests.partner_caller",
        )
        self._stack.callback(process.close)
        process.start()
        self.processes.append(process)
        return process

    def outcomes(self) -> Counter[str]:
        return Counter(
            line["outcome"]
            for process in self.processes
            for line in process.logs()
            if line["message"] == "called"
        )

    def last_words(self) -> str:
        return "\n".join(process.last_words() for process in self.processes)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def half_open(calls: Calls) -> None:
    """Let the partner fail until the circuit opens, and its time pass."""
    calls.partner.usual = Behaviour(503)
    for _ in range(3):
        try:
            await calls.client.request("supply", "GET", "/")
        except CircuitOpen:
            break
        except PartnerUnavailable:
            continue

    async def is_half_open() -> bool:
        return (await calls.circuit()).state is State.HALF_OPEN

    await eventually_async(is_half_open)
    calls.partner.asked.clear()


async def test_of_fifty_one_callers_in_three_processes_one_reaches_the_partner(
    tmp_path: Path, fresh_redis: PrivateRedis, stack: ExitStack
) -> None:
    """A partner that just comes back must not be met by all who waited for it."""
    async with calls_to_flaky_partner(
        fresh_redis.url, tmp_path, partner_breaker_open_ms=OPEN_MS
    ) as calls:
        callers = Callers(tmp_path, fresh_redis.url, calls.partner.url, stack)
        go = tmp_path / "go"
        for _ in range(3):
            await asyncio.to_thread(callers.start, 17, 10_000, go)
        await half_open(calls)
        gate = asyncio.Event()
        calls.partner.usual = Behaviour(until=gate)
        go.touch()
        await eventually_async(
            lambda: callers.outcomes().total() == 50, deadline_s=9, describe=callers.last_words
        )
        # Whoever is let through has a connection to make; the others were quicker turned away.
        await eventually_async(lambda: len(calls.partner.asked) == 1)
        gate.set()
        await eventually_async(
            lambda: callers.outcomes() == {"CircuitOpen": 50, "ok": 1},
            describe=callers.last_words,
        )
        assert (await calls.circuit()).state is State.CLOSED
        assert len(calls.partner.asked) == 1


async def test_when_the_trials_holder_is_killed_another_follows_after_its_lease(
    tmp_path: Path, fresh_redis: PrivateRedis, stack: ExitStack
) -> None:
    """kill -9 amid the trial: nobody reports, and nobody is let through before its time."""
    async with calls_to_flaky_partner(
        fresh_redis.url, tmp_path, partner_breaker_open_ms=OPEN_MS
    ) as calls:
        callers = Callers(tmp_path, fresh_redis.url, calls.partner.url, stack)
        go = tmp_path / "go"
        holder = await asyncio.to_thread(callers.start, 1, 3_000, go)
        await half_open(calls)
        calls.partner.usual = Behaviour(hang=True)
        go.touch()
        await eventually_async(lambda: len(calls.partner.asked) == 1)
        await asyncio.to_thread(partial(holder.kill))
        calls.partner.usual = Behaviour()
        view = await calls.circuit()
        assert view.wait_s is not None
        assert 0 < view.wait_s <= 3 + 1

        async def is_let_through() -> bool:
            return (await calls.client.request("supply", "GET", "/")).is_good

        with pytest.raises(CircuitOpen):
            await is_let_through()
        await eventually_async(is_let_through, retry_on=CircuitOpen, deadline_s=10)
        assert (await calls.circuit()).state is State.CLOSED
        assert len(calls.partner.asked) == 2
