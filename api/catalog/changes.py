"""``/v1/products/changes``: the change feed, for mirrors and search indexes.

A request that has read everything may wait for more. It ends with what came, or empty when its time
is over and the database answers, else with the fault; empty at once when the process stops.
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlencode

from sanic import HTTPResponse

from api.answers import JSON
from api.context import Call, Web
from api.endpoint import Route
from api.parameters import Parameters, integer, text
from models.feed import cursors
from models.feed.following import read_end
from models.feed.sharing import Answer, answer_of

__all__ = ["MOST", "PARAMETERS", "ROUTES"]

PARAMETERS: Final = ("since", "limit", "wait")
MOST: Final = 500
_DEFAULT: Final = 100
_NOW: Final = "now"


async def list_product_changes(web: Web, call: Call) -> HTTPResponse:
    """Follow the products: all as they are, then every change in one order."""
    began_at = asyncio.get_running_loop().time()
    given = Parameters(call.request.query_string, PARAMETERS)
    since = given.read("since", text(2_000))
    limit = given.read("limit", integer(1, MOST)) or _DEFAULT
    wait_s = given.read("wait", integer(0, web.settings.effective_changes_wait_s)) or 0
    given.check()
    answer = await _read(web, since, limit, began_at + wait_s)
    again = {"limit": limit, "since": answer.next_cursor, **({"wait": wait_s} if wait_s else {})}
    headers = {
        "cache-control": "no-store",
        "link": f'<{call.request.path}?{urlencode(again)}>; rel="next"',
    }
    return HTTPResponse(answer.body, 200, headers, JSON)


async def _read(web: Web, since: str | None, limit: int, until: float) -> Answer:
    secrets = web.settings.cursor_secret
    if since == _NOW:
        # The cursor is what was asked for: it comes at once, whatever comes after it.
        return answer_of(await read_end(web.resources.db), limit, secrets)
    place = None if since is None else cursors.place_of(since, secrets)
    answer = await web.feed.read(place, limit)
    # What was read so far counts: the request must end before the server's own deadline for it.
    left_s = until - asyncio.get_running_loop().time()
    if place is None or not answer.page.is_at_the_end or left_s <= 0:
        return answer
    if await web.watch.wait(place.after, left_s):
        return await web.feed.read(place, limit)
    return answer


ROUTES: Final = (Route("GET", "/v1/products/changes", list_product_changes),)
