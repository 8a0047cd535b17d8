"""Rows as they are once they were checked, and what is wrong with those that are not valid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

__all__ = [
    "WHOLE_ROW",
    "Checked",
    "FarmRef",
    "FarmRow",
    "ProductRow",
    "RowFault",
    "decode_farm_rows",
    "decode_product_rows",
    "encode_rows",
]

WHOLE_ROW: Final = ""
"""The column of a fault that no single column has."""


@dataclass(frozen=True, slots=True)
class RowFault:
    """One thing wrong with one row.

    ``row``: as the client's program counts. Of a CSV file the heading is row 1, a record is one row
    however many lines it takes, and empty lines count; of NDJSON every line counts, from 1.
    ``column``: the file's own heading or member. ``reason`` begins lower-case and is for people.
    ``value``: the beginning of what stands there, if anything.
    """

    row: int
    column: str
    reason: str
    value: str | None = None


class FarmRef(NamedTuple):
    """Which farm a row means: by ``id`` of ours or by ``external_id``.

    The other members describe it, in case it is to be created.
    """

    id: int | None = None
    external_id: str | None = None
    name: str | None = None
    city: str | None = None
    state: str | None = None
    latitude: float | None = None
    longitude: float | None = None


class ProductRow(NamedTuple):
    """A product of a file. ``None`` of an optional member: the row does not say.

    ``category`` is the file's text (id, slug or name). ``attributes``: JSON with sorted keys.
    """

    row: int
    farm: FarmRef
    sku: str
    name: str
    category: str
    price_minor: int
    currency: str
    description: str | None = None
    unit: str | None = None
    stock: int | None = None
    attributes: str | None = None


class FarmRow(NamedTuple):
    """A farm of a file."""

    row: int
    external_id: str
    name: str
    city: str
    state: str
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A chunk's valid rows, of one of the two kinds, and the faults of the others, by row."""

    products: tuple[ProductRow, ...] = ()
    farms: tuple[FarmRow, ...] = ()
    faults: tuple[RowFault, ...] = ()


def encode_rows(rows: Iterable[ProductRow | FarmRow]) -> bytes:
    """As they are kept between checking and applying: a JSON array of objects."""
    refs: dict[FarmRef, dict[str, Any]] = {}
    return orjson.dumps([_members(row, refs) for row in rows])


def decode_product_rows(kept: bytes) -> list[ProductRow]:
    """The inverse of ``encode_rows`` for products."""
    refs: dict[tuple[Any, ...], FarmRef] = {}
    rows = orjson.loads(kept)
    for members in rows:
        named = members["farm"]
        key = tuple(named.values())
        ref = refs.get(key)
        if ref is None:
            ref = refs[key] = FarmRef(**named)
        members["farm"] = ref
    return [ProductRow(**members) for members in rows]


def decode_farm_rows(kept: bytes) -> list[FarmRow]:
    """The inverse of ``encode_rows`` for farms."""
    return [FarmRow(**members) for members in orjson.loads(kept)]


def _members(row: ProductRow | FarmRow, refs: dict[FarmRef, dict[str, Any]]) -> dict[str, Any]:
    members = row._asdict()
    if isinstance(row, ProductRow):
        # The rows of one farm share its reference.
        ref = refs.get(row.farm)
        if ref is None:
            ref = refs[row.farm] = row.farm._asdict()
        members["farm"] = ref
    return members
