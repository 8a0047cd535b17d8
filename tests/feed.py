"""The change feed seen from both sides: rows that writers left, and followers over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import httpx

from models.database import Database

__all__ = ["FEED", "Follower", "add_changes", "numbered", "product_named"]

FEED = "/v1/products/changes"
_NAMES = UUID("6f0e0f3c-58b5-4d1c-93d0-0c6d7a2f5e11")


def product_named(name: str) -> UUID:
    """The id of a product of a test, the same in every run."""
    return uuid5(_NAMES, name)


async def add_changes(
    db: Database, names: Sequence[str], *, kind: str = "updated", created_at: str | None = None
) -> None:
    """What writers leave: a committed change of each named product, without a number."""
    row = f"(%s, 1, %s, %s, 1, COALESCE(%s, {db.dialect.now}))"
    await db.execute(
        "INSERT INTO product_changes (product_id, farm_id, sku, kind, version, created_at) VALUES "
        + ", ".join([row] * len(names)),
        [value for n in names for value in (product_named(n).bytes, n, kind, created_at)],
        purpose="test",
    )


async def numbered(db: Database) -> list[tuple[int, str]]:
    """The numbered changes, as number and sku."""
    rows = await db.fetch(
        "SELECT seq, sku FROM product_changes WHERE seq IS NOT NULL ORDER BY seq", purpose="test"
    )
    return [(int(row["seq"]), str(row["sku"])) for row in rows]


@dataclass
class Follower:
    """Follows the feed as partners do, and keeps a mirror and whatever it saw."""

    client: httpx.AsyncClient
    since: str | None = None
    limit: int = 100
    wait: int = 0
    changes: list[dict[str, Any]] = field(default_factory=list)
    """Without those of the snapshot."""
    mirror: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def read(self) -> dict[str, Any]:
        """One page."""
        given = {"limit": self.limit, "wait": self.wait or None, "since": self.since}
        answer = await self.client.get(
            FEED, params={name: value for name, value in given.items() if value is not None}
        )
        answer.raise_for_status()
        page: dict[str, Any] = answer.json()
        for entry in page["data"]:
            if entry["change"] != "current":
                self.changes.append(entry)
            if entry["product"] is None:
                self.mirror.pop(entry["id"], None)
            else:
                self.mirror[entry["id"]] = entry["product"]
        self.since = page["page"]["next_cursor"]
        return page

    async def read_to_the_end(self) -> None:
        """Every page that can be had now."""
        while (await self.read())["page"]["has_more"]:
            pass

    async def read_changes(self, count: int) -> None:
        """Until this many have been seen; ``wait`` bounds each page."""
        async with asyncio.timeout(20):
            while len(self.changes) < count:
                await self.read()

    async def follow(self, is_over: Callable[[], bool]) -> None:
        """Until a page is empty after ``is_over``."""
        while True:
            over = is_over()
            if not (await self.read())["data"] and over:
                return
