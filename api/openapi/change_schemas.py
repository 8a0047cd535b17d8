"""What the change feed answers, as JSON schemas."""

from __future__ import annotations

from typing import Any, Final

from api.catalog.changes import MOST
from api.openapi.shapes import TIMESTAMP, object_of, reference
from models.feed.following import CURRENT

__all__ = ["CHANGE_SCHEMAS"]

Json = dict[str, Any]

_CHANGE: Final = object_of(
    "ProductChange",
    change={
        "type": "string",
        "enum": ["created", "updated", "deleted", CURRENT],
        "description": f"What happened; `{CURRENT}` in the snapshot.",
    },
    id={"type": "string", "format": "uuid", "description": "The product's, never used again."},
    farm={"type": "integer", "minimum": 1, "description": "The farm's id."},
    sku={"type": "string", "minLength": 1, "maxLength": 64},
    version={
        "type": "integer",
        "minimum": 1,
        "description": "The product's version by this change; `product` may be newer.",
    },
    changed_at=TIMESTAMP,
    product={
        "oneOf": [reference("Product"), {"type": "null"}],
        "description": "The product as it is now; null when it is gone.",
    },
)

CHANGE_SCHEMAS: Final[dict[str, Json]] = {
    "ProductChange": _CHANGE,
    "ProductChangePage": object_of(
        "ProductChangePage",
        data={"type": "array", "items": reference("ProductChange"), "maxItems": MOST},
        page=object_of(
            "ChangePage",
            limit={"type": "integer", "minimum": 1, "maximum": MOST},
            has_more={"type": "boolean", "description": "There is more to be had at once."},
            next_cursor={
                "type": "string",
                "description": "Opaque; keep it, and send it back as `since`.",
            },
        ),
    ),
}
