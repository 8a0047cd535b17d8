"""Makes the categories and farms that an import's rows name and we do not have.

In batches with transactions of their own: what exists is left alone, so it may be run again. What
several rows say of one is taken from the first of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import orjson

from models.catalog import watermarks
from models.catalog.watermarks import Facet, Mark, category_entity, farm_entity
from models.database import Connection, Database, retrying
from models.fields import to_column
from models.imports.resolving import find_ids, slug_of
from models.imports.row_values import FarmRef

__all__ = ["create_missing"]

T = TypeVar("T")
_AT_ONCE: Final = 200
_CHUNKS_AT_ONCE: Final = 50
_NAME_CHARACTERS: Final = 200


async def create_missing(
    db: Database, import_id: int, mark: Mark, *, alive: Callable[[], Awaitable[None]]
) -> None:
    """Make whatever is missing; ``mark`` is what it is told by. Raises ``DatabaseUnavailable``."""
    async for missing in _missing(db, import_id):
        # Backwards, so that the first row's word stands.
        categories = {slug_of(text): _name_of(text) for text in reversed(missing["categories"])}
        for names in _in_batches(categories):
            await _in_transaction(db, _create_categories, names, mark)
        farms = {
            farm["external_id"]: FarmRef(**{k: v for k, v in farm.items() if k in FarmRef._fields})
            for farm in reversed(missing["farms"])
        }
        for refs in _in_batches(farms):
            await _in_transaction(db, _create_farms, refs, mark)
        await alive()


async def _missing(db: Database, import_id: int) -> AsyncIterator[dict[str, Any]]:
    """What each chunk misses, in the file's order."""
    after = -1
    while True:
        rows = await db.fetch(
            """SELECT position, missing FROM import_chunks
               WHERE import_id = %s AND position > %s AND missing IS NOT NULL
               ORDER BY position LIMIT %s""",
            [import_id, after, _CHUNKS_AT_ONCE],
            purpose="import_missing",
        )
        for row in rows:
            after = int(row["position"])
            yield orjson.loads(row["missing"])
        if len(rows) < _CHUNKS_AT_ONCE:
            return


def _in_batches(wanted: Mapping[str, T]) -> Iterator[dict[str, T]]:
    # In one order everywhere, so that two imports do not wait for each other in a circle.
    items = sorted(wanted.items(), key=lambda item: item[0])
    for start in range(0, len(items), _AT_ONCE):
        yield dict(items[start : start + _AT_ONCE])


def _name_of(text: str) -> str:
    """A category's name: the text itself, unless it is written as a slug."""
    name = text.replace("-", " ").capitalize() if text == slug_of(text) else text
    return name[:_NAME_CHARACTERS]


async def _in_transaction(
    db: Database,
    create: Callable[[Database, Connection, Mapping[str, Any], Mark], Awaitable[None]],
    wanted: Mapping[str, Any],
    mark: Mark,
) -> None:
    async def unit() -> None:
        async with db.transaction(read_committed=True) as conn:
            await create(db, conn, wanted, mark)

    await retrying(unit)


async def _create_categories(
    db: Database, conn: Connection, names: Mapping[str, str], mark: Mark
) -> None:
    ids = await find_ids(db, conn, "categories", "slug", names)
    new = sorted(set(names) - set(ids))
    if not new:
        return
    at = to_column(mark.occurred_at)
    await db.execute(
        "INSERT INTO categories (slug, name, created_at, updated_at) VALUES "
        + ", ".join(["(%s, %s, %s, %s)"] * len(new))
        + f" {db.dialect.upsert.format('slug')} slug = {db.dialect.inserted.format('slug')}",
        [value for slug in new for value in (slug, names[slug], at, at)],
        purpose="import_categories",
        conn=conn,
    )
    made = await find_ids(db, conn, "categories", "slug", new)
    marks = {(category_entity(category_id), Facet.CONTENT): mark for category_id in made.values()}
    await watermarks.advance_all(db, conn, marks)


async def _create_farms(
    db: Database, conn: Connection, farms: Mapping[str, FarmRef], mark: Mark
) -> None:
    ids = await find_ids(db, conn, "farms", "external_id", farms)
    new = [farms[external_id] for external_id in sorted(set(farms) - set(ids))]
    if not new:
        return
    at = to_column(mark.occurred_at)
    await db.execute(
        "INSERT INTO farms"
        " (external_id, name, city, state, latitude, longitude, created_at, updated_at) VALUES "
        + ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s)"] * len(new))
        + f" {db.dialect.upsert.format('external_id')}"
        f" external_id = {db.dialect.inserted.format('external_id')}",
        [
            value
            for farm in new
            for value in (
                farm.external_id, farm.name, farm.city, farm.state, farm.latitude, farm.longitude,
                at, at,
            )
        ],
        purpose="import_farms",
        conn=conn,
    )  # fmt: skip
    made = await find_ids(db, conn, "farms", "external_id", [str(farm.external_id) for farm in new])
    marks = {(farm_entity(farm_id), Facet.CONTENT): mark for farm_id in made.values()}
    await watermarks.advance_all(db, conn, marks)
