"""The bodies that partners send, as JSON schemas with examples, from the models that read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from api.openapi.shapes import object_of, reference
from models.webhooks.payloads import PAYLOADS, CategoryUpdated, FarmUpdated
from models.webhooks.selection import MOMENT_PATTERN

__all__ = ["EVENT_BODY", "EVENT_EXAMPLES", "payload_schemas"]

Json = dict[str, Any]

_PARTIAL: Final = (CategoryUpdated, FarmUpdated)
_OCCURRED_AT: Final[Json] = {
    "type": "string",
    "format": "date-time",
    "pattern": MOMENT_PATTERN,
    "description": "When it happened: the order in which events count. RFC 3339 with any offset;"
    " `timestamp` is taken as its other name.",
}
_EGGS: Final[Json] = {"farm": "usda-1018", "sku": "EGGS-12"}
_DATA: Final[Mapping[str, Json]] = {
    "product.upserted": {
        **_EGGS,
        "name": "Duck eggs",
        "description": "From ducks that roam the orchard.",
        "category": "eggs",
        "price": "4.50",
        "currency": "USD",
        "unit": "dozen",
        "stock": 24,
        "attributes": {"free_range": True},
    },
    "product.deleted": _EGGS,
    "inventory.updated": {**_EGGS, "stock": 42},
    "price.updated": {**_EGGS, "price": "4.75"},
    "category.updated": {"slug": "eggs", "name": "Fresh eggs"},
    "farm.updated": {"farm": 42, "latitude": 42.44, "longitude": -76.5},
}

EVENT_EXAMPLES: Final[Mapping[str, Json]] = {
    type_: {"type": type_, "occurred_at": "2026-02-06T10:29:58.250Z", "data": _DATA[type_]}
    for type_ in PAYLOADS
}


def _event_schema(type_: str) -> Json:
    schema = object_of(
        type_,
        type={"const": type_},
        occurred_at=_OCCURRED_AT,
        data=reference(PAYLOADS[type_].__name__),
    )
    return {**schema, "additionalProperties": True}


EVENT_BODY: Final[Json] = {
    "schema": {"oneOf": [_event_schema(type_) for type_ in PAYLOADS]},
    "examples": {type_: {"value": example} for type_, example in EVENT_EXAMPLES.items()},
}


def payload_schemas() -> dict[str, Json]:
    """The schemas of ``data``, by the name that ``EVENT_BODY`` refers to."""
    _, given = models_json_schema(
        [(model, "validation") for model in PAYLOADS.values()],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Json] = given["$defs"]
    for model in PAYLOADS.values():
        for member in schemas[model.__name__]["properties"].values():
            member.pop("title", None)
            if model in _PARTIAL:
                # The models' defaults only stand in for what is absent.
                member.pop("default", None)
    return schemas
