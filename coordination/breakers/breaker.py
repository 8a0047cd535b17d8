"""The breaker that callers use: the fleet's circuit while Redis answers, this process's otherwise.

Each attempt asks for leave and reports how it ended, one round trip each; refusals of an open
circuit are answered from memory for at most half a second, so that no storm of refused calls
reaches Redis. Neither a cancelled attempt nor a 4xx counts; a trial gives its slot back when it is
cancelled. Fails towards protection: without Redis five failures of this process alone open it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import redis.asyncio as aioredis

from coordination.breakers.circuit import Outcome, Permit, State, View
from coordination.breakers.fleet import FleetCircuits
from coordination.breakers.local import LocalCircuit
from coordination.cache_plane import fresh_token
from coordination.errors import CircuitOpen
from coordination.metrics import BREAKER_STATE, BREAKER_TRANSITIONS
from coordination.settings import Settings

__all__ = ["Attempt", "Breaker", "Breakers", "open_breakers"]

_log = logging.getLogger(__name__)
T = TypeVar("T")
_REFRESH_S: Final = 0.5
_CLOSE_DEADLINE_S: Final = 1.0
_GAUGE: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class Attempt:
    """One admitted attempt; whoever makes it says here how it ended."""

    __slots__ = ("cause", "outcome")

    def __init__(self) -> None:
        self.outcome = Outcome.UNKNOWN
        self.cause = ""
        """A few fixed words for operators; never what the partner said."""


class Breaker:
    """One service's, one per process."""

    def __init__(
        self,
        service: str,
        fleet: FleetCircuits,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self._fleet = fleet
        self._clock = clock
        self._local = LocalCircuit(
            service,
            failures=settings.partner_breaker_failures,
            open_s=settings.partner_breaker_open_ms / 1000,
            clock=clock,
            on_transition=lambda state: self._note(state, "process"),
        )
        self._fleet_epoch: str | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    @asynccontextmanager
    async def attempt(self, lease_s: float) -> AsyncIterator[Attempt]:
        """Make one attempt inside, at most ``lease_s`` long; set its ``outcome`` once it is known.

        Raises ``CircuitOpen`` instead of admitting. What leaves the block without an outcome,
        a cancellation above all, counts for nothing.
        """
        permit = await self.enter(lease_s)
        attempt = Attempt()
        try:
            yield attempt
        finally:
            await self.settle(permit, attempt.outcome, attempt.cause)

    @property
    def open_for_s(self) -> float | None:
        """How long it will surely refuse, as last seen; ``None`` when it may admit."""
        wait_s = self._local.wait_s
        return wait_s if self._local.state is State.OPEN and wait_s > 0 else None

    async def enter(self, lease_s: float) -> Permit:
        """Leave to make an attempt, to be settled. Raises ``CircuitOpen``."""
        if self._local.known_refusal(_REFRESH_S):
            raise CircuitOpen(self.service, self._local.wait_s)
        token = fresh_token()
        asking = self._spawn(self._ask(token, lease_s))
        try:
            view = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # The store may just be granting the trial to somebody who is gone.
            self._spawn(self._give_back(asking, token))
            raise
        if view is None:
            permit = self._local.enter(token, lease_s)
            if permit is None:
                raise CircuitOpen(self.service, self._local.wait_s)
            return permit
        if not view.admitted:
            raise CircuitOpen(self.service, self._local.wait_s if view.held else view.wait_s or 0.0)
        return self._local.permit(view, token)

    async def settle(self, permit: Permit, outcome: Outcome, cause: str = "") -> None:
        """Count how it ended. Goes on in the background when the caller is cancelled meanwhile."""
        if outcome is Outcome.REFUSED:
            outcome = Outcome.SUCCESS if permit.trial else Outcome.UNKNOWN
        if outcome is Outcome.UNKNOWN and not permit.trial:
            return
        reporting = self._spawn(self._tell(permit, outcome, cause))
        if outcome is not Outcome.UNKNOWN:
            await asyncio.shield(reporting)

    async def close(self) -> None:
        """Let reports under way arrive, within a deadline. May be called twice."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_DEADLINE_S)

    async def _ask(self, token: str, lease_s: float) -> View | None:
        sent_at, version = self._clock(), self._local.version
        view = await self._fleet.enter(self.service, self._local.memory(), token, lease_s)
        if view is not None:
            self._see(view, token, lease_s, sent_at, version)
        return view

    async def _tell(self, permit: Permit, outcome: Outcome, cause: str) -> None:
        if permit.epoch is None:
            # Admitted here alone: the fleet hears of it with the next question.
            self._local.record(permit, outcome)
            return
        sent_at, version = self._clock(), self._local.version
        view = await self._fleet.report(self.service, self._local.memory(), permit, outcome, cause)
        if view is None:
            self._local.record(permit, outcome)
        else:
            if permit.trial:
                self._local.end_trial(permit.trial)
            self._see(view, "", 0.0, sent_at, version)

    async def _give_back(self, asking: asyncio.Task[View | None], token: str) -> None:
        view = await asking
        if view is not None and view.is_trial:
            await self._tell(self._local.permit(view, token), Outcome.UNKNOWN, "")

    def _see(self, view: View, token: str, lease_s: float, sent_at: float, version: int) -> None:
        if view.transition is not None:
            self._note(view.transition, "fleet", cause=view.cause, by=view.by if view.held else "")
        adopted = self._local.adopt(
            view, token=token, lease_s=lease_s, sent_at=sent_at, version=version
        )
        if not adopted:
            return
        BREAKER_STATE.labels(self.service).set(_GAUGE[view.state])
        if self._fleet_epoch != view.epoch:
            if self._fleet_epoch is not None and view.epoch == str(view.acted_at_us):
                _log.warning(
                    "Circuit was set by an operator",
                    extra={
                        "service": self.service,
                        "action": view.action,
                        "by": view.by,
                        "why": view.why,
                    },
                )
            self._fleet_epoch = view.epoch

    def _note(self, state: State, scope: str, **facts: str) -> None:
        BREAKER_TRANSITIONS.labels(self.service, scope, state).inc()
        BREAKER_STATE.labels(self.service).set(_GAUGE[state])
        _log.log(
            logging.WARNING if state is State.OPEN else logging.INFO,
            "Circuit changed",
            extra={"service": self.service, "state": state, "scope": scope, **facts},
        )

    def _spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Breakers:
    """All breakers of one process, made at their first use. ``close()`` may be called twice."""

    def __init__(
        self,
        fleet: FleetCircuits,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._settings = settings
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}

    def of(self, service: str) -> Breaker:
        """The service's breaker, always the same one."""
        breaker = self._breakers.get(service)
        if breaker is None:
            breaker = Breaker(service, self._fleet, self._settings, self._clock)
            self._breakers[service] = breaker
        return breaker

    async def close(self) -> None:
        """Let reports under way arrive. The client stays open: it was borrowed."""
        await asyncio.gather(*(breaker.close() for breaker in self._breakers.values()))


def open_breakers(client: aioredis.Redis, settings: Settings) -> Breakers:
    """Breakers over a client of ``open_breaker_client``, which the caller closes."""
    return Breakers(FleetCircuits(client, settings), settings)
