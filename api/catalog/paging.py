"""Pages of categories and farms, which are listed by name and read from the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar
from urllib.parse import urlencode

import orjson
from sanic import HTTPResponse

from api.answers import public_answer
from api.context import Call, Web
from api.parameters import Parameters, integer, text
from models.catalog.by_name import Page, Position
from models.catalog.cursors import digest_of, read_cursor, sign_cursor

__all__ = ["named_page"]


class Shown(Protocol):
    """What has a representation."""

    @property
    def id(self) -> int:
        """Its id."""

    @property
    def name(self) -> str:
        """Its name."""

    def as_json(self) -> bytes:
        """Its representation."""


S = TypeVar("S", bound=Shown)


async def named_page(
    web: Web, call: Call, path: str, read: Callable[[int, Position | None], Awaitable[Page[S]]]
) -> HTTPResponse:
    """Answer ``limit`` and ``cursor`` of a list; ``read`` takes the limit and the position."""
    given = Parameters(call.request.query_string, ["limit", "cursor"])
    limit = given.read("limit", integer(1, 100)) or 20
    cursor = given.read("cursor", text(2_000))
    given.check()
    digest, secrets = digest_of(path.encode()), web.settings.cursor_secret
    page = await read(limit, read_cursor(digest, cursor, secrets))
    next_cursor = page.next_after and sign_cursor(digest, page.next_after, secrets)
    body = orjson.dumps(
        {
            "data": [orjson.Fragment(item.as_json()) for item in page.items],
            "page": {
                "limit": limit,
                "has_more": next_cursor is not None,
                "next_cursor": next_cursor,
            },
        }
    )
    headers = {}
    if next_cursor is not None:
        target = urlencode({"limit": limit, "cursor": next_cursor})
        headers["link"] = f'<{path}?{target}>; rel="next"'
    return public_answer(call, web.settings, body, headers)
