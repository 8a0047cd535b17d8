"""Prices and stocks of deleted products that are newer than the deletion, as rows.

A product that is told to be back takes them instead of its own older ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import orjson

from models.catalog.watermarks import Facet, Mark
from models.database import Connection, Database
from models.placeholders import placeholders
from models.reports.merging import Kept, Price

__all__ = ["read", "replace"]


async def read(
    db: Database, conn: Connection, entities: Collection[str]
) -> dict[str, dict[Facet, Kept]]:
    """What is kept of these entities, by name."""
    if not entities:
        return {}
    rows = await db.fetch(
        "SELECT entity, facet, value FROM entity_kept_values"
        f" WHERE entity IN ({placeholders(entities)})",
        sorted(entities),
        purpose="reported_kept",
        conn=conn,
    )
    found: dict[str, dict[Facet, Kept]] = {}
    for row in rows:
        found.setdefault(str(row["entity"]), {})[Facet(row["facet"])] = _decoded(row["value"])
    return found


async def replace(db: Database, conn: Connection, kept: Mapping[str, Mapping[Facet, Kept]]) -> None:
    """Keep exactly this of each of these entities."""
    if not kept:
        return
    await db.execute(
        f"DELETE FROM entity_kept_values WHERE entity IN ({placeholders(kept)})",
        sorted(kept),
        purpose="reported_kept",
        conn=conn,
    )
    rows = [
        (entity, facet.value, _encoded(value))
        for entity, values in sorted(kept.items())
        for facet, value in sorted(values.items())
    ]
    if rows:
        await db.execute(
            "INSERT INTO entity_kept_values (entity, facet, value) VALUES "
            + ", ".join(["(%s, %s, %s)"] * len(rows)),
            [value for row in rows for value in row],
            purpose="reported_kept",
            conn=conn,
        )


def _encoded(kept: Kept) -> str:
    value = kept.value
    return orjson.dumps(
        {
            "occurred_at": kept.mark.occurred_at,
            "event_id": kept.mark.event_id,
            "value": [value.minor, value.currency] if isinstance(value, Price) else value,
        }
    ).decode()


def _decoded(text: str) -> Kept:
    held = orjson.loads(text)
    value = held["value"]
    return Kept(
        Mark(datetime.fromisoformat(held["occurred_at"]), held["event_id"]),
        Price(*value) if isinstance(value, list) else value,
    )
