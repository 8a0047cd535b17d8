"""What clients get back, as JSON schemas, headers and examples, written by hand.

Request bodies are not here: their schemas come from ``api.bodies``, which also checks them.
"""

from __future__ import annotations

from typing import Any, Final

from api.problems import PROBLEM_JSON

__all__ = ["EXAMPLES", "HEADERS", "SCHEMAS", "problem_response"]

Json = dict[str, Any]

_TIMESTAMP: Final[Json] = {
    "type": "string",
    "format": "date-time",
    "description": "RFC 3339, UTC, microseconds.",
}
_ROW_ID: Final[Json] = {"type": "integer", "minimum": 1}
_SLUG: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 80}
_NAME: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 200}
_PLACE: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 120}
_VERSION: Final[Json] = {
    "type": "integer",
    "minimum": 1,
    "description": "Counts the changes; If-Match takes the ETag, not this.",
}


def _object(title: str, **properties: Json) -> Json:
    """An object that has exactly these members, always."""
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _page_of(name: str) -> Json:
    return _object(
        f"{name}Page",
        data={"type": "array", "items": _reference(name), "maxItems": 100},
        page=_object(
            "Page",
            limit={"type": "integer", "minimum": 1, "maximum": 100},
            has_more={"type": "boolean"},
            next_cursor={
                "type": ["string", "null"],
                "description": "Opaque; send it back as `cursor` with the same filter and sort.",
            },
        ),
    )


def _nullable(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


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
    "Product": _object(
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
        category=_object("ProductCategory", id=_ROW_ID, slug=_SLUG, name=_NAME),
        farm=_object("ProductFarm", id=_ROW_ID, name=_NAME, city=_PLACE, state=_PLACE),
        attributes={"type": "object", "additionalProperties": True},
        version=_VERSION,
        created_at=_TIMESTAMP,
        updated_at=_TIMESTAMP,
    ),
    "Category": _object(
        "Category",
        id=_ROW_ID,
        slug=_SLUG,
        name=_NAME,
        parent={**_nullable(_SLUG), "description": "The slug of the category above."},
        version=_VERSION,
        created_at=_TIMESTAMP,
        updated_at=_TIMESTAMP,
    ),
    "Farm": _object(
        "Farm",
        id=_ROW_ID,
        external_id=_nullable({"type": "string", "minLength": 1, "maxLength": 64}),
        name=_NAME,
        city=_PLACE,
        state=_PLACE,
        latitude=_nullable({"type": "number", "minimum": -90, "maximum": 90}),
        longitude=_nullable({"type": "number", "minimum": -180, "maximum": 180}),
        version=_VERSION,
        created_at=_TIMESTAMP,
        updated_at=_TIMESTAMP,
    ),
    "ProductPage": _page_of("Product"),
    "CategoryPage": _page_of("Category"),
    "FarmPage": _page_of("Farm"),
    "Liveness": _object("Liveness", status={"const": "ok"}),
    "Readiness": _object(
        "Readiness",
        status={"type": "string", "enum": ["ok", "degraded", "unavailable"]},
        draining={"type": "boolean"},
        checks=_object("Checks", database=_CHECK, cache=_CHECK, queue=_CHECK),
    ),
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
    "Retry-After": _header("Seconds to wait.", "^[1-9][0-9]*$", required=True),
    "WWW-Authenticate": _header("How to authenticate.", "^Bearer ", required=True),
}

# Status: title of the component, description, and the example's type, title, detail and place.
_PROBLEMS: Final[dict[int, tuple[str, str, str, str, Json]]] = {
    400: (
        "BadRequest",
        "A parameter, a header, the cursor or the JSON is malformed.",
        "invalid-request",
        "Invalid request",
        {"parameter": "limit", "detail": "must be an integer from 1 to 100"},
    ),
    401: ("Unauthorized", "The API key is missing or wrong.", "unauthorized", "Unauthorized", {}),
    403: ("Forbidden", "The API key lacks the scope.", "forbidden", "Forbidden", {}),
    404: ("NotFound", "There is no such thing, or no longer.", "not-found", "Not found", {}),
    409: (
        "Conflict",
        "A duplicate, something still in use, or the first request with this Idempotency-Key is"
        " still running.",
        "conflict",
        "Conflict",
        {},
    ),
    412: (
        "PreconditionFailed",
        "If-Match names another state than the current one.",
        "precondition-failed",
        "Precondition failed",
        {},
    ),
    413: (
        "ContentTooLarge",
        "The body is too large.",
        "request-entity-too-large",
        "Request Entity Too Large",
        {},
    ),
    415: (
        "UnsupportedMediaType",
        "The body's media type or encoding is not taken.",
        "unsupported-media-type",
        "Unsupported Media Type",
        {},
    ),
    422: (
        "InvalidBody",
        "Members of the body are wrong, or the Idempotency-Key came with another request.",
        "invalid-body",
        "Invalid body",
        {"pointer": "/price", "detail": "is not an amount that USD can express exactly"},
    ),
    429: (
        "TooManyRequests",
        "The quota is used up.",
        "quota-exceeded",
        "Request cannot be satisfied as assigned quota has been exceeded",
        {},
    ),
    503: (
        "Unavailable",
        "The database is away or gave up; the same request may work later.",
        "unavailable",
        "Temporarily unavailable",
        {},
    ),
}
_QUOTA_TYPE: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
_PROBLEM_HEADERS: Final = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


