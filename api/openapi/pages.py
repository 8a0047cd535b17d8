"""``/openapi.json`` and ``/docs``: Swagger UI from an installed package, nothing from elsewhere.

Everything is read and laid out once, when the process opens. Only the files named here are served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from sanic import HTTPResponse

from api.answers import JSON, fixed_answer
from api.context import Call, Web
from api.endpoint import Route
from api.openapi.document import build_document
from api.openapi.parameters import ASSETS
from api.parameters import Parameters
from coordination.cache_entry import strong_etag
from coordination.errors import NotFound
from coordination.settings import Settings

__all__ = ["ROUTES", "Pages", "load_pages"]

_OURS: Final = Path(__file__).parent / "assets"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
}
_SECURITY: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self';"
        " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class File:
    """Bytes ready to send."""

    body: bytes
    media_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class Pages:
    """The document, the page and the page's files by name."""

    document: File
    page: File
    assets: Mapping[str, File]


def load_pages(routes: Iterable[Route], settings: Settings) -> Pages:
    """Read and build everything; done once per process."""
    from openapi_ui_bundles import swagger_ui

    page = (_OURS / "index.html").read_bytes()
    return Pages(
        document=_of(orjson.dumps(build_document(routes, settings)), JSON),
        page=_of(page, "text/html; charset=utf-8"),
        assets={
            name: _file((_OURS if name == "start.js" else swagger_ui.static_path) / name)
            for name in ASSETS
        },
    )


def _file(path: Path) -> File:
    return _of(path.read_bytes(), _TYPES[path.suffix])


def _of(body: bytes, media_type: str) -> File:
    return File(body, media_type, strong_etag(body))


async def openapi_document(web: Web, call: Call) -> HTTPResponse:
    """This document."""
    return _sent(call, web.pages.document, max_age_s=60)


async def docs_page(web: Web, call: Call) -> HTTPResponse:
    """The page for people; it loads nothing from other hosts."""
    return _sent(call, web.pages.page, max_age_s=60)


async def docs_asset(web: Web, call: Call, asset: str) -> HTTPResponse:
    """A file of the page for people."""
    file = web.pages.assets.get(asset)
    if file is None:
        raise NotFound("The documentation has no such file.")
    return _sent(call, file, max_age_s=3_600)


def _sent(call: Call, file: File, *, max_age_s: int) -> HTTPResponse:
    Parameters(call.request.query_string, []).check()
    headers = {**_SECURITY, "cache-control": f"public, max-age={max_age_s}"}
    return fixed_answer(call, file.body, file.etag, headers, file.media_type)


ROUTES: Final = (
    Route("GET", "/openapi.json", openapi_document),
    Route("GET", "/docs", docs_page),
    Route("GET", "/docs/<asset>", docs_asset),
)
