"""Parameters of requests: bounds and patterns equal to what the handlers accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from models.catalog.query import Order, Sort
from models.webhooks.selection import MOMENT_PATTERN, TYPE_PATTERN
from models.webhooks.states import State

__all__ = [
    "ASSETS",
    "CURSOR",
    "EVENT_FILTERS",
    "IDEMPOTENCY_KEY",
    "IF_MATCH",
    "IF_NONE_MATCH",
    "LIMIT",
    "PATH_PARAMETERS",
    "PRODUCT_FILTERS",
    "REQUEST_ID",
    "STRICT",
]

Json = dict[str, Any]

ASSETS: Final = ("favicon-32x32.png", "start.js", "swagger-ui-bundle.js", "swagger-ui.css")
"""The files of the page; only these are served."""


# Printable text without control characters, at least one character that is no space.
_TEXT: Final = (
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
)
_SLUG: Final[Json] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 80,
    "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
}
# A slug that is all digits would be taken for an id.
_SLUG_OR_ID: Final = "^([1-9][0-9]{0,15}|[0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*|[0-9]+(-[a-z0-9]+)+)$"
_PRICE: Final[Json] = {"type": "string", "pattern": r"^[0-9]{1,13}(\.[0-9]{1,6})?$"}
_TAG: Final = '(W/)?"[!#-~]*"'


def _in(where: str, name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": where,
        "required": required,
        "description": description,
        "schema": schema,
    }


LIMIT: Final = _in(
    "query",
    "limit",
    {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    "How many to return.",
)
CURSOR: Final = _in(
    "query",
    "cursor",
    {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "minLength": 1, "maxLength": 2_000},
    "Where the previous page ended: its `page.next_cursor`. Opaque, signed, bound to filter and"
    " sort: any other is refused.",
)
PRODUCT_FILTERS: Final = (
    _in(
        "query",
        "category",
        {"type": "string", "minLength": 1, "maxLength": 80, "pattern": _SLUG_OR_ID},
        "A category's slug or id; its subcategories are included.",
    ),
    _in("query", "farm", {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}, "A farm's id."),
    _in(
        "query",
        "q",
        {"type": "string", "minLength": 1, "maxLength": 200, "pattern": _TEXT},
        "Words that name or description must all hold. Words the search engine does not index"
        " (short ones, stopwords) are not required; if no other is left, names that begin so.",
    ),
    _in("query", "min_price", _PRICE, "In the market's currency."),
    _in("query", "max_price", _PRICE, "In the market's currency; not below `min_price`."),
    _in("query", "in_stock", {"type": "boolean"}, "Only what is in stock, or only what is not."),
    _in(
        "query",
        "sort",
        {"type": "string", "enum": [sort.value for sort in Sort]},
        "`created_at` by default, `relevance` with `q`; `relevance` needs `q`.",
    ),
    _in(
        "query",
        "order",
        {"type": "string", "enum": [order.value for order in Order]},
        "Default: newest first, cheapest first, A to Z, best first (the only order of relevance).",
    ),
)
_PARTNER: Final[Json] = {**_SLUG, "maxLength": 64}
_RFC_3339: Final[Json] = {
    "type": "string",
    "format": "date-time",
    "pattern": MOMENT_PATTERN,
    "examples": ["2026-02-06T10:30:00Z"],
}
EVENT_FILTERS: Final = (
    _in("query", "partner", _PARTNER, "A partner's name."),
    _in(
        "query",
        "type",
        {"type": "string", "pattern": TYPE_PATTERN},
        "The type of the events. A rare one among very many takes bounds of time to be found.",
    ),
    _in(
        "query", "state", {"type": "string", "enum": [s.value for s in State]}, "Where they stand."
    ),
    _in("query", "since", _RFC_3339, "Received then or later. Any RFC 3339 time is taken."),
    _in("query", "until", _RFC_3339, "Received before then; not before `since`."),
)
IDEMPOTENCY_KEY: Final = _in(
    "header",
    "Idempotency-Key",
    {
        "type": "string",
        "pattern": (
            r'^("([!#-\[\]-~]|\\["\\]){1,255}"'
            r"|[!#-+\--:<-\[\]-~]{1,255})$"
        ),
        "examples": ['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
    },
    "A structured string: repeats with the same key and body get the first one's answer again.",
)
IF_MATCH: Final = _in(
    "header",
    "If-Match",
    {
        "type": "string",
        "pattern": rf"^(\*|{_TAG}(, *{_TAG})*)$",
        "examples": ['"ed411a06be7bd4e065b378e6e46874e3"'],
    },
    "The ETag the change is meant for: 412 when it is no longer the current one.",
)
IF_NONE_MATCH: Final = _in(
    "header", "If-None-Match", {"type": "string"}, "ETags at hand: 304 when one is current."
)
STRICT: Final = _in(
    "query",
    "strict",
    {"type": "string", "enum": ["0", "1"]},
    "`1`: unavailable also while only Redis is away.",
)
REQUEST_ID: Final = _in(
    "header",
    "X-Request-ID",
    {"type": "string"},
    "An id to find this request by; one that is not well-formed is replaced.",
)

PATH_PARAMETERS: Final[Mapping[str, Json]] = {
    "product_id": _in(
        "path",
        "product_id",
        {
            "type": "string",
            "format": "uuid",
            "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        },
        "The product's id, hyphenated.",
        required=True,
    ),
    "partner": _in(
        "path",
        "partner",
        _PARTNER,
        "The partner's name.",
        required=True,
    ),
    "receipt": _in(
        "path",
        "receipt",
        {
            "type": "string",
            "format": "uuid",
            "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        },
        "The receipt that the delivery was answered with.",
        required=True,
    ),
    "import_id": _in(
        "path",
        "import_id",
        {
            "type": "string",
            "format": "uuid",
            "pattern": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        },
        "The import's id, hyphenated.",
        required=True,
    ),
    "slug": _in("path", "slug", _SLUG, "The category's slug.", required=True),
    "farm_id": _in(
        "path",
        "farm_id",
        {"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
        "The farm's id.",
        required=True,
    ),
    "asset": _in(
        "path",
        "asset",
        {"type": "string", "enum": list(ASSETS)},
        "A file of the page.",
        required=True,
    ),
}