def problem_response(status: int) -> tuple[str, Json]:
    """The name and definition of the response component of a problem's status."""
    name, description, kind, title, error = _PROBLEMS[status]
    example: Json = {
        "type": _QUOTA_TYPE if status == 429 else f"urn:farmlokal:problem:{kind}",
        "title": title,
        "status": status,
        "detail": f"{error['detail']}" if error else description,
        "instance": "/v1/products",
        "request_id": "9f0c2f3e-5d0b-4d6e-9d3e-0f6f1b7a2c11",
        **({"errors": [error]} if error else {}),
        **({"violated-policies": ["default"]} if status == 429 else {}),
    }
    names = ("X-Request-ID", "Cache-Control", "RateLimit-Policy", "RateLimit")
    return name, {
        "description": description,
        "headers": {
            header: {"$ref": f"#/components/headers/{header}"}
            for header in (*names, *_PROBLEM_HEADERS.get(status, ()))
        },
        "content": {
            PROBLEM_JSON: {
                "schema": {
                    "allOf": [
                        _reference("Problem"),
                        {"type": "object", "properties": {"status": {"const": status}}},
                    ]
                },
                "example": example,
            }
        },
    }


_AT: Final = "2026-02-06T10:30:00.000000Z"
_EGGS: Final[Json] = {
    "id": "0194d9c4-7c00-7b4e-8f2a-3f1c5f0a9e21",
    "sku": "EGGS-12",
    "name": "Duck eggs",
    "description": "From ducks that roam the orchard.",
    "price": "4.50",
    "currency": "USD",
    "unit": "dozen",
    "stock": 24,
    "category": {"id": 7, "slug": "eggs", "name": "Eggs"},
    "farm": {"id": 42, "name": "Orchard Hill", "city": "Ithaca", "state": "New York"},
    "attributes": {"free_range": True},
    "version": 1,
    "created_at": _AT,
    "updated_at": _AT,
}
_CATEGORY: Final[Json] = {
    "id": 7,
    "slug": "eggs",
    "name": "Eggs",
    "parent": "dairy-and-eggs",
    "version": 1,
    "created_at": _AT,
    "updated_at": _AT,
}
_FARM: Final[Json] = {
    "id": 42,
    "external_id": "usda-1018",
    "name": "Orchard Hill",
    "city": "Ithaca",
    "state": "New York",
    "latitude": 42.44,
    "longitude": -76.5,
    "version": 1,
    "created_at": _AT,
    "updated_at": _AT,
}


def _example_page(item: Json) -> Json:
    return {"data": [item], "page": {"limit": 20, "has_more": False, "next_cursor": None}}


EXAMPLES: Final[dict[str, Json]] = {
    "Product": _EGGS,
    "ProductPage": _example_page(_EGGS),
    "Category": _CATEGORY,
    "CategoryPage": _example_page(_CATEGORY),
    "Farm": _FARM,
    "FarmPage": _example_page(_FARM),
    "ProductCreate": {
        **{k: _EGGS[k] for k in ("sku", "name", "description", "price", "unit", "stock")},
        "category": "eggs",
        "farm": 42,
        "attributes": {"free_range": True},
    },
    "ProductPatch": {"price": "4.75", "stock": 12},
    "CategoryCreate": {"slug": "eggs", "name": "Eggs", "parent": "dairy-and-eggs"},
    "CategoryPatch": {"name": "Fresh eggs"},
    "FarmCreate": {
        k: _FARM[k] for k in ("name", "city", "state", "external_id", "latitude", "longitude")
    },
    "FarmPatch": {"external_id": None},
}
