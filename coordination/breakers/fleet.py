"""The fleet's circuits: one hash per service in the queue's Redis, changed only by Lua scripts.

``enter`` and ``report`` answer within ``LOCK_TIMEOUT_MS`` or give ``None``: when Redis is away,
hung or refuses. It is then left alone for a moment, and the caller decides alone meanwhile. An
operator's questions are waited for longer. Time is the server's own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, cast

import redis.asyncio as aioredis
from redis.exceptions import RedisError, ResponseError

from coordination import keys
from coordination.breakers.circuit import Memory, Outcome, Permit, State, View
from coordination.cooldown import Cooldown
from coordination.errors import Unavailable
from coordination.metrics import BREAKER_FAULTS
from coordination.patience import Patience
from coordination.scripts import ScriptRunner, script
from coordination.settings import Settings

__all__ = ["FleetCircuits"]

_log = logging.getLogger(__name__)
_PAUSE_S: Final = 1.0
_OPERATOR_PATIENCE_S: Final = 2.0
# Fewer than the client has connections: whoever else uses it must not wait for us.
_TURNS: Final = 6
_TTL_MS: Final = 3_600_000
"""Failures an hour apart are not "in a row". Longer than any circuit stays open."""
_NOTHING: Final = Memory()


class FleetCircuits:
    """Borrows its client. ``now_us`` replaces the server's clock; all users must then share it."""

    def __init__(
        self,
        client: aioredis.Redis,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self._enter = script(client, "breaker_enter")
        self._report = script(client, "breaker_report")
        self._operate = script(client, "breaker_operate")
        self._settings = settings
        self._now_us = now_us
        self._patience_s = settings.lock_timeout_ms / 1000
        self._cooldown = Cooldown(1, _PAUSE_S, clock)
        self._turns = asyncio.Semaphore(_TURNS)

    async def enter(self, service: str, memory: Memory, token: str, lease_s: float) -> View | None:
        """Ask for leave to make an attempt; ``token`` names it should it be the trial."""
        arguments: list[bytes | str | int] = [token, round(lease_s * 1_000_000)]
        return await self._asked("enter", self._enter, service, memory, arguments)

    async def report(
        self, service: str, memory: Memory, permit: Permit, outcome: Outcome, cause: str
    ) -> View | None:
        """Count how an attempt ended that the fleet had admitted."""
        arguments: list[bytes | str | int] = [outcome, permit.epoch or "", permit.trial, cause]
        return await self._asked("report", self._report, service, memory, arguments)

    async def look(self, service: str) -> View:
        """The circuit as it stands. Raises ``Unavailable``."""
        return await self._operated(service, "", "", "")

    async def operate(self, service: str, action: str, by: str, why: str) -> View:
        """An operator's ``open``, ``close`` or ``reset``. Raises ``Unavailable``."""
        return await self._operated(service, action, by, why)

    async def _operated(self, service: str, action: str, by: str, why: str) -> View:
        try:
            async with Patience(_OPERATOR_PATIENCE_S):
                reply = await self._operate(*self._call(service, _NOTHING, [action, by, why]))
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("The queue's Redis, which keeps the circuits, is away.") from error
        return _view(reply)

    async def _asked(
        self,
        operation: str,
        run: ScriptRunner,
        service: str,
        memory: Memory,
        arguments: list[bytes | str | int],
    ) -> View | None:
        if not self._cooldown.ready():
            BREAKER_FAULTS.labels(operation, "paused").inc()
            return None
        try:
            async with Patience(self._patience_s):
                await self._turns.acquire()
        except TimeoutError:
            BREAKER_FAULTS.labels(operation, "busy").inc()
            return None
        began_at = self._cooldown.now()
        try:
            if not self._cooldown.ready():
                # It fell silent while we waited for our turn: that wait was enough.
                BREAKER_FAULTS.labels(operation, "paused").inc()
                return None
            async with Patience(self._patience_s):
                reply = await run(*self._call(service, memory, arguments))
        except (RedisError, OSError, TimeoutError) as error:
            reason = type(error).__name__
            BREAKER_FAULTS.labels(operation, reason).inc()
            # One that answers, if only to refuse, costs no time and is asked again at once.
            if isinstance(error, ResponseError) or self._cooldown.failed(began_at):
                _log.warning(
                    "Circuit decided by this process alone",
                    extra={"service": service, "operation": operation, "reason": reason},
                )
            return None
        finally:
            self._turns.release()
        self._cooldown.succeeded()
        return _view(reply)

    def _call(
        self, service: str, memory: Memory, arguments: list[bytes | str | int]
    ) -> tuple[list[str], list[bytes | str | int]]:
        settings = self._settings
        return [keys.breaker(service)], [
            "" if self._now_us is None else self._now_us(),
            settings.partner_breaker_failures,
            settings.partner_breaker_open_ms * 1000,
            max(_TTL_MS, 2 * settings.partner_breaker_open_ms),
            memory.failures,
            memory.failed_at,
            memory.succeeded_at,
            memory.opened_at,
            *arguments,
        ]


def _view(reply: object) -> View:
    parts = cast("list[int | bytes]", reply)
    admitted = int(parts[0])
    text = [part.decode() if isinstance(part, bytes) else str(part) for part in parts]
    wait_us = int(text[6])
    return View(
        admitted=admitted > 0,
        is_trial=admitted == 2,
        state=State(text[1]),
        epoch=text[2],
        failures=int(text[3]),
        failed_at_us=int(text[4]),
        opened_at_us=int(text[5]),
        wait_s=None if wait_us < 0 else wait_us / 1_000_000,
        transition=State(text[7]) if text[7] else None,
        cause=text[8],
        action=text[9],
        by=text[10],
        why=text[11],
        acted_at_us=int(text[12]),
        succeeded_at_us=int(text[13]),
        now_us=int(text[14]),
    )
