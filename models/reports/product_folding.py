"""Folds reports over the products they are about, in the caller's transaction.

Load and lock, fold (``merging``), write what came of it. Whoever reports, a webhook or a partner's
answer, comes this way, so that one order holds for all. It decides nothing about who may report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from uuid_utils.compat import uuid7

from models.catalog.changes import Change
from models.database import Connection, Database
from models.reports import product_rows, product_writing
from models.reports.merging import Deleted, Listed, Report, Step, Upserted, fold
from models.reports.product_rows import ProductKey

__all__ = ["FoldedProducts", "Reports", "fold_products"]

Reports = Mapping[ProductKey, Sequence[Report]]


@dataclass(frozen=True, slots=True)
class FoldedProducts:
    """Each report's step, and what to void after the commit, if anything."""

    steps: tuple[tuple[ProductKey, Step], ...] = ()
    change: Change | None = None


async def fold_products(
    db: Database, conn: Connection, reports: Reports, now: datetime, kind: str
) -> FoldedProducts:
    """Do it. ``kind`` names the change; ``now`` is the database's time. The transaction must be one
    that reads what others commit.

    Raises ``DuplicateKey`` and ``ForeignKey`` where another writer came between: run the whole unit
    again. News of a stock or a price alone cannot meet either.
    """
    if not reports:
        return FoldedProducts()
    makeable = {
        key
        for key, told in reports.items()
        if any(isinstance(report.news, Upserted | Listed | Deleted) for report in told)
    }
    loaded = await product_rows.load(db, conn, reports.keys(), makeable)
    after, steps = {}, []
    for key, told in reports.items():
        folded = fold(loaded.entities[key], told, uuid7)
        after[key] = folded.entity
        steps += [(key, step) for step in folded.steps]
    found = product_writing.difference(loaded.entities, after)
    await product_writing.write(db, conn, found, loaded.versions, now)
    change = None
    if found.product_ids:
        change = Change(kind, found.product_ids, found.category_ids)
    return FoldedProducts(tuple(steps), change)
