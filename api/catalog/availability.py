"""``/v1/products/{id}/availability``: how much of a product can be had now.

The partner behind it is never asked here, so it can neither delay nor fail an answer.
"""

from __future__ import annotations

from typing import Final

from sanic import HTTPResponse

from api.answers import JSON
from api.context import Call, Web
from api.endpoint import Limited, Route
from api.parameters import Parameters, path_uuid
from models.catalog import products
from models.supply.availability import availability_of

__all__ = ["ROUTES"]


async def get_availability(web: Web, call: Call, product_id: str) -> HTTPResponse:
    """How much of a product can be had now."""
    wanted = path_uuid("product_id", product_id)
    Parameters(call.request.query_string, []).check()
    # Tells whether the product is there, as strictly as its own GET, and brings the default along.
    fetched = await products.fetch_product(web.resources, wanted, call.limit)
    call.saw(fetched)
    if not fetched.answer.found:
        raise products.no_such_product(wanted)
    found = await availability_of(web.resources, wanted, fetched)
    # Kept by nobody: an answer must be as new as it says, and asking is what has it refreshed.
    return HTTPResponse(found.body(), 200, {"cache-control": "no-store"}, JSON)


ROUTES: Final = (
    Route(
        "GET",
        "/v1/products/<product_id>/availability",
        get_availability,
        limited=Limited.WITH_READ,
    ),
)
