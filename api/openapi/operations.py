"""What each operation takes and answers, beyond what its route, handler and body model say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from api import bodies
from api.openapi.change_operations import CHANGE_OPERATIONS
from api.openapi.import_operations import IMPORT_OPERATIONS
from api.openapi.operation import JSON, LIVE, PUBLIC, Operation, json_of, list_of
from api.openapi.parameters import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, PRODUCT_FILTERS, STRICT
from api.openapi.webhook_operations import WEBHOOK_OPERATIONS

__all__ = ["OPERATIONS"]

_CACHED: Final = (*PUBLIC, "Cache-Status")
_CREATED: Final = (*LIVE, "Location", "Idempotent-Replayed")


def _get(tag: str, name: str, headers: tuple[str, ...] = PUBLIC) -> Operation:
    return Operation(
        tag,
        {200: json_of(name), 304: None},
        headers,
        (IF_NONE_MATCH,),
        problems=(400, 404, 503),
    )


def _create(tag: str, name: str, body: type[BaseModel]) -> Operation:
    return Operation(
        tag,
        {201: json_of(name)},
        _CREATED,
        (IDEMPOTENCY_KEY,),
        body,
        problems=(400, 409, 413, 415, 422, 503),
    )


def _patch(tag: str, name: str, body: type[BaseModel]) -> Operation:
    return Operation(
        tag,
        {200: json_of(name)},
        LIVE,
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
        LIVE,
        (IF_NONE_MATCH,),
        problems=(400, *problems),
    )


OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", "/v1/products"): list_of("products", "ProductPage", _CACHED, *PRODUCT_FILTERS),
    ("POST", "/v1/products"): _create("products", "Product", bodies.ProductCreate),
    ("GET", "/v1/products/{product_id}"): _get("products", "Product", _CACHED),
    ("PATCH", "/v1/products/{product_id}"): _patch("products", "Product", bodies.ProductPatch),
    ("DELETE", "/v1/products/{product_id}"): _delete("products"),
    ("GET", "/v1/products/{product_id}/availability"): Operation(
        "products",
        {200: json_of("Availability")},
        ("Cache-Control",),
        problems=(400, 404, 503),
        notes="Answered at once. `source` `partner` is what the supply partner last said, `stale`"
        " once that is no longer fresh and a newer answer is being asked for; `catalogue` is the"
        " default, the product's own stock, where the partner has said nothing lately.",
    ),
    **CHANGE_OPERATIONS,
    ("GET", "/v1/categories"): list_of("categories", "CategoryPage", PUBLIC),
    ("POST", "/v1/categories"): _create("categories", "Category", bodies.CategoryCreate),
    ("GET", "/v1/categories/{slug}"): _get("categories", "Category"),
    ("PATCH", "/v1/categories/{slug}"): _patch("categories", "Category", bodies.CategoryPatch),
    ("DELETE", "/v1/categories/{slug}"): _delete("categories", 409),
    ("GET", "/v1/farms"): list_of("farms", "FarmPage", PUBLIC),
    ("POST", "/v1/farms"): _create("farms", "Farm", bodies.FarmCreate),
    ("GET", "/v1/farms/{farm_id}"): _get("farms", "Farm"),
    ("PATCH", "/v1/farms/{farm_id}"): _patch("farms", "Farm", bodies.FarmPatch),
    ("DELETE", "/v1/farms/{farm_id}"): _delete("farms", 409),
    **IMPORT_OPERATIONS,
    **WEBHOOK_OPERATIONS,
    ("GET", "/health/live"): Operation("operation", {200: json_of("Liveness")}, ("Cache-Control",)),
    ("GET", "/health/ready"): Operation(
        "operation",
        {200: json_of("Readiness"), 503: json_of("Readiness")},
        ("Cache-Control",),
        (STRICT,),
        problems=(400,),
    ),
    ("GET", "/metrics"): Operation(
        "operation", {200: ("text/plain", {"type": "string"})}, ("Cache-Control",)
    ),
    ("GET", "/openapi.json"): _file(JSON),
    ("GET", "/docs"): _file("text/html"),
    ("GET", "/docs/{asset}"): _file("text/javascript text/css image/png", 404),
}
