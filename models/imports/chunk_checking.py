"""Checks one chunk: its rows against their fields' rules, then against what we have.

What is valid is kept in the chunk in place of its text, with a key for each row, by which
``judging`` finds repeated ones, and with the categories and farms that are to be created.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import orjson

from models.database import retrying
from models.imports import faults
from models.imports.checking import check_chunk
from models.imports.claims import Chunk, count_chunk, keep_checked
from models.imports.imports import Import
from models.imports.layout import Layout
from models.imports.options import ImportOptions, Missing
from models.imports.resolving import Resolved, is_new_slug, resolve, slug_of
from models.imports.row_values import FarmRef, FarmRow, ProductRow, RowFault, encode_rows
from models.resources import Resources

__all__ = ["check", "keys_of"]

_KEY: Final = struct.Struct(">Q16s")


@dataclass(slots=True)
class _Found:
    """What a chunk comes to."""

    rows: list[ProductRow | FarmRow] = field(default_factory=list)
    keys: bytearray = field(default_factory=bytearray)
    faults: list[RowFault] = field(default_factory=list)
    missing_categories: dict[str, int] = field(default_factory=dict)
    """The first row that names each."""
    missing_farms: dict[str, tuple[int, FarmRef]] = field(default_factory=dict)

    @property
    def missing(self) -> str | None:
        """As it is kept with the chunk."""
        if not self.missing_categories and not self.missing_farms:
            return None
        farms = [{**farm._asdict(), "row": row} for row, farm in self.missing_farms.values()]
        return orjson.dumps({"categories": self.missing_categories, "farms": farms}).decode()


def keys_of(kept: bytes) -> Iterator[tuple[int, bytes]]:
    """Row numbers and keys, in the file's order. Equal keys mean the same (farm, sku)."""
    return _KEY.iter_unpack(kept)


async def check(resources: Resources, chunk: Chunk, found: Import, layout: Layout) -> None:
    """Do it, and commit what came of it.

    Raises ``LeaseLost``, ``DatabaseUnavailable``; then nothing is kept.
    """
    db = resources.db
    checked = check_chunk(found.options, layout, chunk.first_row, chunk.payload)
    came_to = _Found(faults=list(checked.faults))
    if checked.products:
        products = checked.products
        names = resolve(db, None, (r.category for r in products), (r.farm for r in products))
        resolved = await names
        for row in products:
            _take_product(came_to, row, resolved, found.options, layout)
    for farm in checked.farms:
        _keep_row(came_to, farm, f"x{farm.external_id}")
    # Off the loop: zlib lets other threads run while it packs.
    payload = await asyncio.to_thread(zlib.compress, encode_rows(came_to.rows), 1)

    async def unit() -> None:
        async with db.transaction(read_committed=True) as conn:
            kept = bytes(came_to.keys), came_to.missing
            await keep_checked(db, conn, chunk, payload, *kept)
            await faults.keep(db, conn, found.id, came_to.faults, kept=found.faults)
            counts = {
                "rows_checked": chunk.row_count,
                "rows_invalid": chunk.row_count - len(came_to.rows),
                "faults": len(came_to.faults),
            }
            await count_chunk(db, conn, chunk, counts)

    await retrying(unit)


def _keep_row(came_to: _Found, row: ProductRow | FarmRow, key: str) -> None:
    came_to.rows.append(row)
    came_to.keys += _KEY.pack(row.row, blake2b(key.encode(), digest_size=16).digest())


def _take_product(
    came_to: _Found, row: ProductRow, resolved: Resolved, options: ImportOptions, layout: Layout
) -> None:
    """Keep the row, or say what it lacks. A farm by its external id and by ours is one farm."""
    wrong: list[RowFault] = []

    def fault(field: str, reason: str, value: object) -> None:
        wrong.append(faults.of_row(layout, row.row, field, reason, value))

    farm_id = resolved.farm_id(row.farm)
    makes_category = row.category not in resolved.categories
    if makes_category:
        _judge_category(row, resolved, options, fault)
    if farm_id is None:
        _judge_farm(row.farm, options, fault)
    if wrong:
        came_to.faults += wrong
        return
    if makes_category:
        came_to.missing_categories.setdefault(row.category, row.row)
    if farm_id is None and row.farm.external_id is not None:
        came_to.missing_farms.setdefault(row.farm.external_id, (row.row, row.farm))
    of_farm = f"x{row.farm.external_id}" if farm_id is None else str(farm_id)
    _keep_row(came_to, row, f"{of_farm}\n{row.sku}")


def _judge_category(
    row: ProductRow,
    resolved: Resolved,
    options: ImportOptions,
    fault: Callable[[str, str, Any], None],
) -> None:
    if row.category in resolved.ambiguous:
        fault("category", "is the name of several categories; give a slug or an id", row.category)
    elif options.missing_categories is Missing.REFUSE:
        fault("category", "there is no such category", row.category)
    elif row.category.isdigit() or not is_new_slug(slug_of(row.category)):
        fault("category", "there is no such category, and none can be made of it", row.category)


def _judge_farm(
    farm: FarmRef, options: ImportOptions, fault: Callable[[str, str, Any], None]
) -> None:
    field = "farm" if farm.id is not None else "farm_external_id"
    named = farm.id if farm.id is not None else farm.external_id
    if options.missing_farms is Missing.REFUSE or farm.id is not None:
        fault(field, "there is no such farm", named)
    elif not (farm.name and farm.city and farm.state):
        needed = "there is no such farm; to make it the row needs its name, city and state"
        fault(field, needed, named)
