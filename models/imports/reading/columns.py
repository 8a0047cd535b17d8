"""Which column or member fills which field: by the client's mapping, else by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from models.imports.options import (
    ATTRIBUTE_PREFIX,
    REQUIRED_FARM_FIELDS,
    REQUIRED_PRODUCT_FIELDS,
    ImportOptions,
    Subject,
)
from models.imports.printable import printable

__all__ = ["Match", "listed", "match_headings", "match_members", "quoted"]

_SYNONYMS: Final[Mapping[Subject, Mapping[str, str]]] = {
    Subject.PRODUCTS: {
        "title": "name",
        "product": "name",
        "product_name": "name",
        "item": "sku",
        "item_number": "sku",
        "article": "sku",
        "article_number": "sku",
        "qty": "stock",
        "quantity": "stock",
        "farm_id": "farm",
        "farmid": "farm",
    },
    Subject.FARMS: {
        "farm_name": "name",
        "lat": "latitude",
        "lng": "longitude",
        "lon": "longitude",
    },
}
"""Headings, as ``_canonical`` has them, that fill a field of another name."""
_FARM: Final = "farm"
_FARM_EXTERNAL_ID: Final = "farm_external_id"
_ATTRIBUTES: Final = "attributes"
_GAPS: Final = re.compile(r"[\s-]+")
_SHOWN_NAMES: Final = 30
_SHOWN_CHARACTERS: Final = 60
_MOST_COLUMNS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Match:
    """What a heading comes to. ``columns``: for each of ``headings`` the field it fills, if any.

    ``problems``: why it cannot be used, whatever else there is. ``missing``: required fields that
    neither a column nor a default fills.
    """

    headings: tuple[str, ...]
    columns: tuple[str | None, ...]
    problems: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def fills(self) -> int:
        """How many fields it fills."""
        return len(self.columns) - self.columns.count(None)

    @property
    def is_usable(self) -> bool:
        """Whether records can be read by it."""
        return not self.problems and not self.missing


def match_headings(headings: Sequence[str], options: ImportOptions) -> Match:
    """Find the fields of a CSV file's columns."""
    columns: list[str | None] = [None] * len(headings)
    if len(headings) > _MOST_COLUMNS:
        problem = f"has more than {_MOST_COLUMNS} columns; leave out those that fill no field"
        return Match(tuple(headings), tuple(columns), (problem,), ())
    problems = _map_columns(columns, headings, options)
    by_name: dict[str, list[int]] = {}
    for position, heading in enumerate(headings):
        field = _field_called(heading, options)
        if field is not None and columns[position] is None and field not in options.mapping:
            by_name.setdefault(field, []).append(position)
    for field, positions in by_name.items():
        columns[positions[0]] = field
        if len(positions) > 1:
            names = listed([headings[position] for position in positions])
            problems.append(
                f"is ambiguous: the columns {names} would all fill {field}; rename all but one,"
                " or choose one by mapping"
            )
    filled = {field for field in columns if field is not None}
    missing, farm_problems = _check_required(
        filled.union(options.defaults, options.mapping), options.subject
    )
    return Match(tuple(headings), tuple(columns), (*problems, *farm_problems), missing)


def match_members(options: ImportOptions) -> tuple[dict[str, str], list[str]]:
    """The member of NDJSON's objects for each field, and why the mapping cannot be used."""
    mapping = options.mapping
    fields: dict[str, list[str]] = {}
    for field, member in mapping.items():
        fields.setdefault(member, []).append(field)
    own = {f: f for f in options.fields if f not in mapping and f not in fields}
    problems = [
        f"mapping has the member {quoted(member)} fill {' and '.join(found)}; it can fill only one"
        for member, found in fields.items()
        if len(found) > 1
    ]
    return {**own, **mapping}, problems


def quoted(name: str) -> str:
    """A heading as a text shows it."""
    shown = printable(name[:_SHOWN_CHARACTERS])
    return f'"{shown}…"' if len(name) > _SHOWN_CHARACTERS else f'"{shown}"'


def listed(names: Sequence[str]) -> str:
    """Headings as a text lists them, the first ones of many."""
    shown = [quoted(name) for name in names[:_SHOWN_NAMES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _map_columns(
    columns: list[str | None], headings: Sequence[str], options: ImportOptions
) -> list[str]:
    """Fill in what the mapping says, and tell what is wrong with it."""
    problems: list[str] = []
    written = _positions(map(str.strip, headings)) if options.mapping else {}
    compared = _positions(map(_canonical, headings)) if options.mapping else {}
    for field, wanted in options.mapping.items():
        # As it is written, else as it is compared.
        found = written.get(wanted.strip()) or compared.get(_canonical(wanted), [])
        name = quoted(wanted)
        if field == _ATTRIBUTES:
            problems.append(
                f"mapping cannot have the column {name} fill {field}, only one member of it,"
                f" such as {ATTRIBUTE_PREFIX}origin"
            )
        elif not found:
            problems.append(
                f"there is no column {name}, which mapping names for {field};"
                f" the columns found are {listed(headings)}"
            )
        elif len(found) > 1:
            problems.append(
                f"is ambiguous: the column {name}, which mapping names for {field},"
                f" occurs {len(found)} times"
            )
        elif columns[found[0]] is not None:
            problems.append(
                f"mapping has the column {name} fill {columns[found[0]]} and {field};"
                " it can fill only one"
            )
        else:
            columns[found[0]] = field
    return problems


def _positions(names: Iterable[str]) -> dict[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        positions.setdefault(name, []).append(position)
    return positions


def _field_called(heading: str, options: ImportOptions) -> str | None:
    """The field whose own name this is. Members of attributes keep their spelling."""
    name = _canonical(heading)
    if options.subject is Subject.PRODUCTS and name.startswith(ATTRIBUTE_PREFIX):
        member = heading.strip()[len(ATTRIBUTE_PREFIX) :].strip()
        return ATTRIBUTE_PREFIX + member if member else None
    field = _SYNONYMS[options.subject].get(name, name)
    return field if field in options.fields and field != _ATTRIBUTES else None


def _canonical(heading: str) -> str:
    return _GAPS.sub("_", heading.strip().casefold())


def _check_required(given: set[str], subject: Subject) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The required fields that are missing, and what contradicts itself."""
    if subject is Subject.FARMS:
        return tuple(field for field in REQUIRED_FARM_FIELDS if field not in given), ()
    missing = [field for field in REQUIRED_PRODUCT_FIELDS if field not in given]
    ways = given & {_FARM, _FARM_EXTERNAL_ID}
    if not ways:
        missing.insert(0, f"{_FARM} (or {_FARM_EXTERNAL_ID})")
    if len(ways) > 1:
        both = (
            f"says twice which farm is meant, by {_FARM} and by {_FARM_EXTERNAL_ID}, each a column"
            " or a default; keep one of them"
        )
        return tuple(missing), (both,)
    return tuple(missing), ()
