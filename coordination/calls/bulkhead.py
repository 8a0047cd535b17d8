"""How many calls to one service a process makes at once, so that a hanging partner cannot take all
of a worker's threads. Who finds no place within a bounded wait fails fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from coordination.errors import PartnerBusy
from coordination.metrics import PARTNER_PLACES_LIMIT, PARTNER_PLACES_USED

__all__ = ["Bulkhead"]


class Bulkhead:
    """``places`` calls at once; first come, first served."""

    def __init__(self, service: str, places: int, wait_s: float) -> None:
        self._service = service
        self._wait_s = wait_s
        self._free = asyncio.Semaphore(places)
        self._used = PARTNER_PLACES_USED.labels(service)
        PARTNER_PLACES_LIMIT.labels(service).set(places)

    @asynccontextmanager
    async def place(self, most_s: float) -> AsyncIterator[None]:
        """Hold one place inside. Raises ``PartnerBusy`` after the wait, ``most_s`` at most."""
        if self._free.locked():
            try:
                async with asyncio.timeout(min(self._wait_s, most_s)):
                    await self._free.acquire()
            except TimeoutError:
                raise PartnerBusy(self._service, "too many calls to it are under way") from None
        else:
            await self._free.acquire()
        self._used.inc()
        try:
            yield
        finally:
            self._used.dec()
            self._free.release()
