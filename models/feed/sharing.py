"""One read serves all who ask for the same page at the same moment.

Followers who wait are woken by the same change, and nearly all of them stand at the same place: a
thousand of them would otherwise ask the database a thousand times for one page, and every other
request of the process would stand behind them at the pool. Readers at different places share its
connections with the rest: they have half of them at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from coordination.errors import Unavailable
from models.database import Database
from models.feed import cursors
from models.feed.cursors import Place
from models.feed.following import Page, read_page
from models.feed.representation import page_body

__all__ = ["Answer", "SharedPages", "answer_of"]

_TOO_MANY: Final = "Too many followers read at once."


@dataclass(frozen=True, slots=True)
class Answer:
    """A page as it is sent."""

    page: Page
    next_cursor: str
    body: bytes


def answer_of(page: Page, limit: int, secrets: Sequence[str]) -> Answer:
    """The page with the cursor that goes on from it; the first secret signs."""
    next_cursor = cursors.since(page.place, secrets)
    return Answer(page, next_cursor, page_body(page, limit, next_cursor))


@dataclass(slots=True)
class _Read:
    """A read that has not ended, and then what came of it."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    outcome: Answer | Exception | None = None


class SharedPages:
    """One per process, used on its loop only."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._reads: dict[tuple[Place | None, int], _Read] = {}
        self._places = asyncio.Semaphore(max(1, db.settings.database_pool_size // 2))

    async def read(self, place: Place | None, limit: int) -> Answer:
        """What ``read_page`` finds, by a read of this call or by one that had not ended yet.

        A caller who is cancelled leaves the read to the next. Raises what ``read_page`` raises, and
        ``Unavailable`` when too many others read.
        """
        key = (place, limit)
        mine = self._reads.setdefault(key, _Read())
        async with mine.turn:
            outcome = mine.outcome
            if outcome is None:
                try:
                    outcome = await self._fetch(place, limit)
                except Exception as error:
                    outcome = error
                finally:
                    # Whoever comes from now on asks anew.
                    if self._reads.get(key) is mine:
                        del self._reads[key]
                mine.outcome = outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _fetch(self, place: Place | None, limit: int) -> Answer:
        settings = self._db.settings
        try:
            async with asyncio.timeout(settings.database_acquire_timeout_ms / 1000):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable(_TOO_MANY) from None
        try:
            page = await read_page(self._db, place, limit)
        finally:
            self._places.release()
        return answer_of(page, limit, settings.cursor_secret)
