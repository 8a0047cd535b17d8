"""Creates products of which nothing is known yet, as a list of new ones has them by the thousand.

What is known of a product, and may be newer than a report, is its row and its watermarks; a kept
value comes with a watermark. Where there is neither, there is nothing to lock, read and fold: the
report is the product. That nobody comes between is left to the unique keys of both tables, which
every other writer of such a product meets: ``create`` then fails, and its unit is run again.

*Why ``unknown`` may look without locks.* It looks for the product first and for watermarks second.
A product that it did not find can only have been made since by a writer that left a watermark of
all facets, on which ``create`` fails although the product may be gone again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from uuid_utils.compat import uuid7

from models.catalog import watermarks
from models.catalog.watermarks import Facet, Mark, product_entity
from models.database import Connection, Database
from models.reports import product_rows, product_writing
from models.reports.merging import Listed, made_of
from models.reports.product_rows import ProductKey

__all__ = ["create", "unknown"]

_UNCOUNTED = frozenset(Facet) - {Facet.STOCK}


async def unknown(
    db: Database, conn: Connection, keys: Collection[ProductKey]
) -> frozenset[ProductKey]:
    """Those of ``keys`` with neither product nor watermark, as committed. It locks nothing."""
    found = await product_rows.find(db, conn, keys)
    missing = {product_entity(*key): key for key in keys if key not in found}
    known = await watermarks.known(db, conn, missing)
    return frozenset(key for entity, key in missing.items() if entity not in known)


async def create(
    db: Database,
    conn: Connection,
    listed: Mapping[ProductKey, Listed],
    mark: Mark,
    now: datetime,
    *,
    is_last: bool = False,
) -> int:
    """Create what ``listed`` says of products that were ``unknown``, with marks and change feed.

    ``is_last``: the transaction does little more, so the changes may be numbered at once, with the
    feed's position held until the commit; returns how many were. Every ``category_id`` must be
    there. Raises ``DuplicateKey`` and ``ForeignKey`` where another writer came between: run the
    whole unit again, with what is unknown then.
    """
    counted = [product_entity(*key) for key, news in listed.items() if news.stock is not None]
    uncounted = [product_entity(*key) for key, news in listed.items() if news.stock is None]
    await watermarks.begin(db, conn, counted, frozenset(Facet), mark)
    await watermarks.begin(db, conn, uncounted, _UNCOUNTED, mark)
    # By growing ids in the order of the unique key: both indexes are filled from left to right.
    created = {key: made_of(listed[key], uuid7()) for key in sorted(listed)}
    return await product_writing.create(db, conn, created, now, numbered=is_last)
