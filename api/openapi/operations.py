"""What each operation takes and answers, beyond what its route, handler and body model say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from api import bodies
from api.openapi.parameters import (
    CURSOR,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    LIMIT,
    PRODUCT_FILTERS,
    STRICT,
)

__all__ = ["OPERATIONS", "Operation"]

Json = dict[str, Any]

_JSON: Final = "application/json"
_PUBLIC: Final = ("ETag", "Cache-Control", "CDN-Cache-Control")
_CACHED: Final = (*_PUBLIC, "Cache-Status")
_LIVE: Final = ("ETag", "Cache-Control")
_CREATED: Final = (*_LIVE, "Location", "Idempotent-Replayed")


@dataclass(frozen=True, slots=True)
class Operation:
    """``answers``: status to the media types and schema of its body, or ``None`` for no body.

    ``problems`` are those beyond what the route implies (401, 403, 429). ``{}`` as a schema
    promises nothing.
    """

    tag: str
    answers: Mapping[int, tuple[str, Json] | None]
    headers: tuple[str, ...] = _LIVE
    parameters: tuple[Json, ...] = ()
    body: type[BaseModel] | None = None
    is_patch: bool = False
    problems: tuple[int, ...] = ()
    notes: str = ""


def _json(name: str) -> tuple[str, Json]:
    return _JSON, {"$ref": f"#/components/schemas/{name}"}


def _list(tag: str, name: str, headers: tuple[str, ...], *filters: Json) -> Operation:
    return Operation(
        tag,
        {200: _json(name), 304: None},
        (*headers, "Link"),
        (*filters, LIMIT, CURSOR, IF_NONE_MATCH),
        problems=(400, 503),
    )


def _get(tag: str, name: str, headers: tuple[str, ...] = _PUBLIC) -> Operation:
    return Operation(
        tag,
        {200: _json(name), 304: None},
        headers,
        (IF_NONE_MATCH,),
        problems=(400, 404, 503),
    )


def _create(tag: str, name: str, body: type[BaseModel]) -> Operation:
    return Operation(
        tag,
        {201: _json(name)},
        _CREATED,
        (IDEMPOTENCY_KEY,),
        body,
        problems=(400, 409, 413, 415, 422, 503),
    )


def _patch(tag: str, name: str, body: type[BaseModel]) -> Operation:
    return Operation(
        tag,
        {200: _json(name)},
        _LIVE,
        (IF_MATCH,),
        body,
        is_patch=True,
        problems=(400, 404, 409, 412, 413, 415, 422, 503),
        notes="A JSON merge patch (RFC 7396): what is absent stays as it is.",
    )


def _delete(tag: str, *problems: int) -> Operation:
    return Operation(
        tag, {204: None}, ("Cache-Control",), (IF_MATCH,), problems=(400, 404, 412, 503, *problems)
    )


def _file(media_types: str, *problems: int) -> Operation:
    return Operation(
        "documentation",
        {200: (media_types, {}), 304: None},
        _LIVE,
        (IF_NONE_MATCH,),
        problems=(400, *problems),
    )


OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", "/v1/products"): _list("products", "ProductPage", _CACHED, *PRODUCT_FILTERS),
    ("POST", "/v1/products"): _create("products", "Product", bodies.ProductCreate),
    ("GET", "/v1/products/{product_id}"): _get("products", "Product", _CACHED),
    ("PATCH", "/v1/products/{product_id}"): _patch("products", "Product", bodies.ProductPatch),
    ("DELETE", "/v1/products/{product_id}"): _delete("products"),
    ("GET", "/v1/categories"): _list("categories", "CategoryPage", _PUBLIC),
    ("POST", "/v1/categories"): _create("categories", "Category", bodies.CategoryCreate),
    ("GET", "/v1/categories/{slug}"): _get("categories", "Category"),
    ("PATCH", "/v1/categories/{slug}"): _patch("categories", "Category", bodies.CategoryPatch),
    ("DELETE", "/v1/categories/{slug}"): _delete("categories", 409),
    ("GET", "/v1/farms"): _list("farms", "FarmPage", _PUBLIC),
    ("POST", "/v1/farms"): _create("farms", "Farm", bodies.FarmCreate),
    ("GET", "/v1/farms/{farm_id}"): _get("farms", "Farm"),
    ("PATCH", "/v1/farms/{farm_id}"): _patch("farms", "Farm", bodies.FarmPatch),
    ("DELETE", "/v1/farms/{farm_id}"): _delete("farms", 409),
    ("GET", "/health/live"): Operation("operation", {200: _json("Liveness")}, ("Cache-Control",)),
    ("GET", "/health/ready"): Operation(
        "operation",
        {200: _json("Readiness"), 503: _json("Readiness")},
        ("Cache-Control",),
        (STRICT,),
        problems=(400,),
    ),
    ("GET", "/metrics"): Operation(
        "operation", {200: ("text/plain", {"type": "string"})}, ("Cache-Control",)
    ),
    ("GET", "/openapi.json"): _file(_JSON),
    ("GET", "/docs"): _file("text/html"),
    ("GET", "/docs/{asset}"): _file("text/javascript text/css image/png", 404),
}
