"""The newest time each facet of an entity was set, so that older news can be told from newer.

Watermarks outlive the entity: an update that was overtaken by a deletion stays overtaken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from models.database import Connection, Database
from models.fields import from_column, to_column

__all__ = [
    "NEVER",
    "Facet",
    "Mark",
    "Marks",
    "advance",
    "advance_all",
    "begin",
    "category_entity",
    "farm_entity",
    "hold_existence",
    "known",
    "product_entity",
    "read",
]


class Facet(StrEnum):
    """What of an entity is ordered on its own."""

    CONTENT = "content"
    PRICE = "price"
    STOCK = "stock"
    EXISTENCE = "existence"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """When something was said. Of two events of one moment the one with the greater id is newer."""

    occurred_at: datetime
    event_id: str


Marks = Mapping[tuple[str, Facet], Mark]
"""Marks by entity and facet."""

_FACETS: Final = tuple(Facet)
_EVERY: Final = "all"
"""The facet of a row that stands for all of them: a facet's mark is the newer of its own row and
this one. Whoever creates, deletes or imports says everything at once, and writes one row, not four.
"""

# MariaDB makes a temporary table of longer lists.
_LOOKED_UP_AT_ONCE: Final = 500

NEVER: Final = Mark(datetime(1000, 1, 1, tzinfo=UTC), "")
"""Older than anything: the earliest time MySQL promises to store."""


def product_entity(farm_id: int, sku: str) -> str:
    """The name of a product that survives its deletion."""
    return f"product:{farm_id}:{sku}"


def category_entity(category_id: int) -> str:
    """The name of a category that survives its renaming; it has content only."""
    return f"category:{category_id}"


def farm_entity(farm_id: int) -> str:
    """The name of a farm; it has content only."""
    return f"farm:{farm_id}"


async def advance(
    db: Database,
    conn: Connection,
    entity: str,
    facets: Iterable[Facet],
    occurred_at: datetime,
    event_id: str,
) -> None:
    """Move the facets' watermarks forward in the writer's transaction; never back."""
    mark = Mark(occurred_at, event_id)
    await advance_all(db, conn, {(entity, facet): mark for facet in facets})


async def advance_all(db: Database, conn: Connection, marks: Marks) -> None:
    """The same for several entities, each facet by its own mark, in one statement."""
    rows = _rows(marks)
    if not rows:
        return
    new_time = db.dialect.inserted.format("occurred_at")
    new_id = db.dialect.inserted.format("event_id")
    held_time, held_id = "entity_watermarks.occurred_at", "entity_watermarks.event_id"
    # MariaDB assigns from left to right: the id first, while both old values still stand.
    newer = f"({new_time} > {held_time} OR ({new_time} = {held_time} AND {new_id} > {held_id}))"
    await db.execute(
        "INSERT INTO entity_watermarks (entity, facet, occurred_at, event_id) VALUES "
        + ", ".join(["(%s, %s, %s, %s)"] * len(rows))
        + f" {db.dialect.upsert.format('entity, facet')}"
        f" event_id = CASE WHEN {newer} THEN {new_id} ELSE {held_id} END,"
        f" occurred_at = CASE WHEN {new_time} > {held_time} THEN {new_time} ELSE {held_time} END",
        [value for row in rows for value in row],
        purpose="watermarks",
        conn=conn,
    )


def _rows(marks: Marks) -> list[tuple[str, str, str, str]]:
    """The rows to write: one for an entity of which every facet was said at once.

    In a fixed order, which keeps two writers of one entity from deadlocking.
    """
    by_entity: dict[str, dict[Facet, Mark]] = {}
    for (entity, facet), mark in marks.items():
        by_entity.setdefault(entity, {})[facet] = mark
    columns: dict[datetime, str] = {}
    rows = []
    for entity in sorted(by_entity):
        told = by_entity[entity]
        distinct = set(told.values())
        if len(told) == len(_FACETS) and len(distinct) == 1:
            named = [(_EVERY, distinct.pop())]
        else:
            named = sorted((facet.value, mark) for facet, mark in told.items())
        for name, mark in named:
            moment = columns.get(mark.occurred_at)
            if moment is None:
                moment = columns[mark.occurred_at] = to_column(mark.occurred_at)
            rows.append((entity, name, moment, mark.event_id))
    return rows


async def hold_existence(db: Database, conn: Connection, entities: Collection[str]) -> None:
    """Keep other writers of these entities out until the transaction ends.

    For entities without a row of their own to lock: the watermark of all their facets is locked,
    and made with ``NEVER`` where there is none.
    """
    if not entities:
        return
    row = [_EVERY, to_column(NEVER.occurred_at), NEVER.event_id]
    await db.execute(
        "INSERT INTO entity_watermarks (entity, facet, occurred_at, event_id) VALUES "
        + ", ".join(["(%s, %s, %s, %s)"] * len(entities))
        + f" {db.dialect.upsert.format('entity, facet')} event_id = entity_watermarks.event_id",
        [value for entity in sorted(entities) for value in (entity, *row)],
        purpose="watermark_hold",
        conn=conn,
    )


async def begin(
    db: Database, conn: Connection, entities: Collection[str], facets: Collection[Facet], mark: Mark
) -> None:
    """Set the first marks of entities that have none, and hold their existence.

    All get this mark of these facets. Raises ``DuplicateKey`` where somebody has set one, or is
    about to and commits.
    """
    if not entities:
        return
    moment, never = to_column(mark.occurred_at), to_column(NEVER.occurred_at)
    each = [(_EVERY, moment, mark.event_id)]
    if set(facets) != set(_FACETS):
        each = [(_EVERY, never, NEVER.event_id)]
        each += [(facet.value, moment, mark.event_id) for facet in sorted(facets)]
    # The moments are ours, so they need no marks: an entity costs as few values as may be.
    rows = ", ".join(f"(%s, '{facet}', '{at}', %s)" for facet, at, _ in each)
    await db.execute(
        "INSERT INTO entity_watermarks (entity, facet, occurred_at, event_id) VALUES "
        + ", ".join([rows] * len(entities)),
        [value for entity in sorted(entities) for _, _, by in each for value in (entity, by)],
        purpose="watermarks",
        conn=conn,
    )


async def known(db: Database, conn: Connection, entities: Collection[str]) -> frozenset[str]:
    """Those of these entities of which anything is held, be it a mere lock, as committed."""
    found: set[str] = set()
    wanted = sorted(entities)
    for start in range(0, len(wanted), _LOOKED_UP_AT_ONCE):
        batch = wanted[start : start + _LOOKED_UP_AT_ONCE]
        rows = await db.fetch(
            "SELECT DISTINCT entity FROM entity_watermarks"
            f" WHERE entity IN ({', '.join(['%s'] * len(batch))})",
            batch,
            purpose="watermark_read",
            conn=conn,
        )
        found.update(str(row["entity"]) for row in rows)
    return frozenset(found)


async def read(
    db: Database, conn: Connection, entities: Collection[str]
) -> dict[str, dict[Facet, Mark]]:
    """What is held of these entities, by entity; nothing is left out. Lock the entities first."""
    held: dict[str, dict[Facet, Mark]] = {entity: {} for entity in entities}
    if not entities:
        return held
    rows = await db.fetch(
        "SELECT entity, facet, occurred_at, event_id FROM entity_watermarks"
        f" WHERE entity IN ({', '.join(['%s'] * len(entities))})",
        sorted(entities),
        purpose="watermark_read",
        conn=conn,
    )
    for row in rows:
        mark = Mark(from_column(row["occurred_at"]), str(row["event_id"]))
        if mark == NEVER:
            continue  # a mere lock
        known = held[str(row["entity"])]
        facets = _FACETS if row["facet"] == _EVERY else (Facet(row["facet"]),)
        for facet in facets:
            if facet not in known or known[facet] < mark:
                known[facet] = mark
    return held
