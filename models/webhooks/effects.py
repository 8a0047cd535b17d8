"""What a batch of events does to the catalogue, in the caller's transaction.

Categories and farms first, one by one; then all products together: find what the events name, and
fold the events over it (``product_folding``). It touches neither the events' own
rows nor the outbox, and decides nothing about attempts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from models.catalog.changes import Change
from models.catalog.watermarks import Mark
from models.database import Connection, Database
from models.reports import product_rows
from models.reports.merging import (
    Content,
    Deleted,
    News,
    Price,
    PriceSet,
    Report,
    Step,
    StockSet,
    Upserted,
    Verdict,
    dead,
    unknown,
)
from models.reports.product_folding import fold_products
from models.reports.product_rows import ProductKey
from models.webhooks.claims import Event
from models.webhooks.editing import Edit, edit
from models.webhooks.naming import (
    Names,
    Permission,
    find_categories,
    find_farms,
    find_permissions,
)
from models.webhooks.payloads import (
    PAYLOADS,
    CategoryUpdated,
    FarmUpdated,
    InventoryUpdated,
    Message,
    PriceUpdated,
    ProductNews,
    ProductUpserted,
    Unusable,
    read_body,
)
from models.webhooks.states import DeadReason, State

__all__ = ["MOST_AHEAD", "Reading", "Worked", "read_events", "work_out"]

MOST_AHEAD: Final = timedelta(seconds=300)
"""News of a moment further ahead is refused, as its sender's clock must be wrong."""
_PARKED: Final = Verdict(State.PARKED)
_NOBODY: Final = Permission()

Reading = Message | Unusable | None
"""A body that was read; ``None`` for a type that this version does not know."""


@dataclass(frozen=True, slots=True)
class Worked:
    """What was done, not yet committed. ``steps``: by product, each event's own part."""

    verdicts: dict[int, Verdict] = field(default_factory=dict)
    edits: dict[int, Edit] = field(default_factory=dict)
    steps: list[tuple[ProductKey, Step]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Said:
    """One usable event, and what its partner may do."""

    event: int
    mark: Mark
    message: Message
    permission: Permission


def read_events(events: Sequence[Event], market_currency: str) -> dict[int, Reading]:
    """Read all bodies."""
    readings: dict[int, Reading] = {}
    for event in events:
        model = PAYLOADS.get(event.type)
        if model is None:
            readings[event.id] = None
        elif event.payload is None:
            readings[event.id] = Unusable("the payload has been purged")
        else:
            readings[event.id] = read_body(model, event.payload, market_currency)
    return readings


async def work_out(
    db: Database,
    conn: Connection,
    events: Sequence[Event],
    readings: Mapping[int, Reading],
    now: datetime,
) -> Worked:
    """Do it, and say what becomes of each event. ``now`` is the database's time.

    Raises ``DuplicateKey`` and ``ForeignKey`` where another writer came between: run the whole unit
    again.
    """
    worked = Worked()
    usable: list[tuple[Event, Message]] = []
    for event in events:
        reading = readings[event.id]
        if reading is None:
            worked.verdicts[event.id] = _PARKED
        elif isinstance(reading, Unusable):
            worked.verdicts[event.id] = dead(DeadReason.INVALID, reading.error)
        elif reading.occurred_at > now + MOST_AHEAD:
            error = "/occurred_at: lies more than five minutes ahead"
            worked.verdicts[event.id] = dead(DeadReason.FUTURE, error)
        else:
            usable.append((event, reading))
    if usable:
        permissions = await find_permissions(db, conn, [e.partner_id for e, _ in usable])
        said = [
            _Said(
                event.id,
                Mark(message.occurred_at, event.dedup_key),
                message,
                permissions.get(event.partner_id, _NOBODY),
            )
            for event, message in usable
        ]
        await _edit(db, conn, said, worked)
        await _write_products(db, conn, said, now, worked)
    return worked


async def _edit(db: Database, conn: Connection, said: Sequence[_Said], worked: Worked) -> None:
    """Categories and farms, the oldest first."""
    for item in sorted(said, key=lambda item: (item.mark, item.event)):
        payload = item.message.payload
        if isinstance(payload, CategoryUpdated | FarmUpdated):
            done = await edit(db, conn, payload, item.mark, item.permission)
            worked.edits[item.event] = done
            worked.verdicts[item.event] = done.verdict
            if done.change is not None:
                worked.changes.append(done.change)


async def _write_products(
    db: Database, conn: Connection, said: Sequence[_Said], now: datetime, worked: Worked
) -> None:
    reports = await _address(db, conn, said, worked)
    folded = await fold_products(db, conn, reports, now, "webhooks.applied")
    for key, step in folded.steps:
        worked.verdicts[step.event] = step.verdict
        worked.steps.append((key, step))
    if folded.change is not None:
        worked.changes.append(folded.change)


async def _address(
    db: Database, conn: Connection, said: Sequence[_Said], worked: Worked
) -> dict[ProductKey, list[Report]]:
    """What is said of which product, by those who may."""
    about = [(i, i.message.payload) for i in said if isinstance(i.message.payload, ProductNews)]
    farms = await find_farms(db, conn, [payload.farm for _, payload in about])
    categories = await find_categories(
        db, conn, [payload.category for _, payload in about if isinstance(payload, ProductUpserted)]
    )
    reports: dict[ProductKey, list[Report]] = {}
    for item, payload in about:
        farm_id = farms.get(payload.farm)
        named = payload.farm if isinstance(payload.farm, int) else farm_id
        if named is not None and not item.permission.may_touch_farm(named):
            error = "the partner may not touch this farm"
            worked.verdicts[item.event] = dead(DeadReason.FORBIDDEN, error)
        elif farm_id is None:
            worked.verdicts[item.event] = unknown("there is no such farm")
        else:
            report = Report(item.event, item.mark, _news(item.message, payload, categories))
            reports.setdefault((farm_id, payload.sku), []).append(report)
    return reports


def _news(message: Message, payload: ProductNews, categories: Names) -> News:
    price = Price(message.price_minor, message.currency)
    if isinstance(payload, ProductUpserted):
        category_id = categories.get(payload.category)
        content = None
        if category_id is not None:
            content = Content(
                payload.name,
                payload.description,
                category_id,
                payload.unit,
                product_rows.canonical(payload.attributes),
            )
        return Upserted(content, price, payload.stock, payload.id)
    if isinstance(payload, InventoryUpdated):
        return StockSet(payload.stock, payload.id)
    if isinstance(payload, PriceUpdated):
        return PriceSet(price, payload.id)
    return Deleted(payload.id)
