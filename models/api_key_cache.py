"""Which presented keys this process has verified lately, so that most requests ask no database.

A revocation takes effect within ``API_KEY_CACHE_S`` everywhere, counted from before the query that
last found the key valid. Unknown keys are remembered more briefly and in a room of their own, so
that a flood of forged ones drives out no valid one. Keys themselves are not kept, only digests.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from models import api_keys
from models.api_keys import ApiKeyInfo
from models.database import Database

__all__ = ["Known", "VerifiedKeys"]

_NEGATIVE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Known:
    """An answer at hand; ``info`` is ``None`` for a key known to be no good."""

    info: ApiKeyInfo | None


class VerifiedKeys:
    """One per process. Each of its two rooms holds ``capacity`` answers, the latest used."""

    def __init__(
        self,
        db: Database,
        *,
        capacity: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._capacity = capacity
        self._clock = clock
        self._positive_s = float(db.settings.api_key_cache_s)
        self._negative_s = min(_NEGATIVE_S, self._positive_s)
        self._positive: OrderedDict[bytes, tuple[float, Known]] = OrderedDict()
        self._negative: OrderedDict[bytes, tuple[float, Known]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Known]] = {}

    def peek(self, presented: str) -> Known | None:
        """The answer if it is known without a query, else ``None``. A malformed key is known."""
        if not api_keys.is_well_formed(presented):
            return Known(None)
        return self._held(api_keys.digest_of(presented))

    async def find(self, presented: str) -> ApiKeyInfo | None:
        """As ``api_keys.find``; equal keys presented at once share one query.

        Fails closed: raises ``DatabaseUnavailable`` when the answer is not at hand and the
        database cannot be asked. A failure is not remembered.
        """
        if not api_keys.is_well_formed(presented):
            return None
        digest = api_keys.digest_of(presented)
        known = self._held(digest)
        if known is None:
            task = self._asking.get(digest)
            if task is None:
                task = asyncio.create_task(self._ask(digest, presented))
                self._asking[digest] = task
                task.add_done_callback(lambda done: self._asked(digest, done))
            # A client that leaves must not take the answer from the others who wait for it.
            known = await asyncio.shield(task)
        return known.info

    def _held(self, digest: bytes) -> Known | None:
        for room in (self._positive, self._negative):
            held = room.get(digest)
            if held is None:
                continue
            if held[0] > self._clock():
                room.move_to_end(digest)
                return held[1]
            del room[digest]
        return None

    async def _ask(self, digest: bytes, presented: str) -> Known:
        # Before the query: the answer may be as old as that.
        asked_at = self._clock()
        known = Known(await api_keys.find(self._db, presented))
        if known.info is None:
            self._keep(self._negative, digest, asked_at + self._negative_s, known)
        else:
            self._keep(self._positive, digest, asked_at + self._positive_s, known)
        return known

    def _asked(self, digest: bytes, task: asyncio.Task[Known]) -> None:
        del self._asking[digest]
        if not task.cancelled():
            task.exception()  # seen, even when every client that waited has left

    def _keep(
        self,
        room: OrderedDict[bytes, tuple[float, Known]],
        digest: bytes,
        expires_at: float,
        known: Known,
    ) -> None:
        room[digest] = (expires_at, known)
        room.move_to_end(digest)
        if len(room) > self._capacity:
            room.popitem(last=False)
