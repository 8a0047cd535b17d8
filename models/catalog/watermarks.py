"""The newest time each facet of an entity was set, so that older news can be told from newer.

Watermarks outlive the entity: an update that was overtaken by a deletion stays overtaken.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from models.database import Connection, Database
from models.fields import to_column

__all__ = ["Facet", "advance", "product_entity"]


class Facet(StrEnum):
    """What of an entity is ordered on its own."""

    CONTENT = "content"
    PRICE = "price"
    STOCK = "stock"
    EXISTENCE = "existence"


def product_entity(farm_id: int, sku: str) -> str:
    """The name of a product that survives its deletion."""
    return f"product:{farm_id}:{sku}"


async def advance(
    db: Database,
    conn: Connection,
    entity: str,
    facets: Iterable[Facet],
    occurred_at: datetime,
    event_id: str,
) -> None:
    """Move the facets' watermarks forward in the writer's transaction; never back.

    Of two events of one moment the one with the greater id is the newer.
    """
    # A fixed order of rows keeps two writers of one entity from deadlocking.
    rows = [(entity, facet.value, to_column(occurred_at), event_id) for facet in sorted(facets)]
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
