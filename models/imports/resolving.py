"""Which of our categories and farms a file's rows mean; a few statements for a whole chunk.

A category is named by its id, its slug or its name; whichever fits is taken, and a name that fits
several categories fits none. It changes nothing and decides nothing about what is missing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from models.database import Connection, Database
from models.imports.row_values import FarmRef
from models.placeholders import placeholders

__all__ = ["Resolved", "find_ids", "is_new_slug", "resolve", "slug_of"]

_NOT_IN_SLUGS: Final = re.compile(r"[^a-z0-9]+")
# As ids are written: other scripts' digits and leading zeros make a name.
_ID: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_SLUG_CHARACTERS: Final = 80
_LARGEST_ID: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Resolved:
    """What there is. ``ambiguous``: texts that are the name of several categories."""

    categories: dict[str, int]
    ambiguous: frozenset[str]
    farm_ids: frozenset[int]
    farms_by_external_id: dict[str, int]

    def farm_id(self, farm: FarmRef) -> int | None:
        """Our id of the farm, if we have it."""
        if farm.id is not None:
            return farm.id if farm.id in self.farm_ids else None
        return self.farms_by_external_id.get(farm.external_id or "")


def slug_of(name: str) -> str:
    """A name's address part: lower-case words of ASCII letters and digits joined by hyphens."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return _NOT_IN_SLUGS.sub("-", plain).strip("-")[:_SLUG_CHARACTERS].rstrip("-")


def is_new_slug(slug: str) -> bool:
    """Whether a category can be made under it: all digits would be taken for an id."""
    return bool(slug) and not slug.isdigit()


async def resolve(
    db: Database,
    conn: Connection | None,
    categories: Iterable[str],
    farms: Iterable[FarmRef],
) -> Resolved:
    """Look all of them up. Raises ``DatabaseUnavailable``."""
    texts, refs = set(categories), set(farms)
    found, ambiguous = await _categories(db, conn, texts)
    external_ids = {ref.external_id for ref in refs if ref.external_id is not None}
    return Resolved(
        found,
        frozenset(ambiguous),
        frozenset(await _farm_ids(db, conn, {ref.id for ref in refs if ref.id is not None})),
        await find_ids(db, conn, "farms", "external_id", external_ids),
    )


async def _categories(
    db: Database, conn: Connection | None, texts: Collection[str]
) -> tuple[dict[str, int], set[str]]:
    ids = {text for text in texts if _ID.fullmatch(text) and int(text) <= _LARGEST_ID}
    words = sorted(set(texts) - ids)
    rows = []
    if words:
        # The column is ASCII, and MariaDB refuses to compare it with anything else.
        slugs = sorted({*filter(str.isascii, words), *filter(None, map(slug_of, words)), ""})
        rows += await db.fetch(
            "SELECT id, slug, name FROM categories"
            f" WHERE slug IN ({placeholders(slugs)}) OR name IN ({placeholders(words)})",
            [*slugs, *words],
            purpose="import_categories",
            conn=conn,
        )
    if ids:
        rows += await db.fetch(
            f"SELECT id, slug, name FROM categories WHERE id IN ({placeholders(ids)})",
            sorted(map(int, ids)),
            purpose="import_categories",
            conn=conn,
        )
    by_id = {str(row["id"]): int(row["id"]) for row in rows}
    by_slug = {str(row["slug"]): int(row["id"]) for row in rows}
    by_name: dict[str, set[int]] = {}
    for row in rows:
        by_name.setdefault(str(row["name"]).casefold(), set()).add(int(row["id"]))
    found: dict[str, int] = {}
    ambiguous: set[str] = set()
    for text in texts:
        named = by_name.get(text.casefold(), set())
        if text in ids:
            category_id = by_id.get(text)
        elif text in by_slug:
            category_id = by_slug[text]
        elif named:
            category_id = min(named) if len(named) == 1 else None
            ambiguous |= {text} if len(named) > 1 else set()
        else:
            category_id = by_slug.get(slug_of(text))
        if category_id is not None:
            found[text] = category_id
    return found, ambiguous


async def _farm_ids(db: Database, conn: Connection | None, ids: Collection[int]) -> list[int]:
    if not ids:
        return []
    rows = await db.fetch(
        f"SELECT id FROM farms WHERE id IN ({placeholders(ids)})",
        sorted(ids),
        purpose="import_farms",
        conn=conn,
    )
    return [int(row["id"]) for row in rows]


async def find_ids(
    db: Database, conn: Connection | None, table: str, column: str, names: Collection[str]
) -> dict[str, int]:
    """Our ids of the rows that have these names in ``column``; it and ``table`` are SQL of ours."""
    if not names:
        return {}
    rows = await db.fetch(
        f"SELECT id, {column} AS named FROM {table} WHERE {column} IN ({placeholders(names)})",
        sorted(names),
        purpose=f"import_{table}",
        conn=conn,
    )
    return {str(row["named"]): int(row["id"]) for row in rows}
