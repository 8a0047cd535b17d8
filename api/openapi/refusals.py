"""The responses that refuse: one component per status, each a problem with an example."""

from __future__ import annotations

from typing import Any, Final

from api.problems import PROBLEM_JSON

__all__ = ["problem_response"]

Json = dict[str, Any]

# Status: title of the component, description, and the example's type, title, detail and place.
_PROBLEMS: Final[dict[int, tuple[str, str, str, str, Json]]] = {
    400: (
        "BadRequest",
        "A parameter, a header, the cursor or the JSON is malformed.",
        "invalid-request",
        "Invalid request",
        {"parameter": "limit", "detail": "must be an integer from 1 to 100"},
    ),
    401: (
        "Unauthorized",
        "The API key or signature is missing or wrong.",
        "unauthorized",
        "Unauthorized",
        {},
    ),
    403: ("Forbidden", "The API key lacks the scope.", "forbidden", "Forbidden", {}),
    404: ("NotFound", "There is no such thing, or no longer.", "not-found", "Not found", {}),
    408: (
        "RequestTimeout",
        "The request did not arrive in time.",
        "request-timeout",
        "Request timeout",
        {},
    ),
    409: (
        "Conflict",
        "A duplicate, something still in use, or the first request with this Idempotency-Key is"
        " still running.",
        "conflict",
        "Conflict",
        {},
    ),
    410: (
        "PositionGone",
        "What came after this cursor is no longer kept: start anew, without `since`.",
        "position-gone",
        "Position gone",
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
        "content-too-large",
        "Content too large",
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
    409: ("Retry-After",),
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
                        {"$ref": "#/components/schemas/Problem"},
                        {"type": "object", "properties": {"status": {"const": status}}},
                    ]
                },
                "example": example,
            }
        },
    }
