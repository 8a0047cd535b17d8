"""Writes a chunk's farms: those there are by their external ids, those there are not as new ones.

The order of locks is that of the API's writes: farm, then watermark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from models.catalog import watermarks
from models.catalog.watermarks import Facet, Mark, farm_entity
from models.database import Connection, Database, Row
from models.fields import to_column
from models.imports.outcomes import Outcome
from models.imports.resolving import find_ids
from models.imports.row_values import FarmRow
from models.placeholders import placeholders

__all__ = ["write_farms"]

_FIELDS: Final = ("name", "city", "state", "latitude", "longitude")


async def write_farms(
    db: Database, conn: Connection, rows: Sequence[FarmRow], mark: Mark
) -> Counter[Outcome]:
    """Do it; returns how many rows came to what. A farm named twice is taken by its first row.

    What a row does not say of a farm's place (``None``) stays. Raises ``DuplicateKey`` when another
    writer made one of them meanwhile: run the whole unit again.
    """
    wanted = {row.external_id: row for row in reversed(rows)}
    if not wanted:
        return Counter()
    held = await _lock(db, conn, sorted(wanted))
    outcomes: Counter[Outcome] = Counter()
    new = [wanted[name] for name in sorted(wanted.keys() - held.keys())]
    outcomes[Outcome.CREATED] = len(new)
    await _insert(db, conn, new, mark)
    marks = await watermarks.read(db, conn, [farm_entity(int(row["id"])) for row in held.values()])
    told: list[int] = []
    for name, row in held.items():
        farm_id = int(row["id"])
        known = marks[farm_entity(farm_id)].get(Facet.CONTENT)
        if known is not None and known >= mark:
            outcomes[Outcome.SUPERSEDED] += 1
            continue
        told.append(farm_id)
        changed = _changed(row, wanted[name])
        outcomes[Outcome.UPDATED if changed else Outcome.UNCHANGED] += 1
        if changed:
            await _update(db, conn, farm_id, changed, mark)
    told += (
        await find_ids(db, conn, "farms", "external_id", [row.external_id for row in new])
    ).values()
    entities = {(farm_entity(farm_id), Facet.CONTENT): mark for farm_id in told}
    await watermarks.advance_all(db, conn, entities)
    return outcomes


def _changed(row: Row, wanted: FarmRow) -> dict[str, object]:
    said = {name: getattr(wanted, name) for name in _FIELDS}
    return {k: v for k, v in said.items() if v is not None and row[k] != v}


async def _lock(db: Database, conn: Connection, names: Sequence[str]) -> dict[str, Row]:
    rows = await db.fetch(
        f"""SELECT id, external_id, {", ".join(_FIELDS)} FROM farms
            WHERE external_id IN ({placeholders(names)}) ORDER BY id {db.dialect.for_update}""",
        names,
        purpose="import_farms",
        conn=conn,
    )
    return {str(row["external_id"]): row for row in rows}


async def _insert(db: Database, conn: Connection, rows: Sequence[FarmRow], mark: Mark) -> None:
    if not rows:
        return
    at = to_column(mark.occurred_at)
    columns = ("external_id", *_FIELDS)
    await db.execute(
        f"INSERT INTO farms ({', '.join(columns)}, created_at, updated_at) VALUES "
        + ", ".join([f"({placeholders(columns)}, %s, %s)"] * len(rows)),
        [value for row in rows for value in (*(getattr(row, c) for c in columns), at, at)],
        purpose="import_farms",
        conn=conn,
    )


async def _update(
    db: Database, conn: Connection, farm_id: int, changed: dict[str, object], mark: Mark
) -> None:
    await db.execute(
        f"UPDATE farms SET {', '.join(f'{name} = %s' for name in changed)},"
        " version = version + 1, updated_at = %s WHERE id = %s",
        [*changed.values(), to_column(mark.occurred_at), farm_id],
        purpose="import_farms",
        conn=conn,
    )
