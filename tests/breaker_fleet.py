"""Breakers of several processes on one Redis, with the clock of all of them in hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio as aioredis

from coordination.breakers.breaker import Breaker
from coordination.breakers.circuit import Outcome, State, View
from coordination.breakers.fleet import FleetCircuits
from coordination.clients import open_breaker_client
from coordination.errors import CircuitOpen
from coordination.settings import Settings
from tests.databases import settings_for

__all__ = ["LEASE_S", "SERVICE", "BreakerFleet", "Hands", "breaker_fleet"]

SERVICE = "supply"
LEASE_S = 5.0


class Hands:
    """The clocks of the store and of every process, moved together."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def clock(self) -> float:
        # Processes count from their machine's start: the two must never be compared.
        return self.now_s - 1_699_990_000

    def now_us(self) -> int:
        return round(self.now_s * 1_000_000)


class BreakerFleet:
    """Several processes' breakers of one service, as far as Redis can tell."""

    def __init__(self, settings: Settings, hands: Hands) -> None:
        self.hands = hands
        self._settings = settings
        self._clients: list[aioredis.Redis] = []
        self.circuits = self._open(settings.redis_url)
        self.breakers = [self.join() for _ in range(3)]

    def join(self, redis_url: str | None = None) -> Breaker:
        """One more process, which may find Redis elsewhere. It takes no turn in ``attempts``."""
        circuits = self._open(redis_url or self._settings.redis_url)
        return Breaker(SERVICE, circuits, self._settings, self.hands.clock)

    def _open(self, redis_url: str) -> FleetCircuits:
        settings = self._settings.model_copy(update={"redis_url": redis_url})
        self._clients.append(open_breaker_client(settings))
        return FleetCircuits(
            self._clients[-1], settings, clock=self.hands.clock, now_us=self.hands.now_us
        )

    async def look(self) -> View:
        return await self.circuits.look(SERVICE)

    async def state(self) -> State:
        return (await self.look()).state

    async def attempts(self, outcomes: str, breaker: Breaker | None = None) -> None:
        """Made by each process in turn: F fault, S success, 4 an answer of 4xx, C cancelled."""
        meaning = {
            "F": Outcome.FAULT,
            "S": Outcome.SUCCESS,
            "4": Outcome.REFUSED,
            "C": Outcome.UNKNOWN,
        }
        for number, letter in enumerate(outcomes):
            chosen = breaker or self.breakers[number % len(self.breakers)]
            async with chosen.attempt(LEASE_S) as attempt:
                attempt.outcome, attempt.cause = meaning[letter], "test"

    async def is_refused(self, breaker: Breaker) -> bool:
        """Whether it refuses; leaves no trace if it does not."""
        try:
            permit = await breaker.enter(LEASE_S)
        except CircuitOpen:
            return True
        await breaker.settle(permit, Outcome.UNKNOWN)
        await breaker.close()
        return False

    async def close(self) -> None:
        for breaker in self.breakers:
            await breaker.close()
        for client in self._clients:
            await client.aclose()


@asynccontextmanager
async def breaker_fleet(
    redis_url: str, home: Path, *, patience_ms: int = 5_000
) -> AsyncIterator[BreakerFleet]:
    """Three processes' breakers on this Redis.

    ``patience_ms``: long enough that a busy machine is not taken for a Redis that is away.
    """
    settings = settings_for(
        home,
        "sqlite:////nowhere",
        redis_url=redis_url,
        lock_timeout_ms=patience_ms,
        oauth_lock_ms=30_000,  # which must leave room for it
    )
    fleet = BreakerFleet(settings, Hands())
    try:
        yield fleet
    finally:
        await fleet.close()
