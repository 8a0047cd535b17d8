"""``/v1/categories`` and ``/v1/categories/{slug}``."""

from __future__ import annotations

from typing import Final

from sanic import HTTPResponse

from api.answers import live_answer, public_answer
from api.bodies import CategoryCreate, CategoryPatch, read_body
from api.catalog.paging import named_page
from api.context import Call, Web
from api.endpoint import Route
from api.idempotent import Reply, Store, idempotent
from api.parameters import Parameters, path_slug
from models.catalog import categories
from models.catalog.categories import Category
from models.database import Connection

__all__ = ["ROUTES"]

_PATH: Final = "/v1/categories"


async def list_categories(web: Web, call: Call) -> HTTPResponse:
    """A page of categories by name."""
    return await named_page(
        web,
        call,
        _PATH,
        lambda limit, after: categories.list_categories(web.resources, limit=limit, after=after),
    )


async def get_category(web: Web, call: Call, slug: str) -> HTTPResponse:
    """One category."""
    Parameters(call.request.query_string, []).check()
    found = await categories.get_category(web.resources, path_slug("slug", slug))
    return public_answer(call, web.settings, found.as_json())


async def create_category(web: Web, call: Call) -> HTTPResponse:
    """Create a category."""
    Parameters(call.request.query_string, []).check()
    given = read_body(call.request, CategoryCreate).model_dump(exclude_unset=True)

    def reply(created: Category) -> Reply:
        return Reply(201, created.as_json(), {"location": f"{_PATH}/{created.slug}"})

    async def effect(store: Store) -> Reply:
        async def keep(conn: Connection, created: Category) -> None:
            await store(conn, reply(created))

        return reply(await categories.create_category(web.resources, given, in_transaction=keep))

    return await idempotent(web, call, effect)


async def patch_category(web: Web, call: Call, slug: str) -> HTTPResponse:
    """Change a category by JSON merge patch."""
    wanted = path_slug("slug", slug)
    Parameters(call.request.query_string, []).check()
    patch = read_body(call.request, CategoryPatch, patch=True).model_dump(exclude_unset=True)
    if_match = call.request.headers.get("if-match")
    updated = await categories.update_category(web.resources, wanted, patch, if_match=if_match)
    return live_answer(call, updated.as_json())


async def delete_category(web: Web, call: Call, slug: str) -> HTTPResponse:
    """Delete a category that nothing belongs to."""
    wanted = path_slug("slug", slug)
    Parameters(call.request.query_string, []).check()
    if_match = call.request.headers.get("if-match")
    await categories.delete_category(web.resources, wanted, if_match=if_match)
    return HTTPResponse(None, 204, {"cache-control": "no-store"})


ROUTES: Final = (
    Route("GET", _PATH, list_categories),
    Route("POST", _PATH, create_category, scope="catalog:write"),
    Route("GET", f"{_PATH}/<slug>", get_category),
    Route("PATCH", f"{_PATH}/<slug>", patch_category, scope="catalog:write"),
    Route("DELETE", f"{_PATH}/<slug>", delete_category, scope="catalog:write"),
)
