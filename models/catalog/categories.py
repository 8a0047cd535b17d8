"""Categories: a tree of at most eight levels, read straight from the database.

Cached product entries show categories, so every change here voids all of them. The tree's shape is
checked under row locks (``category_tree``); of two moves that would together close a cycle, one
loses its deadlock, runs again, and is refused.
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
from models.catalog.category_tree import parent_for_moved, parent_for_new
from models.catalog.changes import everything_changed
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
    "Category",
    "change_category",
    "checked_changes",
    "create_category",
    "delete_category",
    "get_category",
    "list_categories",
    "lock_category",
    "update_category",
]

FIELDS: Final = ("slug", "name", "parent")
"""What a client may set."""

_NAME_CHARACTERS: Final = 200
_REFERRING: Final = {"products": "category_id", "categories": "parent_id"}
_SELECT: Final = """
  SELECT c.id, c.slug, c.name, c.version, c.created_at, c.updated_at, p.slug AS parent
  FROM categories c LEFT JOIN categories p ON p.id = c.parent_id"""


@dataclass(frozen=True, slots=True)
class Category:
    """One category; ``parent`` is the slug of the one above it."""

    id: int
    slug: str
    name: str
    parent: str | None
    version: int
    created_at: datetime
    updated_at: datetime

    def as_json(self) -> bytes:
        """The representation that clients get and that the ETag is of."""
        return orjson.dumps(
            {
                "id": self.id,
                "slug": self.slug,
                "name": self.name,
                "parent": self.parent,
                "version": self.version,
                "created_at": timestamp(self.created_at),
                "updated_at": timestamp(self.updated_at),
            }
        )

    @property
    def etag(self) -> str:
        """The strong validator of ``as_json``."""
        return strong_etag(self.as_json())


async def list_categories(
    resources: Resources, *, limit: int, after: Position | None = None
) -> Page[Category]:
    """A page by name and id. Raises ``InvalidInput`` (limit), ``DatabaseUnavailable``."""
    require_limit(limit)
    where, params = after_clause("c", after)
    rows = await resources.db.fetch(
        f"{_SELECT} WHERE {where} ORDER BY c.name, c.id LIMIT %s",
        [*params, limit + 1],
        purpose="category_list",
        timeout_ms=resources.settings.list_timeout_ms,
    )
    return page_of([_category(row) for row in rows], limit)


async def get_category(resources: Resources, slug: str) -> Category:
    """The category of this slug. Raises ``NotFound``, ``DatabaseUnavailable``."""
    rows = await resources.db.fetch(f"{_SELECT} WHERE c.slug = %s", [slug], purpose="category")
    return _category(_only(rows, slug))


async def create_category(
    resources: Resources,
    given: Mapping[str, object],
    *,
    in_transaction: Hook[Category] | None = None,
) -> Category:
    """Create one from ``slug``, ``name`` and optionally ``parent`` (a slug).

    Raises ``InvalidInput``, ``Conflict`` (the slug is taken), ``DatabaseUnavailable``, and what
    ``in_transaction`` raises; then nothing is written.
    """
    wanted = _checked(given, required=("slug", "name"))
    db = resources.db

    async def unit(conn: Connection) -> Written[Category]:
        now = await database_clock.now(db, conn)
        parent: str | None = wanted.get("parent")
        parent_id = await parent_for_new(db, conn, parent)
        with _unique_slug(wanted["slug"]), db.orm("category_insert"):
            row = await tables.Category.create(
                using_db=conn,
                slug=wanted["slug"],
                name=wanted["name"],
                parent_id=parent_id,
                created_at=now,
                updated_at=now,
            )
        created = Category(row.id, row.slug, row.name, parent, 1, now, now)
        await _mark(db, conn, created)
        return Written(created, everything_changed("category.created"))

    return await write(resources, unit, in_transaction)


async def update_category(
    resources: Resources,
    slug: str,
    given: Mapping[str, object],
    *,
    if_match: str | None = None,
) -> Category:
    """Change the given fields; ``parent: None`` moves it to the top. Returns the new state.

    What changes nothing writes nothing. Raises ``NotFound``, ``PreconditionFailed``,
    ``InvalidInput`` (also for a parent below the category itself), ``Conflict`` (the slug is
    taken), ``DatabaseUnavailable``.
    """
    wanted = checked_changes(given)
    db = resources.db

    async def unit(conn: Connection) -> Written[Category]:
        current = await lock_category(db, conn, slug)
        check_if_match(if_match, current.etag)
        written = await change_category(db, conn, current, wanted)
        if written.change is not None:
            await _mark(db, conn, written.result)
        return written

    return await write(resources, unit)


def checked_changes(given: Mapping[str, object]) -> dict[str, Any]:
    """Fields to change, by name, as ``change_category`` takes them. Raises ``InvalidInput``."""
    return _checked(given, required=())


async def change_category(
    db: Database, conn: Connection, current: Category, wanted: Mapping[str, Any]
) -> Written[Category]:
    """Change a locked category in the caller's transaction; the watermark is the caller's affair.

    What changes nothing writes nothing. Raises ``InvalidInput`` (the parent), ``Conflict`` (the
    slug is taken); then nothing is written.
    """
    changed = {field: value for field, value in wanted.items() if getattr(current, field) != value}
    if not changed:
        return Written(current, None)
    now = await database_clock.now(db, conn)
    updated = replace(current, **changed, version=current.version + 1, updated_at=now)
    columns: dict[str, Any] = {k: v for k, v in changed.items() if k != "parent"}
    if "parent" in changed:
        columns["parent_id"] = await parent_for_moved(db, conn, current.id, updated.parent)
    with _unique_slug(updated.slug), db.orm("category_update"):
        await (
            tables.Category.filter(id=current.id)
            .using_db(conn)
            .update(**columns, version=updated.version, updated_at=updated.updated_at)
        )
    return Written(updated, everything_changed("category.updated"))


async def delete_category(
    resources: Resources,
    slug: str,
    *,
    if_match: str | None = None,
) -> None:
    """Delete it. Raises ``NotFound``, ``PreconditionFailed``, ``DatabaseUnavailable``.

    Raises ``Conflict`` while products or other categories belong to it: the foreign keys decide.
    """
    db = resources.db

    async def unit(conn: Connection) -> Written[Category]:
        current = await lock_category(db, conn, slug)
        check_if_match(if_match, current.etag)
        try:
            await require_unreferred(db, conn, current.id, _REFERRING)
            with db.orm("category_delete"):
                await tables.Category.filter(id=current.id).using_db(conn).delete()
        except ForeignKey:
            raise Conflict(
                f"Category {slug!r} still has products or categories below it."
            ) from None
        return Written(current, everything_changed("category.deleted"))

    await write(resources, unit)


def _checked(given: Mapping[str, object], required: tuple[str, ...]) -> dict[str, Any]:
    """The fields to set, by name. Raises ``InvalidInput``."""
    checks = FieldChecks(given, FIELDS)
    wanted: dict[str, Any] = {}
    if "slug" in given or "slug" in required:
        wanted["slug"] = checks.slug("slug")
    if "name" in given or "name" in required:
        wanted["name"] = checks.text("name", _NAME_CHARACTERS)
    if "parent" in given:
        parent = given["parent"]
        if parent is not None and not isinstance(parent, str):
            checks.fault("parent", "must be the slug of a category, or null")
        wanted["parent"] = parent
    checks.raise_if_any()
    return wanted


def _category(row: Row) -> Category:
    return Category(
        id=int(row["id"]),
        slug=row["slug"],
        name=row["name"],
        parent=row["parent"],
        version=int(row["version"]),
        created_at=from_column(row["created_at"]),
        updated_at=from_column(row["updated_at"]),
    )


async def _mark(db: Database, conn: Connection, category: Category) -> None:
    """Note when its content was set, so that older webhooks do not set it back."""
    entity = watermarks.category_entity(category.id)
    event_id = current_request_id() or entity
    await watermarks.advance(db, conn, entity, [Facet.CONTENT], category.updated_at, event_id)


async def lock_category(db: Database, conn: Connection, slug: str) -> Category:
    """The category, its row and its parent's locked. Raises ``NotFound``."""
    rows = await db.fetch(
        f"{_SELECT} WHERE c.slug = %s {db.dialect.for_update}",
        [slug],
        purpose="category_lock",
        conn=conn,
    )
    return _category(_only(rows, slug))


def _only(rows: list[Row], slug: str) -> Row:
    if not rows:
        raise NotFound(f"There is no category {slug!r}.")
    return rows[0]


@contextmanager
def _unique_slug(slug: str) -> Iterator[None]:
    try:
        yield
    except DuplicateKey:
        raise Conflict(f"There already is a category {slug!r}.") from None
