"""The app: every operation, and what happens to requests that match none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, Final

from sanic import HTTPResponse, Request, Sanic
from sanic.compat import Header
from sanic.config import Config
from sanic.exceptions import BadRequest

from api import health, metrics
from api.catalog import availability, categories, changes, farms, products
from api.context import Web
from api.endpoint import Limited, Route, serve, serve_fault
from api.imports import faults, jobs, uploading
from api.openapi import pages
from api.unread import answer_first, receive_rest
from api.webhooks import events, receiving
from coordination.settings import Settings

__all__ = ["ROUTES", "create_app"]

ROUTES: Final[tuple[Route, ...]] = (
    *products.ROUTES,
    *availability.ROUTES,
    *changes.ROUTES,
    *categories.ROUTES,
    *farms.ROUTES,
    *uploading.ROUTES,
    *jobs.ROUTES,
    *faults.ROUTES,
    *events.ROUTES,
    *receiving.ROUTES,
    Route("GET", "/health/live", health.live, limited=Limited.NEVER),
    Route("GET", "/health/ready", health.ready, limited=Limited.NEVER),
    Route("GET", "/metrics", metrics.metrics, limited=Limited.NEVER),
    *pages.ROUTES,
)


def create_app(web: Web, name: str = "farmlokal") -> Sanic[Any, Any]:
    """Wire the operations to ``web``. ``name`` must be unique within a process."""
    app: Sanic[Any, Any] = Sanic(
        name,
        config=_config(web.settings),
        configure_logging=False,
        dumps=None,
        request_class=_Request,
        strict_slashes=True,
    )
    by_path: dict[str, dict[str, Route]] = defaultdict(dict)
    for route in ROUTES:
        by_path[route.path][route.method] = route
        if route.method == "GET":
            by_path[route.path]["HEAD"] = route
    for path, routes in by_path.items():
        app.add_route(
            _handler(web, routes),
            path,
            methods=list(routes),
            name=_name(path),
            stream=any(route.is_streamed for route in routes.values()),
        )

    async def refuse(request: Request, error: Exception) -> HTTPResponse:
        return await serve_fault(web, request, error)

    app.error_handler.add(Exception, refuse)
    return app


class _Request(Request):
    """A request that can be made up after its URL was found to be unreadable.

    Sanic answers such a fault by a request without a method, made from the same URL, which fails
    again: the client gets no answer and the log a stack trace.
    """

    def __init__(
        self, url_bytes: bytes, headers: Header, version: str, method: str, *args: Any, **rest: Any
    ) -> None:
        try:
            super().__init__(url_bytes, headers, version, method, *args, **rest)
        except BadRequest:
            if method != "NONE":
                raise
            super().__init__(b"*", headers, version, method, *args, **rest)


def _handler(
    web: Web, routes: dict[str, Route]
) -> Callable[..., Coroutine[Any, Any, HTTPResponse | None]]:
    most_bytes = web.settings.request_max_bytes
    # Sanic knows streamed paths only: the other methods of such a path want their bodies whole.
    is_streamed = any(route.is_streamed for route in routes.values())

    async def handle(request: Request, **values: Any) -> HTTPResponse | None:
        route = routes[request.method]
        if is_streamed and not route.is_streamed:
            await receive_rest(request, most_bytes)
        response = await serve(web, route, request, values)
        if is_streamed and await answer_first(request, response, most_bytes):
            return None
        return response

    return handle


def _name(path: str) -> str:
    return path.strip("/").replace("/", "_").replace("<", "").replace(">", "")


def _config(settings: Settings) -> Config:
    config = Config()
    config.update(
        {
            "ACCESS_LOG": False,
            "AUTO_EXTEND": False,
            "FALLBACK_ERROR_FORMAT": "json",
            "KEEP_ALIVE_TIMEOUT": 75,
            "MOTD": False,
            "REQUEST_MAX_SIZE": settings.request_max_bytes,
            "REQUEST_MAX_HEADER_SIZE": 16_384,
            "REQUEST_TIMEOUT": settings.request_timeout_s,
            "RESPONSE_TIMEOUT": settings.request_timeout_s,
        }
    )
    return config
