"""Calls of partners' APIs: the one adapter, used by actors only and never in a client's way.

A call has a total deadline, a place among a bounded number of calls, and up to four attempts at
growing distances. Each attempt has its own deadline, asks the fleet's breaker first and reports how
it ended. Only idempotent methods and requests with an idempotency key are repeated; a 401 is
answered by one new token. No header, body, token or query ever reaches a log line or an error.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

import redis.asyncio as aioredis

from coordination.breakers.breaker import Attempt, Breaker, Breakers, open_breakers
from coordination.breakers.circuit import Outcome
from coordination.calls.answers import Answer, ask_again, outcome_of
from coordination.calls.bulkhead import Bulkhead
from coordination.calls.observing import observed
from coordination.calls.requests import Call, attempt_headers, call_headers, trace_id
from coordination.calls.retries import RetryQuota, delay_s
from coordination.calls.services import PartnerService
from coordination.calls.tokens import Token, Tokens
from coordination.calls.wire import TIMED_OUT, Wire
from coordination.errors import (
    CircuitOpen,
    Misconfigured,
    PartnerFailed,
    PartnerGarbled,
    PartnerRefused,
    PartnerThrottled,
    PartnerUnavailable,
)
from coordination.metrics import PARTNER_RETRIES
from coordination.retry_after import read_retry_after
from coordination.settings import Settings

__all__ = ["Answer", "PartnerClient", "Times", "Token", "Tokens", "open_partner_client"]

T = TypeVar("T")

_LEAST_ATTEMPT_S: Final = 0.05
"""With less time left than this an attempt would only blame the partner for our own lateness."""
_LEASE_SLACK_S: Final = 1.0
"""How much longer than its attempt a trial is reserved, for the round trips around it."""
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True)
class Times:
    """What a call's timing depends on."""

    clock: Callable[[], float] = time.monotonic
    today: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    """For dates in ``Retry-After``."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    jitter: Callable[[], float] = random.random
    """From 0 up to 1."""


@dataclass(frozen=True, slots=True)
class _Road:
    """All that one service's calls share in a process."""

    name: str
    service: PartnerService
    wire: Wire
    bulkhead: Bulkhead
    breaker: Breaker
    quota: RetryQuota


