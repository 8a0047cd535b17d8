"""Applies one checked chunk: its rows, the change feed's entries and its counts commit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coordination.metrics import CHANGES_NUMBERED, IMPORT_ROWS
from models import database_clock
from models.database import Connection, Database
from models.imports import faults
from models.imports.claims import Chunk, complete_chunk, count_chunk
from models.imports.farm_writing import write_farms
from models.imports.imports import Import
from models.imports.judging import mark_of
from models.imports.layout import Layout
from models.imports.options import Subject
from models.imports.outcomes import Outcome
from models.imports.resolving import Resolved, resolve
from models.imports.row_values import (
    ProductRow,
    RowFault,
    decode_farm_rows,
    decode_product_rows,
)
from models.reports import first_reports
from models.reports.merging import Listed, Price, Report, Step
from models.reports.product_folding import fold_products
from models.reports.product_rows import ProductKey
from models.reports.repeating import repeating
from models.resources import Resources
from models.webhooks.states import State

__all__ = ["apply"]

_KIND: Final = "import.applied"
_GONE: Final = "has gone since the file was checked"


@dataclass(slots=True)
class _Applied:
    """What became of a chunk's rows."""

    outcomes: Counter[Outcome]
    faults: list[RowFault]
    numbered: int = 0
    """Changes that have their place in the feed already."""


async def apply(resources: Resources, chunk: Chunk, found: Import, layout: Layout) -> None:
    """Apply all rows and commit, or nothing at all.

    The caches are not voided: that is done once, at the import's end. Raises ``LeaseLost``,
    ``DatabaseUnavailable``.
    """
    db = resources.db
    products, farms, excluded = [], [], chunk.excluded
    if found.options.subject is Subject.PRODUCTS:
        products = [r for r in decode_product_rows(chunk.payload) if r.row not in excluded]
    else:
        farms = [r for r in decode_farm_rows(chunk.payload) if r.row not in excluded]

    async def unit() -> _Applied:
        async with db.transaction(read_committed=True) as conn:
            await complete_chunk(db, conn, chunk)
            if products:
                applied = await _write_products(db, conn, found, layout, products)
            else:
                applied = _Applied(await write_farms(db, conn, farms, mark_of(found)), [])
            await faults.keep(db, conn, found.id, applied.faults, kept=found.faults)
            outcomes = applied.outcomes
            counts = {
                "rows_applied": outcomes.total(),
                "rows_created": outcomes[Outcome.CREATED],
                "rows_updated": outcomes[Outcome.UPDATED],
                "rows_superseded": outcomes[Outcome.SUPERSEDED],
                "rows_failed": outcomes[Outcome.FAILED],
                "faults": len(applied.faults),
            }
            await count_chunk(db, conn, chunk, counts)
        return applied

    applied = await repeating(unit)
    CHANGES_NUMBERED.inc(applied.numbered)
    for outcome, rows in applied.outcomes.items():
        IMPORT_ROWS.labels(outcome.value).inc(rows)


async def _write_products(
    db: Database, conn: Connection, found: Import, layout: Layout, rows: Sequence[ProductRow]
) -> _Applied:
    """Of a new list nothing is known, of one that is sent again everything: each has its way."""
    mark = mark_of(found)
    resolved = await resolve(db, conn, (r.category for r in rows), (r.farm for r in rows))
    lost: list[RowFault] = []
    listed = _listed(layout, rows, resolved, lost)
    now = await database_clock.now(db, conn)
    unknown = await first_reports.unknown(db, conn, listed)
    firsts = {key: listed[key][1] for key in unknown}
    reports = {
        key: (Report(row, mark, news),) for key, (row, news) in listed.items() if key not in unknown
    }
    # With nothing to fold, creating is the last there is to do but counting.
    numbered = await first_reports.create(db, conn, firsts, mark, now, is_last=not reports)
    folded = await fold_products(db, conn, reports, now, _KIND)
    outcomes = Counter(_outcome(step) for _, step in folded.steps)
    outcomes[Outcome.CREATED] += len(firsts)
    outcomes[Outcome.FAILED] += len(lost)
    outcomes[Outcome.SUPERSEDED] += len(rows) - len(listed) - len(lost)
    return _Applied(outcomes, lost, numbered)


def _listed(
    layout: Layout, rows: Sequence[ProductRow], resolved: Resolved, lost: list[RowFault]
) -> dict[ProductKey, tuple[int, Listed]]:
    """What the rows say, by product; rows whose category or farm has gone are lost.

    A farm that was given another's external id meanwhile makes two rows of one product: the first
    counts, since neither is newer.
    """
    listed: dict[ProductKey, tuple[int, Listed]] = {}
    for row in rows:
        farm_id, category_id = resolved.farm_id(row.farm), resolved.categories.get(row.category)
        if farm_id is None:
            field = "farm" if row.farm.id is not None else "farm_external_id"
            lost.append(faults.of_row(layout, row.row, field, _GONE))
        elif category_id is None:
            lost.append(faults.of_row(layout, row.row, "category", _GONE, row.category))
        elif (farm_id, row.sku) not in listed:
            listed[farm_id, row.sku] = (
                row.row,
                Listed(
                    row.name,
                    category_id,
                    Price(row.price_minor, row.currency),
                    row.description,
                    row.unit,
                    row.attributes,
                    row.stock,
                ),
            )
    return listed


def _outcome(step: Step) -> Outcome:
    if step.verdict.state is not State.DONE:
        return Outcome.SUPERSEDED
    if step.before is None:
        return Outcome.CREATED
    return Outcome.UNCHANGED if step.before == step.after else Outcome.UPDATED
