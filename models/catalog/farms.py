"""Farms: who offers products, read straight from the database.

Cached product entries show their farm's name and place, so a change or a deletion voids all of
them; a new farm shows in none yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import orjson

from coordination.cache_entry import strong_etag
from coordination.errors import Conflict, NotFound
from coordination.logs import current_request_id
from models import database_clock, tables
from models.catalog import watermarks
from models.catalog.by_name import Page, Position, after_clause, page_of, require_limit
from models.catalog.changes import Change, everything_changed
from models.catalog.field_checks import FieldChecks
from models.catalog.preconditions import check_if_match
from models.catalog.references import require_unreferred
from models.catalog.representation import timestamp
from models.catalog.watermarks import Facet
from models.catalog.write_unit import Hook, Written, write
from models.database import Connection, Database, DuplicateKey, ForeignKey, Row
from models.fields import from_column
from models.resources import Resources

__all__ = [
    "FIELDS",
    "Farm",
    "change_farm",
    "checked_changes",
    "create_farm",
    "delete_farm",
    "get_farm",
    "list_farms",
    "lock_farm",
    "update_farm",
]

FIELDS: Final = ("external_id", "name", "city", "state", "latitude", "longitude")
"""What a client may set."""

_REQUIRED: Final = {"name": 200, "city": 120, "state": 120}
_EXTERNAL_ID_CHARACTERS: Final = 64
_BOUNDS: Final = {"latitude": 90.0, "longitude": 180.0}
_SELECT: Final = """
  SELECT f.id, f.external_id, f.name, f.city, f.state, f.latitude, f.longitude, f.version,
    f.created_at, f.updated_at
  FROM farms f"""


@dataclass(frozen=True, slots=True)
class Farm:
    """One farm; ``external_id`` is the partner's or directory's own name for it.

    ``latitude`` and ``longitude`` are degrees (WGS 84), both or neither.
    """

    id: int
    external_id: str | None
    name: str
    city: str
    state: str
    latitude: float | None
    longitude: float | None
    version: int
    created_at: datetime
    updated_at: datetime

    def as_json(self) -> bytes:
        """The representation that clients get and that the ETag is of."""
        return orjson.dumps(
            {
                "id": self.id,
                "external_id": self.external_id,
                "name": self.name,
                "city": self.city,
                "state": self.state,
                "latitude": self.latitude,
                "longitude": self.longitude,
                "version": self.version,
                "created_at": timestamp(self.created_at),
                "updated_at": timestamp(self.updated_at),
            }
        )

    @property
    def etag(self) -> str:
        """The strong validator of ``as_json``."""
        return strong_etag(self.as_json())


async def list_farms(
    resources: Resources, *, limit: int, after: Position | None = None
) -> Page[Farm]:
    """A page by name and id. Raises ``InvalidInput`` (limit), ``DatabaseUnavailable``."""
    require_limit(limit)
    where, params = after_clause("f", after)
    rows = await resources.db.fetch(
        f"{_SELECT} WHERE {where} ORDER BY f.name, f.id LIMIT %s",
        [*params, limit + 1],
        purpose="farm_list",
        timeout_ms=resources.settings.list_timeout_ms,
    )
    return page_of([_farm(row) for row in rows], limit)


async def get_farm(resources: Resources, farm_id: int) -> Farm:
    """The farm of this id. Raises ``NotFound``, ``DatabaseUnavailable``."""
    rows = await resources.db.fetch(f"{_SELECT} WHERE f.id = %s", [farm_id], purpose="farm")
    return _farm(_only(rows, farm_id))


async def create_farm(
    resources: Resources, given: Mapping[str, object], *, in_transaction: Hook[Farm] | None = None
) -> Farm:
    """Create one from ``name, city, state`` and optionally the other ``FIELDS``.

    Raises ``InvalidInput``, ``Conflict`` (the external id is taken), ``DatabaseUnavailable``, and
    what ``in_transaction`` raises; then nothing is written.
    """
    wanted = _checked(given, required=True)
    _require_both_coordinates(wanted.get("latitude"), wanted.get("longitude"))
    db = resources.db

    async def unit(conn: Connection) -> Written[Farm]:
        now = await database_clock.now(db, conn)
        with _unique_external_id(), db.orm("farm_insert"):
            row = await tables.Farm.create(using_db=conn, **wanted, created_at=now, updated_at=now)
        fields = {**dict.fromkeys(FIELDS), **wanted}
        created = Farm(id=row.id, **fields, version=1, created_at=now, updated_at=now)
        await _mark(db, conn, created)
        return Written(created, Change("farm.created"))

    return await write(resources, unit, in_transaction)


async def update_farm(
    resources: Resources,
    farm_id: int,
    given: Mapping[str, object],
    *,
    if_match: str | None = None,
) -> Farm:
    """Change the given fields; ``None`` clears an optional one. Returns the new state.

    What changes nothing writes nothing. Raises ``NotFound``, ``PreconditionFailed``,
    ``InvalidInput``, ``Conflict`` (the external id is taken), ``DatabaseUnavailable``.
    """
    wanted = checked_changes(given)
    db = resources.db

    async def unit(conn: Connection) -> Written[Farm]:
        current = await lock_farm(db, conn, farm_id)
        check_if_match(if_match, current.etag)
        written = await change_farm(db, conn, current, wanted)
        if written.change is not None:
            await _mark(db, conn, written.result)
        return written

    return await write(resources, unit)


def checked_changes(given: Mapping[str, object]) -> dict[str, Any]:
    """Fields to change, by name, as ``change_farm`` takes them. Raises ``InvalidInput``."""
    return _checked(given, required=False)


async def change_farm(
    db: Database, conn: Connection, current: Farm, wanted: Mapping[str, Any]
) -> Written[Farm]:
    """Change a locked farm in the caller's transaction; the watermark is the caller's affair.

    What changes nothing writes nothing. Raises ``InvalidInput`` (one coordinate alone),
    ``Conflict`` (the external id is taken); then nothing is written.
    """
    changed = {field: value for field, value in wanted.items() if getattr(current, field) != value}
    if not changed:
        return Written(current, None)
    now = await database_clock.now(db, conn)
    updated = replace(current, **changed, version=current.version + 1, updated_at=now)
    _require_both_coordinates(updated.latitude, updated.longitude)
    with _unique_external_id(), db.orm("farm_update"):
        await (
            tables.Farm.filter(id=current.id)
            .using_db(conn)
            .update(**changed, version=updated.version, updated_at=updated.updated_at)
        )
    return Written(updated, everything_changed("farm.updated"))


async def delete_farm(
    resources: Resources,
    farm_id: int,
    *,
    if_match: str | None = None,
) -> None:
    """Delete it. Raises ``NotFound``, ``PreconditionFailed``, ``DatabaseUnavailable``.

    Raises ``Conflict`` while it has products: the foreign keys decide.
    """
    db = resources.db

    async def unit(conn: Connection) -> Written[Farm]:
        current = await lock_farm(db, conn, farm_id)
        check_if_match(if_match, current.etag)
        try:
            await require_unreferred(db, conn, farm_id, {"products": "farm_id"})
            with db.orm("farm_delete"):
                await tables.Farm.filter(id=farm_id).using_db(conn).delete()
        except ForeignKey:
            raise Conflict(f"Farm {farm_id} still has products.") from None
        return Written(current, everything_changed("farm.deleted"))

    await write(resources, unit)


def _checked(given: Mapping[str, object], *, required: bool) -> dict[str, Any]:
    """The fields to set, by name. Raises ``InvalidInput``."""
    checks = FieldChecks(given, FIELDS)
    wanted: dict[str, Any] = {
        field: checks.text(field, most)
        for field, most in _REQUIRED.items()
        if required or field in given
    }
    if "external_id" in given:
        wanted["external_id"] = checks.optional_text("external_id", _EXTERNAL_ID_CHARACTERS)
    for field, bound in _BOUNDS.items():
        if field in given:
            wanted[field] = checks.number(field, -bound, bound)
    checks.raise_if_any()
    return wanted


def _require_both_coordinates(latitude: float | None, longitude: float | None) -> None:
    if (latitude is None) != (longitude is None):
        checks = FieldChecks({}, FIELDS)
        missing = "latitude" if latitude is None else "longitude"
        checks.fault(missing, "must be given together with the other coordinate, or neither")
        checks.raise_if_any()


def _farm(row: Row) -> Farm:
    return Farm(
        id=int(row["id"]),
        external_id=row["external_id"],
        name=row["name"],
        city=row["city"],
        state=row["state"],
        latitude=row["latitude"],
        longitude=row["longitude"],
        version=int(row["version"]),
        created_at=from_column(row["created_at"]),
        updated_at=from_column(row["updated_at"]),
    )


async def _mark(db: Database, conn: Connection, farm: Farm) -> None:
    """Note when its content was set, so that older webhooks do not set it back."""
    entity = watermarks.farm_entity(farm.id)
    event_id = current_request_id() or entity
    await watermarks.advance(db, conn, entity, [Facet.CONTENT], farm.updated_at, event_id)


async def lock_farm(db: Database, conn: Connection, farm_id: int) -> Farm:
    """The farm, its row locked. Raises ``NotFound``."""
    rows = await db.fetch(
        f"{_SELECT} WHERE f.id = %s {db.dialect.for_update}",
        [farm_id],
        purpose="farm_lock",
        conn=conn,
    )
    return _farm(_only(rows, farm_id))


def _only(rows: list[Row], farm_id: int) -> Row:
    if not rows:
        raise NotFound(f"There is no farm {farm_id}.")
    return rows[0]


@contextmanager
def _unique_external_id() -> Iterator[None]:
    try:
        yield
    except DuplicateKey:
        raise Conflict("There already is a farm with this external id.") from None
