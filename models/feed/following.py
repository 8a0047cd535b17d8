"""What followers read: first all products as they are, then every change in the feed's order.

*A mirror misses nothing.* How far the feed has come is read first, and the products after that,
page by page in the order of their ids; when they are through, the changes after that first position
follow. So take any change. Was it numbered by then, it was committed before any product was read,
and the walk shows the product as the change left it, or newer. Was it not, the feed brings it later
on, whatever the walk saw of the product: that it was already changed, or not yet, or that it had
gone, or had come behind the walk's back. What is shown with a change is the product as it is when
the page is read, so that a change which comes a second time takes nothing back.

*A page is bounded.* It ends before its limit where its products would make it too large.

*A purge skips nothing.* Changes and ``feed_position`` come from one statement, so from one moment:
a purge committed by then shows in ``purged_through``, one that was not has taken none of the rows.
Read one after the other, rows could be gone that an older ``purged_through`` still vouched for.

All of it is read from the primary and past every cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Final
from uuid import UUID

from models.catalog.page_sql import select_rows
from models.database import Database, Row
from models.feed.cursors import Place
from models.feed.position import FeedPosition, fetch_position

__all__ = ["CURRENT", "Entry", "Page", "read_end", "read_page"]

CURRENT: Final = "current"
"""What an entry of the snapshot says instead of a change."""
_PURPOSE: Final = "changes_read"
_FIRST: Final = UUID(int=0)
_MOST_CHARACTERS: Final = 1_048_576
"""Of descriptions and attributes on one page; everything else of a product is short."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, or one product of the snapshot; ``product`` is its row now, if it has one."""

    change: str
    product_id: UUID
    farm: int
    sku: str
    version: int
    changed_at: datetime | str
    product: Row | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, and where the next page begins. ``has_more``: there is something on it now."""

    entries: tuple[Entry, ...]
    place: Place
    has_more: bool

    @property
    def is_at_the_end(self) -> bool:
        """Whether everything has been read, and only time brings more."""
        return not self.entries and not self.has_more and self.place.product is None


async def read_end(db: Database) -> Page:
    """The empty page at the present end of the feed. Raises ``DatabaseUnavailable``."""
    feed = await fetch_position(db)
    return Page((), Place(feed.position), has_more=False)


async def read_page(db: Database, place: Place | None, limit: int) -> Page:
    """Up to ``limit`` entries after this place; ``None`` begins with the snapshot.

    Fewer, and ``has_more``, where the products are large; at least one.

    Raises ``PositionGone`` and ``DatabaseUnavailable``.
    """
    if place is not None and place.product is None:
        return await _changes(db, place, limit)
    feed = await fetch_position(db)
    if place is None:
        place = Place(feed.position, _FIRST)
    # What follows the snapshot may be purged before it is through: said now rather than then.
    feed.require(place.after)
    return await _snapshot(db, feed, place, limit)


async def _snapshot(db: Database, feed: FeedPosition, place: Place, limit: int) -> Page:
    """A page of products. The last one ends with them; the changes begin a page of their own."""
    last = place.product or _FIRST
    rows = await db.fetch(
        "SELECT p.id FROM products p WHERE p.is_active = 1 AND p.id > %s ORDER BY p.id LIMIT %s",
        [last.bytes, limit + 1],
        purpose=_PURPOSE,
        timeout_ms=db.settings.list_timeout_ms,
    )
    found = [UUID(bytes=bytes(row["id"])) for row in rows[:limit]]
    products = await _products(db, found)
    ids = found[: _fitting(found, products)]
    # One that was deleted since it was found is left out; the feed brings its tombstone.
    entries = tuple(_current(products[product_id]) for product_id in ids if product_id in products)
    if len(rows) > len(ids):
        return Page(entries, Place(place.after, ids[-1]), has_more=True)
    return Page(entries, Place(place.after), has_more=feed.position > place.after)


async def _changes(db: Database, place: Place, limit: int) -> Page:
    by_seq = "" if db.dialect.is_sqlite else db.dialect.index_hint.format("uq_product_changes_seq")
    rows = await db.fetch(
        # Cut inside: joined as a table, all that comes after the position would be sorted first.
        f"""SELECT f.position, f.purged_through, c.* FROM feed_position f
            LEFT JOIN (
              SELECT seq, product_id, farm_id, sku, kind, version, created_at
              FROM product_changes {by_seq} WHERE seq > %s ORDER BY seq LIMIT %s
            ) c ON 1 = 1
            WHERE f.id = 1 ORDER BY c.seq""",
        [place.after, limit],
        purpose=_PURPOSE,
    )
    feed = FeedPosition.of(rows[0])
    feed.require(place.after)
    changes = [row for row in rows if row["seq"] is not None]
    if not changes:
        return Page((), place, has_more=False)
    ids = [UUID(bytes=bytes(row["product_id"])) for row in changes]
    products = await _products(db, ids)
    changes = changes[: _fitting(ids, products)]
    last = int(changes[-1]["seq"])
    entries = tuple(_changed(row, products) for row in changes)
    return Page(entries, Place(last), has_more=feed.position > last)


async def _products(db: Database, product_ids: Iterable[UUID]) -> dict[UUID, Row]:
    """Those that are there now, in one statement."""
    wanted: Sequence[UUID] = list(dict.fromkeys(product_ids))
    if not wanted:
        return {}
    sql, params = select_rows(db.dialect, wanted)
    rows = await db.fetch(sql, params, purpose=_PURPOSE)
    return {UUID(bytes=bytes(row["id"])): row for row in rows}


def _fitting(ids: Sequence[UUID], products: Mapping[UUID, Row]) -> int:
    """How many of these entries, from the first on, fit on one page; at least one."""
    sizes = {
        product_id: len(row["description"]) + len(row["attributes"])
        for product_id, row in products.items()
    }
    # A product is written out with each of its changes.
    total = accumulate(sizes.get(product_id, 0) for product_id in ids)
    return max(1, sum(1 for size in total if size <= _MOST_CHARACTERS))


def _current(row: Row) -> Entry:
    return Entry(
        change=CURRENT,
        product_id=UUID(bytes=bytes(row["id"])),
        farm=int(row["farm_id"]),
        sku=str(row["sku"]),
        version=int(row["version"]),
        changed_at=row["updated_at"],
        product=row,
    )


def _changed(row: Row, products: dict[UUID, Row]) -> Entry:
    product_id = UUID(bytes=bytes(row["product_id"]))
    return Entry(
        change=str(row["kind"]),
        product_id=product_id,
        farm=int(row["farm_id"]),
        sku=str(row["sku"]),
        version=int(row["version"]),
        changed_at=row["created_at"],
        product=products.get(product_id),
    )
