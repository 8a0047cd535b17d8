"""Request bodies: media type, JSON, then fields; every fault named by its JSON pointer.

Types are strict: a number is not a string and a string is no number. Texts are ours, because the
validation library's would leak its own vocabulary.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sanic import Request

from api.problems import HttpProblem
from coordination.errors import FieldError, InvalidInput
from models.catalog.field_faults import fault_text
from models.catalog.field_types import (
    DEFAULT_UNIT,
    Attributes,
    CategoryRef,
    Currency,
    Description,
    ExternalId,
    Id,
    Latitude,
    Longitude,
    Name,
    Note,
    Place,
    Price,
    Sku,
    Slug,
    Stock,
    Unit,
)
from models.webhooks.choosing import MOST_EVENTS
from models.webhooks.selection import MOMENT_PATTERN, TYPE_PATTERN, parse_moment
from models.webhooks.states import State

__all__ = [
    "CategoryCreate",
    "CategoryPatch",
    "FarmCreate",
    "FarmPatch",
    "ProductCreate",
    "ProductPatch",
    "WebhookDiscard",
    "WebhookFilter",
    "WebhookReplay",
    "read_body",
]

B = TypeVar("B", bound=BaseModel)
MERGE_PATCH: Final = "application/merge-patch+json"
_JSON: Final = "application/json"
_MOST_ERRORS: Final = 20
_NESTED: Final = frozenset({"filter", "receipts"})


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
    unit: Unit = DEFAULT_UNIT
    stock: Stock = 0
    attributes: Attributes = {}


class ProductPatch(_Body):
    """A JSON merge patch; sku and farm identify the product and cannot be changed."""

    name: Name = "-"
    description: Description = ""
    category: CategoryRef = 1
    price: Price = "0"
    currency: Currency = "USD"
    unit: Unit = DEFAULT_UNIT
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


def _state(value: str) -> str:
    if value not in _STATES:
        raise ValueError(f"must be one of {', '.join(_STATES)}")
    return value


def _moment(value: str) -> str:
    parse_moment(value)
    return value


_STATES: Final = tuple(state.value for state in State)
_Receipt = Annotated[str, Field(pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
_Receipts = Annotated[list[_Receipt], Field(min_length=1, max_length=MOST_EVENTS)]
_Partner = Annotated[str, Field(max_length=64, pattern="^[a-z0-9]+(-[a-z0-9]+)*$")]
_Type = Annotated[str, Field(pattern=TYPE_PATTERN, examples=["price.updated"])]
_State = Annotated[str, Field(json_schema_extra={"enum": list(_STATES)}), AfterValidator(_state)]
_Moment = Annotated[
    str,
    Field(
        examples=["2026-02-06T10:30:00Z"],
        json_schema_extra={"format": "date-time", "pattern": MOMENT_PATTERN},
    ),
    AfterValidator(_moment),
]


class WebhookFilter(_Body):
    """Events that fulfil all of it. Without ``state``: the dead and the parked ones."""

    partner: _Partner | None = None
    type: _Type | None = None
    state: _State | None = None
    since: Annotated[_Moment | None, Field(description="Received then or later.")] = None
    until: Annotated[_Moment | None, Field(description="Received before then.")] = None


class WebhookDiscard(_Body):
    """Which events: ``receipts`` or ``filter``, never both. ``note`` goes into their history."""

    receipts: _Receipts | None = None
    filter: WebhookFilter | None = None
    note: Note | None = None


class WebhookReplay(WebhookDiscard):
    """As for discarding; ``dry_run`` shows what would come of it and changes nothing."""

    dry_run: bool = False


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


def _field_errors(error: ValidationError, document: object) -> list[FieldError]:
    found: dict[str, FieldError] = {}
    for item in error.errors(include_url=False, include_input=False):
        parts = [
            str(part) for index, part in enumerate(item["loc"]) if _is_member(index, item["loc"])
        ]
        pointer = "".join("/" + p.replace("~", "~0").replace("/", "~1") for p in parts)[:200]
        text = fault_text(item)
        # A field that may be one of two types reports once per type; the first is enough.
        if isinstance(document, dict) and pointer == "/category" and item["type"] != "missing":
            text = "must be the slug or the id of a category"
        found.setdefault(pointer, FieldError("pointer", pointer, text))
        if len(found) == _MOST_ERRORS:
            # A body of nothing but unknown members must not come back many times its size.
            break
    return list(found.values())


def _is_member(index: int, location: tuple[int | str, ...]) -> bool:
    # Beyond the field's name pydantic appends the branch of a union, which is no part of the body.
    return index == 0 or (index == 1 and location[0] in _NESTED)
