"""What the operation on the change feed takes and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api.catalog.changes import MOST
from api.openapi.operation import Operation, json_of
from coordination.settings import Settings

__all__ = ["CHANGE_OPERATIONS"]

Json = dict[str, Any]


def _query(name: str, schema: Json, description: str) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }


def _wait(settings: Settings) -> Json:
    return _query(
        "wait",
        {
            "type": "integer",
            "minimum": 0,
            "maximum": settings.effective_changes_wait_s,
            "default": 0,
        },
        "Seconds to wait for a change when there is none; then the page is empty.",
    )


CHANGE_OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", "/v1/products/changes"): Operation(
        "products",
        {200: json_of("ProductChangePage")},
        ("Cache-Control", "Link"),
        (
            _query(
                "since",
                {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "minLength": 1}
                | {"maxLength": 2_000, "examples": ["now"]},
                "The `page.next_cursor` of the page before. Without it all products come first;"
                " `now` answers with nothing but a cursor at the present end.",
            ),
            _query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MOST, "default": 100},
                "How many to return at most; fewer where products are large: go by `has_more`.",
            ),
            _wait,
        ),
        problems=(400, 410, 503),
        notes="Every create, update and delete, in one order that is the same for everybody and"
        " keeps the order of each product's changes; none is left out. Read on from"
        " `page.next_cursor`, which is always there. Without `since` the walk begins with a"
        " snapshot (`current`), so a mirror needs no other call to start or, after 410, to start"
        " anew.",
    ),
}
