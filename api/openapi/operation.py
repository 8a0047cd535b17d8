"""What can be said of an operation beyond what its route, handler and body model say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from api.openapi.parameters import CURSOR, IF_NONE_MATCH, LIMIT

__all__ = ["JSON", "LIVE", "PUBLIC", "Operation", "json_of", "list_of"]

Json = dict[str, Any]

JSON: Final = "application/json"
PUBLIC: Final = ("ETag", "Cache-Control", "CDN-Cache-Control")
LIVE: Final = ("ETag", "Cache-Control")


@dataclass(frozen=True, slots=True)
class Operation:
    """``answers``: status to the media types and schema of its body, or ``None`` for no body.

    ``problems`` are those beyond what the route implies (401, 403, 429). ``{}`` as a schema
    promises nothing. ``content``: the body where it is no model of ``api.bodies``. ``security``:
    the ways to authenticate, where they are not what the route implies.
    """

    tag: str
    answers: Mapping[int, tuple[str, Json] | None]
    headers: tuple[str, ...] = LIVE
    parameters: tuple[Json, ...] = ()
    body: type[BaseModel] | None = None
    is_patch: bool = False
    problems: tuple[int, ...] = ()
    notes: str = ""
    content: Json | None = None
    security: tuple[Json, ...] | None = None


def json_of(name: str) -> tuple[str, Json]:
    """An answer in JSON of the schema with this name."""
    return JSON, {"$ref": f"#/components/schemas/{name}"}


def list_of(tag: str, name: str, headers: tuple[str, ...], *filters: Json) -> Operation:
    """A page of what is listed; ``name`` is its schema."""
    return Operation(
        tag,
        {200: json_of(name), 304: None},
        (*headers, "Link"),
        (*filters, LIMIT, CURSOR, IF_NONE_MATCH),
        problems=(400, 503),
    )
