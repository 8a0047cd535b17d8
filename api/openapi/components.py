"""What clients get back, as JSON schemas and headers, written by hand.

Request bodies are not here: their schemas come from ``api.bodies``, which also checks them.
"""

from __future__ import annotations

from typing import Any, Final

from api.openapi.change_schemas import CHANGE_SCHEMAS
from api.openapi.import_schemas import IMPORT_SCHEMAS
from api.openapi.shapes import TIMESTAMP, nullable, object_of, page_of
from api.openapi.webhook_schemas import WEBHOOK_SCHEMAS
from models.supply.availability import Source

__all__ = ["HEADERS", "SCHEMAS"]

Json = dict[str, Any]

_ROW_ID: Final[Json] = {"type": "integer", "minimum": 1}
_SLUG: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 80}
_NAME: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 200}
_PLACE: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 120}
_VERSION: Final[Json] = {
    "type": "integer",
    "minimum": 1,
    "description": "Counts the changes; If-Match takes the ETag, not this.",
}


_PROBLEM: Final[Json] = {
    "title": "Problem",
    "description": "RFC 9457.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string", "minLength": 1},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The request's path."},
        "request_id": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "description": "One wrong place: a parameter, a header or a member of the body.",
                "properties": {
                    "parameter": {"type": "string"},
                    "pointer": {"type": "string", "description": "RFC 6901."},
                    "header": {"type": "string"},
                    "detail": {"type": "string", "minLength": 1},
                },
                "required": ["detail"],
                "minProperties": 2,
                "maxProperties": 2,
                "additionalProperties": False,
            },
        },
        "violated-policies": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    },
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "additionalProperties": False,
}
_CHECK: Final[Json] = {"type": "string", "enum": ["ok", "unavailable"]}

SCHEMAS: Final[dict[str, Json]] = {
    "Product": object_of(
        "Product",
        id={"type": "string", "format": "uuid", "description": "A UUIDv7."},
        sku={"type": "string", "minLength": 1, "maxLength": 64},
        name=_NAME,
        description={"type": "string", "maxLength": 5_000},
        price={
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?$",
            "description": "A decimal string with exactly the currency's decimals.",
        },
        currency={"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217."},
        unit={"type": "string", "minLength": 1, "maxLength": 64},
        stock={"type": "integer", "minimum": 0},
        category=object_of("ProductCategory", id=_ROW_ID, slug=_SLUG, name=_NAME),
        farm=object_of("ProductFarm", id=_ROW_ID, name=_NAME, city=_PLACE, state=_PLACE),
        attributes={"type": "object", "additionalProperties": True},
        version=_VERSION,
        created_at=TIMESTAMP,
        updated_at=TIMESTAMP,
    ),
    "Availability": object_of(
        "Availability",
        product_id={"type": "string", "format": "uuid"},
        available={"type": "integer", "minimum": 0},
        in_stock={"type": "boolean", "description": "Whether any is available."},
        source={"type": "string", "enum": [source.value for source in Source]},
        stale={"type": "boolean", "description": "The partner's answer is no longer fresh."},
        as_of={
            **TIMESTAMP,
            "description": "RFC 3339, UTC: the moment the partner speaks of; of the catalogue, the"
            " product's last change.",
        },
    ),
    "Category": object_of(
        "Category",
        id=_ROW_ID,
        slug=_SLUG,
        name=_NAME,
        parent={**nullable(_SLUG), "description": "The slug of the category above."},
        version=_VERSION,
        created_at=TIMESTAMP,
        updated_at=TIMESTAMP,
    ),
    "Farm": object_of(
        "Farm",
        id=_ROW_ID,
        external_id=nullable({"type": "string", "minLength": 1, "maxLength": 64}),
        name=_NAME,
        city=_PLACE,
        state=_PLACE,
        latitude=nullable({"type": "number", "minimum": -90, "maximum": 90}),
        longitude=nullable({"type": "number", "minimum": -180, "maximum": 180}),
        version=_VERSION,
        created_at=TIMESTAMP,
        updated_at=TIMESTAMP,
    ),
    "ProductPage": page_of("Product"),
    "CategoryPage": page_of("Category"),
    "FarmPage": page_of("Farm"),
    "Liveness": object_of("Liveness", status={"const": "ok"}),
    "Readiness": object_of(
        "Readiness",
        status={"type": "string", "enum": ["ok", "degraded", "unavailable"]},
        draining={"type": "boolean"},
        checks=object_of("Checks", database=_CHECK, cache=_CHECK, queue=_CHECK),
        replicas={
            "description": "Replicas of the database by number; none of them changes `status`.",
            "type": "object",
            "additionalProperties": {
                "type": "string",
                "enum": ["ok", "lagging", "unavailable"],
            },
        },
    ),
    **CHANGE_SCHEMAS,
    **IMPORT_SCHEMAS,
    **WEBHOOK_SCHEMAS,
    "Problem": _PROBLEM,
}


def _header(description: str, pattern: str | None = None, *, required: bool = False) -> Json:
    schema: Json = {"type": "string"}
    if pattern is not None:
        schema["pattern"] = pattern
    return {"description": description, "schema": schema, "required": required}


HEADERS: Final[dict[str, Json]] = {
    "X-Request-ID": _header(
        "The request's own id if it sent a well-formed one, else a new one.",
        "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        required=True,
    ),
    "Cache-Control": _header("How long the answer may be kept.", required=True),
    "CDN-Cache-Control": _header("RFC 9213: how long shared caches may serve it.", required=True),
    "Cache-Status": _header(
        "RFC 9211: where the answer came from.", r"^FarmLokal; (hit|fwd=)", required=True
    ),
    "ETag": _header(
        "Strong validator: a hash of the body's bytes.", '^"[0-9a-f]{32}"$', required=True
    ),
    "Link": _header('RFC 8288: `rel="next"`, when there is a next page.', r'^<.+>; rel="next"$'),
    "Location": _header("The path of what was created.", "^/v1/", required=True),
    "Idempotent-Replayed": _header("`true` on a stored answer given again.", "^true$"),
    "RateLimit-Policy": _header(
        "The quota and its window in seconds. Absent while limits cannot be checked.",
        r'^"[a-z-]+";q=[0-9]+;w=[0-9]+$',
    ),
    "RateLimit": _header(
        "What remains, and seconds until the window ends. Absent while limits cannot be checked.",
        r'^"[a-z-]+";r=[0-9]+;t=[0-9]+$',
    ),
    "Retry-After": _header("Seconds to wait before trying again.", "^[1-9][0-9]*$"),
    "WWW-Authenticate": _header("How to authenticate.", "^(Bearer|Signature) ", required=True),
}
