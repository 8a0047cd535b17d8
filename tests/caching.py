"""The cache as one process holds it, in front of a database that does as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from coordination import keys
from coordination.cache import AnswerCache, Ground, Lifetime, ReadPlan
from coordination.cache_entry import Answer, answer_of
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from tests.databases import settings_for
from tests.drilling.shop import HasUrl

__all__ = ["LIFETIME", "PLAN", "VALUE", "Source", "cache_process"]

LIFETIME = Lifetime(soft_s=30, hard_s=60, negative_s=10)
PLAN = ReadPlan(
    "list", keys.product_list("a test"), (keys.GENERATION_ALL, keys.GENERATION_PRODUCTS), LIFETIME
)
VALUE = answer_of(b'{"data": []}')


@asynccontextmanager
async def cache_process(
    home: Path, redis: HasUrl, **settings: object
) -> AsyncIterator[AnswerCache]:
    """The cache as one process holds it."""
    chosen = settings_for(home, "sqlite:////nowhere", redis_url=redis.url, **settings)
    plane = CachePlane(open_cache_client(chosen), chosen)
    yield AnswerCache(plane)
    await plane.close()


class Source:
    """A database that answers when told to, and counts how often it was asked."""

    def __init__(self, answer: Answer = VALUE) -> None:
        self.answer = answer
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def fill(self, ground: Ground) -> Answer:
        self.asked += 1
        answer = self.answer
        await self.may_answer.wait()
        return answer
