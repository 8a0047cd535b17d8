"""``/v1/imports/{id}/errors``: what is wrong with an import's rows, in pages or as a file."""

from __future__ import annotations

import csv
import io
from typing import Final
from urllib.parse import urlencode

import orjson
from sanic import HTTPResponse

from api.answers import fixed_answer, live_answer
from api.context import Call, Web
from api.endpoint import Route
from api.imports.jobs import find_import
from api.parameters import Parameters, integer, one_of, text
from coordination.cache_entry import strong_etag
from models.catalog.cursors import digest_of, read_cursor, sign_cursor
from models.imports import inspection
from models.imports.fault_table import FAULT_HEADINGS, fault_cells
from models.imports.imports import Import
from models.imports.representation import fault_view

__all__ = ["FAULT_PARAMETERS", "ROUTES"]

FAULT_PARAMETERS: Final = ("format", "limit", "cursor")
_CSV: Final = "text/csv; charset=utf-8; header=present"
_FORMATS: Final = ("json", "csv")


async def list_import_errors(web: Web, call: Call, import_id: str) -> HTTPResponse:
    """What is wrong with an import's rows, in order of row."""
    given = Parameters(call.request.query_string, FAULT_PARAMETERS)
    format_ = given.read("format", one_of(_FORMATS))
    limit = given.read("limit", integer(1, 100))
    cursor = given.read("cursor", text(2_000))
    if format_ == "csv":
        for name, value in (("limit", limit), ("cursor", cursor)):
            if value is not None:
                given.refuse(name, "is for JSON only: the file holds all errors")
    found = await find_import(web, call, import_id, given)
    if format_ == "csv":
        return await _download(web, call, found)
    return await _page(web, call, found, limit or 20, cursor)


async def _page(
    web: Web, call: Call, found: Import, limit: int, cursor: str | None
) -> HTTPResponse:
    path = f"/v1/imports/{found.public_id}/errors"
    digest, secrets = digest_of(path.encode()), web.settings.cursor_secret
    after = read_cursor(digest, cursor, secrets)
    page = await inspection.list_faults(web.resources.db, found.id, limit=limit, after=after)
    next_cursor = page.next_after and sign_cursor(digest, page.next_after, secrets)
    headers = {}
    if next_cursor is not None:
        target = urlencode({"limit": limit, "cursor": next_cursor})
        headers["link"] = f'<{path}?{target}>; rel="next"'
    document = {
        "data": [fault_view(fault) for _, fault in page.faults],
        "page": {
            "limit": limit,
            "has_more": next_cursor is not None,
            "next_cursor": next_cursor,
        },
    }
    return live_answer(call, orjson.dumps(document), headers)


async def _download(web: Web, call: Call, found: Import) -> HTTPResponse:
    """All that are kept, as one file: ``IMPORT_FAULTS_KEPT`` bounds it."""
    written = io.StringIO(newline="")
    lines = csv.writer(written)
    lines.writerow(FAULT_HEADINGS)
    async for faults in inspection.iterate_faults(web.resources.db, found.id):
        lines.writerows(fault_cells(fault) for fault in faults)
    body = written.getvalue().encode()
    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="import-{found.public_id}-errors.csv"',
    }
    return fixed_answer(call, body, strong_etag(body), headers, _CSV)


ROUTES: Final = (
    Route("GET", "/v1/imports/<import_id>/errors", list_import_errors, scope="catalog:write"),
)
