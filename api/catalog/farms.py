"""``/v1/farms`` and ``/v1/farms/{id}``."""

from __future__ import annotations

from typing import Final

from sanic import HTTPResponse

from api.answers import live_answer, public_answer
from api.bodies import FarmCreate, FarmPatch, read_body
from api.catalog.paging import named_page
from api.context import Call, Web
from api.endpoint import Route
from api.idempotent import Reply, Store, idempotent
from api.parameters import Parameters, path_integer
from models.catalog import farms
from models.catalog.farms import Farm
from models.database import Connection

__all__ = ["ROUTES"]

_PATH: Final = "/v1/farms"


async def list_farms(web: Web, call: Call) -> HTTPResponse:
    """A page of farms by name."""
    return await named_page(
        web,
        call,
        _PATH,
        lambda limit, after: farms.list_farms(web.resources, limit=limit, after=after),
    )


async def get_farm(web: Web, call: Call, farm_id: str) -> HTTPResponse:
    """One farm."""
    Parameters(call.request.query_string, []).check()
    found = await farms.get_farm(web.resources, path_integer("farm_id", farm_id))
    return public_answer(call, web.settings, found.as_json())


async def create_farm(web: Web, call: Call) -> HTTPResponse:
    """Create a farm."""
    Parameters(call.request.query_string, []).check()
    given = read_body(call.request, FarmCreate).model_dump(exclude_unset=True)

    def reply(created: Farm) -> Reply:
        return Reply(201, created.as_json(), {"location": f"{_PATH}/{created.id}"})

    async def effect(store: Store) -> Reply:
        async def keep(conn: Connection, created: Farm) -> None:
            await store(conn, reply(created))

        return reply(await farms.create_farm(web.resources, given, in_transaction=keep))

    return await idempotent(web, call, effect)


async def patch_farm(web: Web, call: Call, farm_id: str) -> HTTPResponse:
    """Change a farm by JSON merge patch."""
    wanted = path_integer("farm_id", farm_id)
    Parameters(call.request.query_string, []).check()
    patch = read_body(call.request, FarmPatch, patch=True).model_dump(exclude_unset=True)
    if_match = call.request.headers.get("if-match")
    updated = await farms.update_farm(web.resources, wanted, patch, if_match=if_match)
    return live_answer(call, updated.as_json())


async def delete_farm(web: Web, call: Call, farm_id: str) -> HTTPResponse:
    """Delete a farm that offers nothing."""
    wanted = path_integer("farm_id", farm_id)
    Parameters(call.request.query_string, []).check()
    if_match = call.request.headers.get("if-match")
    await farms.delete_farm(web.resources, wanted, if_match=if_match)
    return HTTPResponse(None, 204, {"cache-control": "no-store"})


ROUTES: Final = (
    Route("GET", _PATH, list_farms),
    Route("POST", _PATH, create_farm, scope="catalog:write"),
    Route("GET", f"{_PATH}/<farm_id>", get_farm),
    Route("PATCH", f"{_PATH}/<farm_id>", patch_farm, scope="catalog:write"),
    Route("DELETE", f"{_PATH}/<farm_id>", delete_farm, scope="catalog:write"),
)
