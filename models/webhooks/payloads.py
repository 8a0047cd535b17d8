"""What partners may say, type by type, and how a stored body is read.

A body is a JSON object with ``type``, ``occurred_at`` (RFC 3339 with an offset; ``timestamp`` is
accepted as its other name) and ``data``, one of these models. Members that a model does not know
are ignored, so that partners may send more than we take. Reading decides what can never work; it
looks nothing up. Its texts are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    Place,
    Price,
    Sku,
    Slug,
    Stock,
    Unit,
)
from models.catalog.money import is_currency, parse_price
from models.webhooks.selection import parse_moment

__all__ = [
    "PAYLOADS",
    "CategoryUpdated",
    "FarmUpdated",
    "InventoryUpdated",
    "Message",
    "Payload",
    "PriceUpdated",
    "ProductDeleted",
    "ProductNews",
    "ProductUpserted",
    "Unusable",
    "read_body",
]

_MOST_FAULTS: Final = 5

FarmRef = Annotated[
    Id | ExternalId,
    Field(description="Our id of the farm, or the external id it was registered with."),
]
# Strict like the rest would take no text.
_ProductId = Annotated[
    UUID,
    Field(strict=False, description="Our id of the product; may be left out, else it must fit."),
]


class Payload(BaseModel):
    """The ``data`` of an event."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class ProductNews(Payload):
    """Names a product."""

    farm: FarmRef
    sku: Sku
    id: _ProductId | None = None


class ProductUpserted(ProductNews):
    """The product is exactly this; it is created if it was not there.

    A complete representation: optional members that are left out take their defaults.
    """

    name: Name
    category: CategoryRef
    price: Price
    stock: Stock
    currency: Annotated[Currency | None, Field(description="By default the market's.")] = None
    description: Description = ""
    unit: Unit = DEFAULT_UNIT
    attributes: Attributes = {}


class ProductDeleted(ProductNews):
    """The product is gone."""


class InventoryUpdated(ProductNews):
    """The product's stock is this: absolute, never a difference."""

    stock: Stock


class PriceUpdated(ProductNews):
    """The product's price is this."""

    price: Price
    currency: Annotated[Currency | None, Field(description="By default the market's.")] = None


class CategoryUpdated(Payload):
    """What is given of the category changes; ``parent`` null moves it to the top."""

    slug: Slug
    name: Name = "-"
    parent: Slug | None = None
    new_slug: Slug = "-"


class FarmUpdated(Payload):
    """What is given of the farm changes; latitude and longitude come and go together."""

    farm: FarmRef
    name: Name = "-"
    city: Place = "-"
    state: Place = "-"
    latitude: Latitude | None = None
    longitude: Longitude | None = None


PAYLOADS: Final[Mapping[str, type[Payload]]] = {
    "product.upserted": ProductUpserted,
    "product.deleted": ProductDeleted,
    "inventory.updated": InventoryUpdated,
    "price.updated": PriceUpdated,
    "category.updated": CategoryUpdated,
    "farm.updated": FarmUpdated,
}
"""The types that workers of this version know; others are parked."""


@dataclass(frozen=True, slots=True)
class Message:
    """A body that was read. ``price_minor`` and ``currency`` where the payload has a price."""

    occurred_at: datetime
    payload: Payload
    price_minor: int = 0
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A body that can never work; ``error`` names the places by JSON pointer."""

    error: str


def read_body(model: type[Payload], body: bytes, market_currency: str) -> Message | Unusable:
    """Read a stored body whose type has this model. Never raises, whatever the bytes are."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Unusable("the body is not well-formed JSON")
    if not isinstance(document, dict):
        return Unusable("the body is not a JSON object")
    occurred_at, fault = _moment(document)
    data = document.get("data")
    if not isinstance(data, dict):
        return Unusable(_joined([fault, "/data: is required and must be an object"]))
    try:
        payload = model.model_validate(data)
    except ValidationError as error:
        return Unusable(_joined([fault, *_faults(error)]))
    if occurred_at is None:
        return Unusable(_joined([fault]))
    if not isinstance(payload, ProductUpserted | PriceUpdated):
        return Message(occurred_at, payload)
    currency = payload.currency or market_currency
    if not is_currency(currency):
        return Unusable("/data/currency: is not an ISO 4217 currency")
    minor = parse_price(payload.price, currency)
    if minor is None:
        return Unusable(f"/data/price: is not an amount that {currency} can express exactly")
    return Message(occurred_at, payload, minor, currency)


def _moment(document: Mapping[str, object]) -> tuple[datetime | None, str]:
    name = "occurred_at" if "occurred_at" in document else "timestamp"
    value = document.get(name)
    if value is None:
        return None, "/occurred_at: is required"
    if not isinstance(value, str):
        return None, f"/{name}: must be a string"
    try:
        return parse_moment(value), ""
    except ValueError:
        return None, f"/{name}: must be a time such as 2026-02-06T10:30:00Z"


# A field that may be one of two types reports once per type.
_EITHER: Final[Mapping[str, str]] = {
    "category": "must be the slug or the id of a category",
    "farm": "must be our id or the external id of a farm",
    "id": "must be a UUID",
}


def _faults(error: ValidationError) -> list[str]:
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_input=False):
        # Only our own fields are ever named: unknown ones are ignored.
        name = str(item["loc"][0])
        text = fault_text(item)
        if item["type"] != "missing":
            text = _EITHER.get(name, text)
        found.setdefault(name, f"/data/{name}: {text}")
    return list(found.values())[:_MOST_FAULTS]


def _joined(faults: list[str]) -> str:
    return "; ".join(fault for fault in faults if fault)
