"""The shipped USDA foods and farmers markets, read into plain values.

It owns the file format and the cleaning of names; it knows nothing of products or prices.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Final, NamedTuple

_PARENTHESIS: Final = re.compile(r"\s*\([^)]*\)?")
_SPACES: Final = re.compile(r"\s+")
MAX_UNIT_LENGTH: Final = 32


class Food(NamedTuple):
    """One food of the nutrient database; absent texts are empty, an absent weight is ``None``."""

    ndb_no: str
    name: str
    food_group: str
    common_name: str
    manufacturer: str
    portion_amount: str
    unit: str
    portion_grams: float | None


class Market(NamedTuple):
    """One market of the directory. ``sells`` holds its flags as the directory spells them."""

    fmid: str
    name: str
    city: str
    county: str
    state: str
    latitude: float
    longitude: float
    sells: tuple[str, ...]


def read_foods() -> tuple[Food, ...]:
    """All 8,789 foods, in the file's order."""
    return tuple(
        Food(
            ndb_no=row["ndb_no"],
            name=_clean(row["name"]),
            food_group=row["food_group"],
            common_name=_clean(row["common_name"]),
            manufacturer=_clean(row["manufacturer"]),
            portion_amount=row["portion_amount"],
            unit=selling_unit(row["portion_unit"]),
            portion_grams=float(row["portion_grams"]) if row["portion_grams"] else None,
        )
        for row in _rows("usda_foods.csv.gz")
    )


def read_markets() -> tuple[Market, ...]:
    """All 1,543 markets, in the file's order."""
    return tuple(
        Market(
            fmid=row["fmid"],
            name=_clean(row["name"]),
            city=_clean(row["city"]),
            county=_clean(row["county"]),
            state=row["state"],
            latitude=float(row["latitude"]),
            longitude=float(row["longitude"]),
            sells=tuple(flag for flag in row["sells"].split(";") if flag),
        )
        for row in _rows("usda_farmers_markets.csv.gz")
    )


def selling_unit(portion_unit: str) -> str:
    """What one buys one of: the portion's unit without its remarks, else ``each``.

    At most ``MAX_UNIT_LENGTH`` characters; a longer text is a sentence, and its first word names
    the unit ("serving varied from 2-3 tacos per serving").
    """
    unit = _clean(_PARENTHESIS.sub("", portion_unit)).strip(" ,")
    if len(unit) > MAX_UNIT_LENGTH:
        unit = unit.split()[0].rstrip(",")
    return unit or "each"


def _clean(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _rows(file_name: str) -> Iterator[dict[str, str]]:
    packed = (files("ops") / "data" / file_name).read_bytes()
    with io.StringIO(gzip.decompress(packed).decode("utf-8"), newline="") as text:
        yield from csv.DictReader(text)
