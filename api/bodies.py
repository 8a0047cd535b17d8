"""Request bodies: media type, JSON, then fields; every fault named by its JSON pointer.

Types are strict: a number is not a string and a string is no number. Texts are ours, because the
validation library's would leak its own vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from sanic import Request

from api.problems import HttpProblem
from coordination.errors import FieldError, InvalidInput
from models.catalog.field_types import (
    Attributes,
    CategoryRef,
    Currency,
    Description,
    ExternalId,
    Id,
    Latitude,
    Longitude,
    Name,
    Place,
    Price,
    Sku,
    Slug,
    Stock,
    Unit,
)

__all__ = [
    "CategoryCreate",
    "CategoryPatch",
    "FarmCreate",
    "FarmPatch",
    "ProductCreate",
    "ProductPatch",
    "read_body",
]

B = TypeVar("B", bound=BaseModel)
MERGE_PATCH: Final = "application/merge-patch+json"
_JSON: Final = "application/json"
_MOST_ERRORS: Final = 20


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ProductCreate(_Body):
    """A product to offer."""

    sku: Sku
    name: Name
    description: Description = ""
    category: CategoryRef
    farm: Id
    price: Price
    currency: Currency | None = None
    unit: Unit = "each"
    stock: Stock = 0
    attributes: Attributes = {}


class ProductPatch(_Body):
    """A JSON merge patch; sku and farm identify the product and cannot be changed."""

    name: Name = "-"
    description: Description = ""
    category: CategoryRef = 1
    price: Price = "0"
    currency: Currency = "USD"
    unit: Unit = "each"
    stock: Stock = 0
    attributes: Attributes = {}


class CategoryCreate(_Body):
    """A category; ``parent`` is the slug of the one above it."""

    slug: Slug
    name: Name
    parent: Slug | None = None


class CategoryPatch(_Body):
    """A JSON merge patch; ``parent`` null moves it to the top."""

    slug: Slug = "-"
    name: Name = "-"
    parent: Slug | None = None


class FarmCreate(_Body):
    """A farm or market; latitude and longitude come together or not at all."""

    name: Name
    city: Place
    state: Place
    external_id: ExternalId | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None


class FarmPatch(_Body):
    """A JSON merge patch."""

    name: Name = "-"
    city: Place = "-"
    state: Place = "-"
    external_id: ExternalId | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None


def read_body(request: Request, model: type[B], *, patch: bool = False) -> B:
    """The validated body. Raises 415, 400 (not JSON) or ``InvalidInput`` naming each pointer.

    For a patch, ``model_fields_set`` tells which fields were given.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    allowed = (MERGE_PATCH, _JSON) if patch else (_JSON,)
    if media_type not in allowed:
        accepts = {"accept-patch" if patch else "accept": ", ".join(allowed)}
        raise HttpProblem(
            415, "unsupported-media-type", f"The body must be {' or '.join(allowed)}.", accepts
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpProblem(415, "unsupported-media-type", "The body must not be encoded.")
    try:
        document = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise HttpProblem(400, "malformed-json", "The body is not well-formed JSON.") from None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(_field_errors(error, document)) from None


_TEXTS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is not a field that can be set",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "finite_number": "must be a finite number",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the required form",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "value_error": "{error}",
}


def _field_errors(error: ValidationError, document: object) -> list[FieldError]:
    found: dict[str, FieldError] = {}
    for item in error.errors(include_url=False, include_input=False):
        parts = [str(part) for part in item["loc"] if _is_member(part, item["loc"])]
        pointer = "".join("/" + p.replace("~", "~0").replace("/", "~1") for p in parts)[:200]
        text = _TEXTS.get(item["type"], "is not valid").format(**item.get("ctx", {}))
        # A field that may be one of two types reports once per type; the first is enough.
        if isinstance(document, dict) and pointer == "/category" and item["type"] != "missing":
            text = "must be the slug or the id of a category"
        found.setdefault(pointer, FieldError("pointer", pointer, text))
        if len(found) == _MOST_ERRORS:
            # A body of nothing but unknown members must not come back many times its size.
            break
    return list(found.values())


def _is_member(part: object, location: tuple[int | str, ...]) -> bool:
    # Beyond the field's name pydantic appends the branch of a union, which is no part of the body.
    return part is location[0]
