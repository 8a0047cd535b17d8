"""The fields of request bodies and webhook payloads: what each takes, for pydantic to check and for
clients and partners to read."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import orjson
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.config import JsonDict

from models.catalog.money import CURRENCIES

__all__ = [
    "DEFAULT_UNIT",
    "Attributes",
    "CategoryRef",
    "Currency",
    "Description",
    "ExternalId",
    "Id",
    "Latitude",
    "Longitude",
    "Name",
    "Note",
    "Place",
    "Price",
    "Sku",
    "Slug",
    "Stock",
    "Unit",
]

DEFAULT_UNIT: Final = "each"
"""What a new product is sold by when nothing is said."""
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_DEEPEST: Final = 16
_LINE_BREAK: Final = re.compile(r"[\t\n\r]")


def _paragraph(value: str) -> str:
    if _FORBIDDEN.search(value):
        raise ValueError("must not contain control characters")
    return value


def _line(value: str) -> str:
    if _FORBIDDEN.search(value) or _LINE_BREAK.search(value):
        raise ValueError("must not contain control characters")
    if value != value.strip() or not value:
        raise ValueError("must not be empty, nor begin or end with spaces")
    return value


def _attributes(value: dict[str, Any]) -> dict[str, Any]:
    if not _is_nested_within(value, _DEEPEST):
        raise ValueError(f"must be nested at most {_DEEPEST} levels deep")
    if len(orjson.dumps(value)) > 16_384:
        raise ValueError("must stay below 16384 bytes")
    return value


def _whole(value: object) -> object:
    # JSON has one kind of number: 5.0 is an integer, as JSON Schema says too.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_nested_within(value: object, levels: int) -> bool:
    # MariaDB refuses JSON beyond 32 levels, and orjson writes no more than 254.
    if not isinstance(value, dict | list):
        return True
    members = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_nested_within(member, levels - 1) for member in members)


# The patterns tell clients what the validators check; the validators decide, with texts of ours.
_Line = AfterValidator(_line)
_Whole = BeforeValidator(_whole)
_PRINTABLE: Final = r"[^\s\u0000-\u001f\u007f-\u009f]"
_LINE_SCHEMA: Final[JsonDict] = {
    "pattern": rf"^{_PRINTABLE}([^\u0000-\u001f\u007f-\u009f]*{_PRINTABLE})?$"
}
_PARAGRAPH_SCHEMA: Final[JsonDict] = {
    "pattern": r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
}
# A slug that is all digits would be taken for an id.
_SLUG_SCHEMA: Final[JsonDict] = {
    "pattern": "^([0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*|[0-9]+(-[a-z0-9]+)+)$"
}
_CURRENCY_SCHEMA: Final[JsonDict] = {"enum": list(CURRENCIES)}

Sku = Annotated[
    str,
    Field(min_length=1, max_length=64, examples=["EGGS-12"], json_schema_extra=_LINE_SCHEMA),
    _Line,
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=200, examples=["Duck eggs"], json_schema_extra=_LINE_SCHEMA),
    _Line,
]
Note = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=_LINE_SCHEMA), _Line]
Place = Annotated[str, Field(min_length=1, max_length=120, json_schema_extra=_LINE_SCHEMA), _Line]
Slug = Annotated[
    str,
    Field(
        min_length=1,
        max_length=80,
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        examples=["eggs"],
        json_schema_extra=_SLUG_SCHEMA,
    ),
]
Id = Annotated[int, Field(ge=1, le=2**53 - 1), _Whole]
Description = Annotated[
    str, Field(max_length=5_000, json_schema_extra=_PARAGRAPH_SCHEMA), AfterValidator(_paragraph)
]
CategoryRef = Annotated[Id | Slug, Field(description="The category's slug or id.")]
Price = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,13}(\.[0-9]{1,6})?$",
        examples=["4.50"],
        description="A decimal string; no more decimals than the currency has.",
    ),
]
Currency = Annotated[
    str,
    Field(
        pattern=r"^[A-Z]{3}$",
        examples=["USD"],
        description="ISO 4217.",
        json_schema_extra=_CURRENCY_SCHEMA,
    ),
]
Unit = Annotated[str, Field(min_length=1, max_length=64, json_schema_extra=_LINE_SCHEMA), _Line]
Stock = Annotated[int, Field(ge=0, le=2**31 - 1), _Whole]
Attributes = Annotated[
    dict[str, Any],
    Field(description=f"Any JSON object up to 16384 bytes, nested at most {_DEEPEST} levels deep."),
    AfterValidator(_attributes),
]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
ExternalId = Annotated[
    str, Field(min_length=1, max_length=64, json_schema_extra=_LINE_SCHEMA), _Line
]
