"""``/v1/imports``: what became of each import, and cancelling one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode

import orjson
from sanic import HTTPResponse

from api.answers import live_answer
from api.context import Call, Web
from api.endpoint import Route
from api.parameters import Parameters, integer, one_of, path_uuid, text
from coordination.errors import NotFound
from models.catalog.cursors import digest_of, read_cursor, sign_cursor
from models.imports import inspection
from models.imports.cancelling import cancel
from models.imports.imports import Import
from models.imports.representation import job_view
from models.imports.stages import Stage

__all__ = ["LIST_PARAMETERS", "ROUTES", "find_import"]

LIST_PARAMETERS: Final = ("state", "limit", "cursor")
_PATH: Final = "/v1/imports"


async def list_imports(web: Web, call: Call) -> HTTPResponse:
    """A page of imports, newest first."""
    given = Parameters(call.request.query_string, LIST_PARAMETERS)
    state = given.read("state", one_of(Stage))
    limit = given.read("limit", integer(1, 100)) or 20
    cursor = given.read("cursor", text(2_000))
    given.check()
    digest, secrets = digest_of(orjson.dumps([_PATH, state])), web.settings.cursor_secret
    page = await inspection.list_imports(
        web.resources.db,
        stage=None if state is None else Stage(state),
        limit=limit,
        after=read_cursor(digest, cursor, secrets),
    )
    next_cursor = page.next_after and sign_cursor(digest, page.next_after, secrets)
    headers = {}
    if next_cursor is not None:
        asked = {"state": state} if state else {}
        target = urlencode({**asked, "limit": limit, "cursor": next_cursor})
        headers["link"] = f'<{_PATH}?{target}>; rel="next"'
    now = datetime.now(UTC)
    document = {
        "data": [job_view(found, now) for found in page.imports],
        "page": {
            "limit": limit,
            "has_more": next_cursor is not None,
            "next_cursor": next_cursor,
        },
    }
    return live_answer(call, orjson.dumps(document), headers)


async def get_import(web: Web, call: Call, import_id: str) -> HTTPResponse:
    """What became of one import."""
    found = await find_import(web, call, import_id)
    return live_answer(call, orjson.dumps(job_view(found, datetime.now(UTC))))


async def cancel_import(web: Web, call: Call, import_id: str) -> HTTPResponse:
    """Cancel an import; what it applied by then stays."""
    wanted = path_uuid("import_id", import_id)
    Parameters(call.request.query_string, []).check()
    cancelled = await cancel(web.resources, wanted)
    document = job_view(cancelled, datetime.now(UTC))
    return live_answer(call, orjson.dumps(document), status=202)


async def find_import(
    web: Web, call: Call, import_id: str, parameters: Parameters | None = None
) -> Import:
    """The import that the path names. Raises ``InvalidInput``, ``NotFound``."""
    wanted = path_uuid("import_id", import_id)
    (parameters or Parameters(call.request.query_string, [])).check()
    found = await inspection.find(web.resources.db, wanted)
    if found is None:
        raise NotFound("There is no import with this id.")
    return found


ROUTES: Final = (
    Route("GET", _PATH, list_imports, scope="catalog:write"),
    Route("GET", f"{_PATH}/<import_id>", get_import, scope="catalog:write"),
    Route("DELETE", f"{_PATH}/<import_id>", cancel_import, scope="catalog:write"),
)
