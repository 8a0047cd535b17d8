"""The shapes that schemas are built of."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

__all__ = ["TIMESTAMP", "nullable", "object_of", "page_of", "reference"]

Json = dict[str, Any]

TIMESTAMP: Final[Json] = {
    "type": "string",
    "format": "date-time",
    "description": "RFC 3339, UTC, microseconds.",
}


def object_of(title: str, optional: Collection[str] = (), **properties: Json) -> Json:
    """An object that has exactly these members, all of them always but the ``optional`` ones."""
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def reference(name: str) -> Json:
    """The schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def page_of(name: str) -> Json:
    """A page of a list of these."""
    return object_of(
        f"{name}Page",
        data={"type": "array", "items": reference(name), "maxItems": 100},
        page=object_of(
            "Page",
            limit={"type": "integer", "minimum": 1, "maximum": 100},
            has_more={"type": "boolean"},
            next_cursor={
                "type": ["string", "null"],
                "description": "Opaque; send it back as `cursor` with the same filter and sort.",
            },
        ),
    )


def nullable(schema: Json) -> Json:
    """This, or null."""
    return {**schema, "type": [schema["type"], "null"]}
