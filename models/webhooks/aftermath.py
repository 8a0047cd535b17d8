"""What follows a commit of deliveries: their marks in Redis, and the hint to the workers.

Neither is waited for, and either may be lost: repetitions then ask the database, and the sweep
finds the rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from coordination.errors import CacheUnavailable
from coordination.jobs import PROCESS_WEBHOOKS, ProcessWebhooks
from coordination.logs import request_id_bound
from models.resources import Resources
from models.webhooks import seen
from models.webhooks.deliveries import Batch, Delivery, Stored
from models.webhooks.seen import Seen

__all__ = ["Aftermath"]

_log = logging.getLogger(__name__)
# A message costs as much as storing several deliveries. What comes so soon after the last one is
# put together; what came alone is hinted at once.
_HINT_WITHIN_S: Final = 0.05
_MARK_WITHIN_S: Final = 0.5
# Each waits for Redis no longer than the cache's patience; more at once would only queue there.
_MOST_MARKINGS: Final = 8


class Aftermath:
    """One intake's."""

    def __init__(self, resources: Resources, loop: asyncio.AbstractEventLoop) -> None:
        self._resources = resources
        self._loop = loop
        self._marking: set[asyncio.Task[None]] = set()
        self._to_hint: list[int] = []
        self._hinting: asyncio.TimerHandle | None = None
        self._hinted_at = -_HINT_WITHIN_S

    def follow(self, deliveries: Sequence[Delivery], done: Batch) -> None:
        """These were committed. Returns at once."""
        self._mark(deliveries, done.stored)
        self._hint(deliveries, done.new_ids)

    async def close(self) -> None:
        """Send what was held back, and wait a moment for what is under way."""
        self._send_hints()
        if self._marking:
            await asyncio.wait(self._marking, timeout=_MARK_WITHIN_S)

    def _mark(self, deliveries: Sequence[Delivery], stored: Sequence[Stored]) -> None:
        marks = {
            (delivery.partner, delivery.dedup_key): Seen.of(row.receipt, delivery.body_digest)
            for delivery, row in zip(deliveries, stored, strict=True)
            # The stored body is what later ones are compared with.
            if delivery.partner is not None and row.same_body
        }
        if marks and len(self._marking) < _MOST_MARKINGS:
            # Not awaited: Redis may be away, and the answers and the next commit need not wait.
            task = asyncio.create_task(self._marked(marks))
            self._marking.add(task)
            task.add_done_callback(self._marking.discard)

    async def _marked(self, marks: dict[tuple[str, str], Seen]) -> None:
        try:
            await seen.mark(self._resources.plane, marks)
        except CacheUnavailable as error:
            # Counted by the cache plane. Repetitions ask the database instead.
            _log.debug("Deliveries not marked as seen", extra={"reason": str(error)})

    def _hint(self, deliveries: Sequence[Delivery], new_ids: Sequence[int]) -> None:
        if not new_ids:
            return
        self._to_hint += new_ids
        next_at = self._hinted_at + _HINT_WITHIN_S
        if self._loop.time() >= next_at:
            # A delivery that came alone hands its request's id to the worker's lines.
            is_alone = len(deliveries) == len(self._to_hint) == 1
            with request_id_bound(deliveries[0].request_id if is_alone else None):
                self._send_hints()
        elif len(self._to_hint) >= self._resources.settings.webhook_batch:
            self._send_hints()
        elif self._hinting is None:
            self._hinting = self._loop.call_at(next_at, self._send_hints)

    def _send_hints(self) -> None:
        if self._hinting is not None:
            self._hinting.cancel()
            self._hinting = None
        self._hinted_at = self._loop.time()
        ids, self._to_hint = self._to_hint, []
        size = self._resources.settings.webhook_batch
        for start in range(0, len(ids), size):
            job = ProcessWebhooks(ids[start : start + size])
            self._resources.hints.send(PROCESS_WEBHOOKS, job)
