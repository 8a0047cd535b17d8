"""Sends webhooks by itself at a slow, steady rate, as a partner's system does.

One event at a time, so nothing piles up while the API is away: what cannot be delivered is tried
again under the same id with the same body, and given up after a bounded number of attempts.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Final

import httpx

from ops.sandbox.deliveries import Answer, Courier, Deliveries, Sign
from ops.sandbox.events import Event, EventSource

__all__ = ["Rhythm", "Sender"]

_log = logging.getLogger(__name__)
_READY_POLL_S: Final = 0.5
_PRODUCTS: Final = 20
_RELEARN_EVERY: Final = 10
_PARTING_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often, how often twice, and how patiently."""

    every_s: float
    duplicates: float = 0.0
    most_attempts: int = 10
    backoff_first_s: float = 0.5
    backoff_most_s: float = 30.0


class Sender:
    """``run`` until cancelled, then ``part``."""

    def __init__(
        self, courier: Courier, sign: Sign, rhythm: Rhythm, seed: int, deliveries: Deliveries
    ) -> None:
        self._courier = courier
        self._sign = sign
        self._rhythm = rhythm
        self._source = EventSource(seed)
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._deliveries = deliveries
        self._turns = 0
        self._underway: Event | None = None
        self._is_well = True

    async def run(self) -> None:
        """Wait for the API to be ready, then send for ever."""
        while not await self._courier.is_ready():  # noqa: ASYNC110 - another process's readiness
            await asyncio.sleep(_READY_POLL_S)
        _log.info("Sending webhooks", extra={"partner": self._sign.partner})
        while True:
            if await self._has_something_to_tell():
                self._underway = event = self._source.next()
                accepted = await self._deliver(event)
                self._underway = None
                if accepted and self._random.random() < self._rhythm.duplicates:
                    await self._try_once(event, "duplicate")
            await asyncio.sleep(self._rhythm.every_s)

    async def part(self) -> None:
        """Tell back what was told to be deleted: one attempt each, all within seconds."""
        last = [self._underway] if self._underway else []
        try:
            async with asyncio.timeout(_PARTING_S):
                for event in (*last, *self._source.owed()):
                    await self._try_once(event, "parting")
        except TimeoutError:
            _log.warning("Last events not sent in time")

    async def _has_something_to_tell(self) -> bool:
        if self._source.is_exhausted or self._turns % _RELEARN_EVERY == 0:
            try:
                self._source.learn(await self._courier.products(_PRODUCTS))
            except (httpx.HTTPError, ValueError) as error:
                self._note("Products not read", repr(error))
        self._turns += 1
        return not self._source.is_exhausted

    async def _deliver(self, event: Event) -> bool:
        """Whether it was accepted, after as many attempts as that takes or as there may be."""
        delivery = self._deliveries.begin(event)
        for attempt in range(self._rhythm.most_attempts):
            answer = await self._courier.attempt(delivery, event, self._sign)
            if answer is not None and answer.outcome != "open":
                self._deliveries.ended(delivery, answer.outcome)
                self._note("Webhook refused" if answer.outcome == "refused" else None, answer)
                return answer.outcome == "accepted"
            self._note("Webhook not taken; trying again", answer or delivery.problem)
            await asyncio.sleep(self._delay_s(attempt, answer))
        self._deliveries.ended(delivery, "given_up")
        _log.warning("Webhook given up", extra={"event_id": event.id, "type": event.type})
        return False

    async def _try_once(self, event: Event, why: str) -> None:
        delivery = self._deliveries.begin(event, on_purpose=why)
        answer = await self._courier.attempt(delivery, event, self._sign)
        self._deliveries.ended_after(delivery, answer)

    def _delay_s(self, attempt: int, answer: Answer | None) -> float:
        rhythm = self._rhythm
        longest = min(rhythm.backoff_most_s, rhythm.backoff_first_s * 2.0**attempt)
        wanted = (answer.retry_after_s if answer else None) or 0.0
        return max(longest * self._random.uniform(0.5, 1), min(wanted, rhythm.backoff_most_s))

    def _note(self, trouble: str | None, detail: object) -> None:
        # Said once when it begins and once when it is over: the API may be away for long.
        if trouble and self._is_well:
            _log.warning(trouble, extra={"detail": str(detail)})
        elif not trouble and not self._is_well:
            _log.info("Webhooks are taken again")
        self._is_well = not trouble
