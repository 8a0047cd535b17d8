"""What events would do if they were worked on now: the real unit, rolled back at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from models import database_clock
from models.catalog.money import format_price
from models.database import Database
from models.reports.merging import Product, Verdict
from models.reports.product_rows import ProductKey
from models.reports.repeating import repeating
from models.resources import Resources
from models.webhooks.claims import COLUMNS, Event, event_of
from models.webhooks.effects import Reading, Worked, read_events, work_out

__all__ = ["Preview", "RowChange", "dry_run"]


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row before and after, by field; ``None`` where it is not there.

    ``table``: products, categories or farms. ``key``: the row's id.
    """

    table: str
    key: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of one event. State ``pending``: it would be tried again later."""

    event_id: int
    verdict: Verdict
    changes: tuple[RowChange, ...]


class _RolledBack(Exception):
    """Ends the transaction with what it had found."""

    def __init__(self, worked: Worked) -> None:
        self.worked = worked


async def dry_run(resources: Resources, event_ids: Sequence[int]) -> list[Preview]:
    """Work on these events, whatever their state, and roll it all back; in the order of ids.

    Events that are not there are left out. They see each other's effects, as they would in one
    batch. Holds the locks of a real run for its time. Raises ``DatabaseUnavailable``.
    """
    db = resources.db
    events = await _read(db, event_ids)
    if not events:
        return []
    readings = read_events(events, resources.settings.market_currency)

    async def unit() -> Worked:
        try:
            await _rolled_back(db, events, readings)
        except _RolledBack as rolled_back:
            return rolled_back.worked

    worked = await repeating(unit)
    return [
        Preview(event.id, worked.verdicts[event.id], _changes(event.id, worked)) for event in events
    ]


async def _rolled_back(
    db: Database, events: Sequence[Event], readings: Mapping[int, Reading]
) -> NoReturn:
    async with db.transaction(read_committed=True) as conn:
        now = await database_clock.now(db, conn)
        raise _RolledBack(await work_out(db, conn, events, readings, now))


async def _read(db: Database, event_ids: Sequence[int]) -> list[Event]:
    ids = sorted(set(event_ids))
    if not ids:
        return []
    rows = await db.fetch(
        f"SELECT id, attempts, {', '.join(COLUMNS)} FROM webhook_events"
        f" WHERE id IN ({', '.join(['%s'] * len(ids))}) ORDER BY id",
        ids,
        purpose="webhook_preview",
    )
    return [event_of(row) for row in rows]


def _changes(event_id: int, worked: Worked) -> tuple[RowChange, ...]:
    edit = worked.edits.get(event_id)
    if edit is not None and edit.after is not None:
        return (RowChange(edit.table, edit.key, edit.before, edit.after),)
    changes = []
    for key, step in worked.steps:
        named = step.after or step.before
        if step.event == event_id and step.before != step.after and named is not None:
            before, after = _shown(key, step.before), _shown(key, step.after)
            changes.append(RowChange("products", str(named.id), before, after))
    return tuple(changes)


def _shown(key: ProductKey, product: Product | None) -> dict[str, Any] | None:
    if product is None:
        return None
    farm_id, sku = key
    return {
        "id": str(product.id),
        "farm_id": farm_id,
        "sku": sku,
        "name": product.content.name,
        "description": product.content.description,
        "category_id": product.content.category_id,
        "unit": product.content.unit,
        "attributes": orjson.loads(product.content.attributes),
        "price": format_price(product.price.minor, product.price.currency),
        "currency": product.price.currency,
        "stock": product.stock,
    }