class PartnerClient:
    """One per process, on one event loop. ``close()`` may be called twice."""

    def __init__(
        self,
        settings: Settings,
        breakers: Breakers,
        tokens: Tokens | None = None,
        times: Times | None = None,
    ) -> None:
        self._tokens = tokens
        self._times = times or Times()
        self._breakers = breakers
        self._delays_s = [delay / 1000 for delay in settings.partner_retry_delays_ms]
        self._roads = {
            name: _Road(
                name,
                service,
                Wire(name, service, settings),
                Bulkhead(name, service.concurrency, service.wait_ms / 1000),
                breakers.of(name),
                RetryQuota(),
            )
            for name, service in settings.partner_services.items()
        }

    async def request(
        self,
        service: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        deadline_s: float | None = None,
    ) -> Answer:
        """Call a service and return its 2xx (or 304) answer. ``body`` is sent as JSON.

        It ends within ``deadline_s`` (the service's own by default), plus ``LOCK_TIMEOUT_MS`` at
        most while Redis hangs. Raises ``PartnerRefused`` (asking again cannot help), a
        ``PartnerUnavailable`` (see its classes), what ``Tokens.token`` raises, ``Misconfigured``
        for a service that the settings do not name.
        """
        road = self._road(service)
        fixed, content, is_repeatable = call_headers(
            method, path, headers or {}, body, idempotency_key
        )
        if deadline_s is None:
            deadline_s = road.service.deadline_ms / 1000
        clock = self._times.clock
        call = Call(
            method=method,
            path=path,
            params=params or {},
            headers=fixed,
            content=content,
            is_repeatable=is_repeatable,
            trace_id=trace_id(),
            ends_at=clock() + deadline_s,
            clock=clock,
        )
        with observed(service, clock):
            async with road.bulkhead.place(deadline_s):
                return await self._attempts(road, call)

    async def close(self) -> None:
        """Let reports to the fleet arrive, within a deadline, and drop all connections."""
        await self._breakers.close()
        await asyncio.gather(*(road.wire.close() for road in self._roads.values()))

    def _road(self, service: str) -> _Road:
        road = self._roads.get(service)
        if road is None:
            raise Misconfigured(f"PARTNER_SERVICES does not name {service}.")
        if road.service.provider is not None and self._tokens is None:
            raise Misconfigured(f"Calls to {service} need tokens, and nothing gives them.")
        return road

    async def _attempts(self, road: _Road, call: Call) -> Answer:
        failed = 0
        while True:
            try:
                answer = await self._attempt(road, call)
            except (PartnerFailed, PartnerThrottled) as error:
                await self._pause(road, call, error, failed)
                failed += 1
                continue
            if answer is not None:
                road.quota.give_back(call.quota_taken)
                return answer
            # A 401 was answered by a new token: the same request once more, at once.

    async def _attempt(self, road: _Road, call: Call) -> Answer | None:
        """The good answer of one attempt; ``None`` when it shall be made anew with a new token."""
        # Before leave is asked for: a trial's lease must not run out over a token.
        token = await self._token(road, call)
        patience_s = min(call.left_s, road.service.attempt_ms / 1000)
        async with road.breaker.attempt(patience_s + _LEASE_SLACK_S) as attempt:
            answer = await self._send(road, call, token, attempt, patience_s)
        if answer.is_good:
            return answer
        if answer.status == _UNAUTHORIZED and token is not None and not call.reauthenticated:
            call.reauthenticated = True
            PARTNER_RETRIES.labels(road.name, "reauthenticated").inc()
            await self._reject(road, call, token)
            return None
        wait_s = read_retry_after(answer.headers.get("retry-after"), self._times.today())
        if ask_again(answer.status):
            raise PartnerThrottled(
                road.name, "it wants us to wait", status=answer.status, retry_after_s=wait_s
            )
        if outcome_of(answer.status) is Outcome.FAULT:
            raise PartnerFailed(road.name, "it failed", status=answer.status, retry_after_s=wait_s)
        raise PartnerRefused(road.name, answer.status)

    async def _send(
        self, road: _Road, call: Call, token: Token | None, attempt: Attempt, patience_s: float
    ) -> Answer:
        # A slow Redis may have used it up: no partner is to blame for that.
        patience_s = min(patience_s, call.left_s)
        if patience_s < _LEAST_ATTEMPT_S:
            raise PartnerUnavailable(road.name, "our deadline has passed")
        headers = attempt_headers(call, None if token is None else token.value)
        try:
            answer = await road.wire.exchange(call, headers, patience_s)
        except PartnerFailed as error:
            attempt.outcome, attempt.cause = Outcome.FAULT, error.reason
            raise
        except PartnerGarbled as error:
            # It answered below 500, but with nothing that speaks for its health.
            attempt.outcome = Outcome.REFUSED
            attempt.cause = error.reason
            raise
        attempt.outcome, attempt.cause = outcome_of(answer.status), f"status {answer.status}"
        return answer

    async def _pause(
        self, road: _Road, call: Call, error: PartnerFailed | PartnerThrottled, failed: int
    ) -> None:
        """Wait before the next attempt, or raise when there shall be none."""
        if not call.is_repeatable or failed >= len(self._delays_s):
            raise error
        open_for_s = road.breaker.open_for_s
        if open_for_s is not None:
            raise CircuitOpen(road.name, open_for_s) from error
        wait_s = delay_s(self._delays_s[failed], error.retry_after_s, self._times.jitter())
        if wait_s + _LEAST_ATTEMPT_S > call.left_s:
            PARTNER_RETRIES.labels(road.name, "over_deadline").inc()
            raise error
        cost = RetryQuota.cost(after_timeout=error.reason == TIMED_OUT)
        if not road.quota.take(cost):
            PARTNER_RETRIES.labels(road.name, "over_quota").inc()
            raise error
        call.quota_taken = cost
        PARTNER_RETRIES.labels(road.name, "made").inc()
        await self._times.sleep(wait_s)

    async def _token(self, road: _Road, call: Call) -> Token | None:
        if road.service.provider is None or self._tokens is None:
            return None
        return await self._in_time(road, call, self._tokens.token(road.service.provider))

    async def _reject(self, road: _Road, call: Call, token: Token) -> None:
        if road.service.provider is not None and self._tokens is not None:
            rejecting = self._tokens.rejected(road.service.provider, token.fence)
            await self._in_time(road, call, rejecting)

    async def _in_time(self, road: _Road, call: Call, work: Awaitable[T]) -> T:
        deadline = asyncio.timeout(max(0.0, call.left_s))
        try:
            async with deadline:
                return await work
        except TimeoutError:
            if not deadline.expired():
                raise
            raise PartnerUnavailable(road.name, "its token did not come in time") from None


def open_partner_client(
    settings: Settings, circuits: aioredis.Redis, tokens: Tokens | None = None
) -> PartnerClient:
    """A client for all services of the settings, on the running loop; it connects when called.

    ``circuits``: see ``open_breaker_client``. It and ``tokens`` are borrowed and stay open.
    """
    return PartnerClient(settings, open_breakers(circuits, settings), tokens)
