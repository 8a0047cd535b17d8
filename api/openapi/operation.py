"""What can be said of an operation beyond what its route, handler and body model say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from api.openapi.parameters import CURSOR, IF_NONE_MATCH, LIMIT
from coordination.settings import Settings

__all__ = ["JSON", "LIVE", "PUBLIC", "Operation", "Parameter", "json_of", "list_of"]

Json = dict[str, Any]
Parameter = Json | Callable[[Settings], Json]
"""A parameter; where a setting bounds it, what makes it of the settings."""

JSON: Final = "application/json"
PUBLIC: Final = ("ETag", "Cache-Control", "CDN-Cache-Control")
LIVE: Final = ("ETag", "Cache-Control")


@dataclass(frozen=True, slots=True)
class Operation:
    """``answers``: status to the media types and schema of its body, or ``None`` for no body.

    ``problems`` are those beyond what the route implies (401, 403, 429). ``{}`` as a schema
    promises nothing. ``content``: the body where it is no model of ``api.bodies``; ``files``: its
    content by media type, where it is no JSON. ``downloads``: media types that the answer can also
    be had in, as text. ``security``: the ways to authenticate, where they are not what the route
    implies.
    """

    tag: str
    answers: Mapping[int, tuple[str, Json] | None]
    headers: tuple[str, ...] = LIVE
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    is_patch: bool = False
    problems: tuple[int, ...] = ()
    notes: str = ""
    content: Json | None = None
    files: Mapping[str, Json] | None = None
    downloads: tuple[str, ...] = ()
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
