"""What the functions of this room work with, opened and closed once per process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from coordination.cache import AnswerCache
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.hints import Enqueues, HintSender
from coordination.rate_limit import RateLimiter
from coordination.settings import Settings
from models.catalog.ancestor_memory import AncestorMemory
from models.catalog.slug_memory import SlugMemory
from models.catalog.subtree_memory import SubtreeMemory
from models.database import Database, open_database
from models.feed.passes import Passes
from models.imports.room import Room
from models.replicas.reading import Reading, open_reading
from models.webhooks.backlog import Backlog
from models.webhooks.gate import Gate

__all__ = ["Resources", "open_resources"]

_ANNOUNCE_WITHIN_S: Final = 2.0
_OTHERS_CONNECTIONS: Final = 2


@dataclass(frozen=True, slots=True)
class Resources:
    """Database, cache and hints of one process."""

    settings: Settings
    db: Database
    """The primary: all that is written, and all reads but those that ``reading`` is given."""
    reading: Reading
    plane: CachePlane
    cache: AnswerCache
    limiter: RateLimiter
    hints: HintSender
    slugs: SlugMemory
    ancestors: AncestorMemory
    subtrees: SubtreeMemory = field(default_factory=SubtreeMemory)
    announcing: set[asyncio.Task[None]] = field(default_factory=set)
    """Voidings under way, which outlive the requests that caused them."""
    webhook_backlog: Backlog = field(default_factory=Backlog)
    """Webhook events that this process means to claim."""
    webhook_gate: Gate = field(default_factory=Gate)
    """Through which this process's batches of webhook events pass."""
    numbering: Passes = field(default_factory=Passes)
    """Through which this process numbers changes."""
    import_gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """Through which this process works on imports, one job at a time."""
    import_room: Room = field(default_factory=lambda: Room(1, _unknown))
    """How many chunks that job may work on at once."""

    def observe_pools(self) -> None:
        """Bring the gauges of this process's connection pools up to date."""
        self.db.observe_pool()
        self.plane.observe_pool()

    async def close(self) -> None:
        """Finish voidings, send pending hints, then close everything. May be called twice."""
        if self.announcing:
            await asyncio.wait(self.announcing, timeout=_ANNOUNCE_WITHIN_S)
        await self.hints.close()
        await self.plane.close()
        await self.reading.close()
        await self.db.close()


async def _unknown() -> None:
    """Nobody tells who is there."""


async def open_resources(settings: Settings, broker: Enqueues) -> Resources:
    """Open everything on the running loop. Servers that are away do not stop the start."""
    plane = CachePlane(open_cache_client(settings), settings)
    hints = HintSender(broker)
    hints.start()
    db = await open_database(settings)
    # SQLite has one writer at a time; elsewhere others of the process need connections, too.
    pool = 1 if db.dialect.is_sqlite else max(1, settings.database_pool_size - _OTHERS_CONNECTIONS)
    return Resources(
        settings=settings,
        db=db,
        reading=open_reading(settings, db),
        plane=plane,
        cache=AnswerCache(plane),
        limiter=RateLimiter(plane),
        hints=hints,
        slugs=SlugMemory(),
        ancestors=AncestorMemory(),
        import_room=Room(min(pool, settings.import_concurrency), plane.looks),
    )
