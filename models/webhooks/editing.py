"""Applies events about categories and farms, one by one, by the functions the API's writes use.

What they name must be there; they are ordered by the watermark of its content. They are rare, and
each voids everything, so nothing is batched. A refused one leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from coordination.errors import Conflict, InvalidInput, NotFound
from models.catalog import categories, farms, watermarks
from models.catalog.categories import Category
from models.catalog.changes import Change
from models.catalog.farms import Farm
from models.catalog.watermarks import Facet, Mark
from models.catalog.write_unit import Written
from models.database import Connection, Database
from models.reports.merging import DONE, SUPERSEDED, Verdict, dead, unknown
from models.webhooks.naming import Permission, find_categories, find_farms
from models.webhooks.payloads import CategoryUpdated, FarmUpdated
from models.webhooks.states import DeadReason, State

__all__ = ["Edit", "edit"]

_CATEGORY_FIELDS: Final = {"name": "name", "parent": "parent", "new_slug": "slug"}
_FARM_FIELDS: Final = ("name", "city", "state", "latitude", "longitude")


@dataclass(frozen=True, slots=True)
class Edit:
    """What one event did; ``before`` and ``after`` as clients see them, when something changed."""

    verdict: Verdict
    change: Change | None = None
    table: str = ""
    key: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


async def edit(
    db: Database,
    conn: Connection,
    payload: CategoryUpdated | FarmUpdated,
    mark: Mark,
    permission: Permission,
) -> Edit:
    """Apply it in the caller's transaction."""
    try:
        if isinstance(payload, CategoryUpdated):
            return await _edit_category(db, conn, payload, mark, permission)
        return await _edit_farm(db, conn, payload, mark, permission)
    except InvalidInput as error:
        return Edit(dead(DeadReason.INVALID, _faults(error)))
    except Conflict as error:
        # Whoever has the slug or external id may yet give it up.
        return Edit(Verdict(State.PENDING, DeadReason.EXHAUSTED, str(error)))
    except NotFound:
        kind = "category" if isinstance(payload, CategoryUpdated) else "farm"
        return Edit(unknown(f"there is no such {kind}"))


async def _edit_category(
    db: Database, conn: Connection, payload: CategoryUpdated, mark: Mark, permission: Permission
) -> Edit:
    if not permission.may_edit_categories:
        return Edit(dead(DeadReason.FORBIDDEN, "the partner may not edit categories"))
    given = {
        column: getattr(payload, field)
        for field, column in _CATEGORY_FIELDS.items()
        if field in payload.model_fields_set
    }
    wanted = categories.checked_changes(given)
    current = await categories.lock_category(db, conn, payload.slug)
    entity = watermarks.category_entity(current.id)
    if not await _is_news(db, conn, entity, mark):
        return Edit(SUPERSEDED)
    parent = wanted.get("parent")
    if parent is not None and not await find_categories(db, conn, [parent]):
        return Edit(unknown("there is no such parent category"))
    written = await categories.change_category(db, conn, current, wanted)
    await watermarks.advance_all(db, conn, {(entity, Facet.CONTENT): mark})
    return _edited("categories", str(current.id), current, written)


async def _edit_farm(
    db: Database, conn: Connection, payload: FarmUpdated, mark: Mark, permission: Permission
) -> Edit:
    farm_id = (await find_farms(db, conn, [payload.farm])).get(payload.farm)
    if farm_id is None:
        return Edit(unknown("there is no such farm"))
    if not permission.may_touch_farm(farm_id):
        return Edit(dead(DeadReason.FORBIDDEN, "the partner may not touch this farm"))
    wanted = farms.checked_changes(
        {
            field: getattr(payload, field)
            for field in _FARM_FIELDS
            if field in payload.model_fields_set
        }
    )
    current = await farms.lock_farm(db, conn, farm_id)
    entity = watermarks.farm_entity(farm_id)
    if not await _is_news(db, conn, entity, mark):
        return Edit(SUPERSEDED)
    written = await farms.change_farm(db, conn, current, wanted)
    await watermarks.advance_all(db, conn, {(entity, Facet.CONTENT): mark})
    return _edited("farms", str(farm_id), current, written)


async def _is_news(db: Database, conn: Connection, entity: str, mark: Mark) -> bool:
    held = (await watermarks.read(db, conn, [entity]))[entity].get(Facet.CONTENT)
    return held is None or mark > held


def _edited(
    table: str, key: str, before: Category | Farm, written: Written[Category] | Written[Farm]
) -> Edit:
    if written.change is None:
        return Edit(DONE)
    return Edit(
        DONE,
        written.change,
        table,
        key,
        orjson.loads(before.as_json()),
        orjson.loads(written.result.as_json()),
    )


def _faults(error: InvalidInput) -> str:
    """Our own texts, under the names the payload has for the fields."""
    names = {column: field for field, column in _CATEGORY_FIELDS.items()}
    return "; ".join(
        f"/data/{names.get(fault.name[1:], fault.name[1:])}: {fault.detail}"
        for fault in error.errors
    )
