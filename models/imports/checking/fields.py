"""How each field is read, from a cell's text and from a JSON value.

The bounds are those of ``catalog.field_types``, checked by the same code; what is plainly within
them takes a shorter way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from models.catalog.field_faults import fault_text
from models.catalog.field_types import (
    Description,
    ExternalId,
    Id,
    Latitude,
    Longitude,
    Name,
    Place,
    Sku,
    Stock,
    Unit,
)
from models.imports.checking.numbers import read_degrees, read_whole
from models.imports.checking.prices import read_currency
from models.imports.checking.said import Refused
from models.imports.options import ATTRIBUTE_PREFIX, DecimalMark

__all__ = ["Field", "field_of", "validated"]

_STRICT: Final = ConfigDict(strict=True)
_LARGEST_ID: Final = 2**53 - 1
_LARGEST_STOCK: Final = 2**31 - 1
_NOT_AN_ID: Final = "must be our id of the farm, in digits alone"
_NOT_A_COUNT: Final = "must be a whole number in digits alone, without decimals or separators"
_NOT_A_CATEGORY: Final = "must be the id, slug or name of a category"
_INEXACT: Final = 'is not exact as a JSON number with decimals; write it as a string, like "4.50"'


@dataclass(frozen=True, slots=True)
class Field:
    """``of_text``: from text that is neither empty nor surrounded by white space. ``of_json``: from
    a JSON value that is not null. Both raise ``Refused``. ``plain_most``: text that is shown to
    people as it stands; so many characters, all printable, are as good as read. ``repeats``: many
    rows of a file are likely to say the same.
    """

    of_text: Callable[[str], Any]
    of_json: Callable[[object], Any]
    plain_most: int | None = None
    repeats: bool = False


def field_of(name: str, mark: DecimalMark) -> Field:
    """How a field that ``options.is_field`` knows is read."""
    return _ATTRIBUTE if name.startswith(ATTRIBUTE_PREFIX) else _fields(mark)[name]


def validated(adapter: TypeAdapter[Any], value: object) -> Any:
    """The value, if this type takes it. Raises ``Refused`` with the API's text."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        item = error.errors(include_url=False, include_input=False)[0]
        raise Refused(fault_text(item)) from None


def _line(adapter: TypeAdapter[Any], most: int) -> Callable[[object], str]:
    def read(value: object) -> str:
        # Of white space, only the space is printable; control characters are not.
        if (
            type(value) is str
            and 0 < len(value) <= most
            and value.isprintable()
            and value[0] != " "
            and value[-1] != " "
        ):
            return value
        line: str = validated(adapter, value)
        return line

    return read


def _text(adapter: TypeAdapter[Any], most: int, *, repeats: bool = True) -> Field:
    line = _line(adapter, most)
    return Field(line, line, most, repeats)


def _degrees(adapter: TypeAdapter[Any], mark: DecimalMark) -> Field:
    of_json = partial(validated, adapter)
    return Field(lambda text: of_json(read_degrees(text, mark)), of_json, repeats=True)


def _category_of_json(value: object) -> str:
    if isinstance(value, str):
        return _CATEGORY_LINE(value)
    try:
        return str(validated(_ID, value))
    except Refused:
        raise Refused(_NOT_A_CATEGORY) from None


def _currency_of_json(value: object) -> str:
    if not isinstance(value, str):
        raise Refused("must be a string")
    return read_currency(value)


def _price_of_json(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        raise Refused(_INEXACT)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused('must be a string, like "4.50", or an integer')
    return str(value)


def _attributes_of_text(text: str) -> object:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise Refused("must be a JSON object; one attribute's column is named attributes.<name>")
    return value


def _attributes_of_json(value: object) -> object:
    if not isinstance(value, dict):
        raise Refused("must be an object")
    return value


def _as_is(value: Any) -> Any:
    return value


_ID: Final = TypeAdapter(Id, config=_STRICT)
_CATEGORY_LINE: Final = _line(TypeAdapter(Name, config=_STRICT), 200)
_DESCRIPTION: Final = partial(validated, TypeAdapter(Description, config=_STRICT))
_ATTRIBUTE: Final = Field(_as_is, _as_is, 200, repeats=True)
_PLAIN: Final[Mapping[str, Field]] = {
    "farm": Field(
        lambda text: read_whole(text, 1, _LARGEST_ID, _NOT_AN_ID),
        partial(validated, _ID),
        repeats=True,
    ),
    "farm_external_id": _text(TypeAdapter(ExternalId, config=_STRICT), 64),
    "farm_name": _text(TypeAdapter(Name, config=_STRICT), 200),
    "farm_city": _text(TypeAdapter(Place, config=_STRICT), 120),
    "farm_state": _text(TypeAdapter(Place, config=_STRICT), 120),
    "external_id": _text(TypeAdapter(ExternalId, config=_STRICT), 64, repeats=False),
    "city": _text(TypeAdapter(Place, config=_STRICT), 120),
    "state": _text(TypeAdapter(Place, config=_STRICT), 120),
    "sku": _text(TypeAdapter(Sku, config=_STRICT), 64, repeats=False),
    "name": _text(TypeAdapter(Name, config=_STRICT), 200, repeats=False),
    "description": Field(_DESCRIPTION, _DESCRIPTION, 5_000),
    "category": Field(_CATEGORY_LINE, _category_of_json, 200, repeats=True),
    "price": Field(_as_is, _price_of_json),
    "currency": Field(read_currency, _currency_of_json, repeats=True),
    "unit": _text(TypeAdapter(Unit, config=_STRICT), 64),
    "stock": Field(
        lambda text: read_whole(text, 0, _LARGEST_STOCK, _NOT_A_COUNT),
        partial(validated, TypeAdapter(Stock, config=_STRICT)),
        repeats=True,
    ),
    "attributes": Field(_attributes_of_text, _attributes_of_json),
}


@cache
def _fields(mark: DecimalMark) -> Mapping[str, Field]:
    latitude = _degrees(TypeAdapter(Latitude, config=_STRICT), mark)
    longitude = _degrees(TypeAdapter(Longitude, config=_STRICT), mark)
    return {
        **_PLAIN,
        **dict.fromkeys(("latitude", "farm_latitude"), latitude),
        **dict.fromkeys(("longitude", "farm_longitude"), longitude),
    }
