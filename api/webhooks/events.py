"""``/v1/webhooks/events``: what became of what partners sent."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import orjson
from sanic import HTTPResponse

from api.answers import live_answer
from api.context import Call, Web
from api.endpoint import Route
from api.parameters import Parameters, integer, one_of, path_uuid, text
from api.problems import HttpProblem
from api.signatures import Verified, verify, waste_time
from api.webhooks.acting import discard_webhook_events, replay_webhook_events
from api.webhooks.arrival import offered_by
from coordination.errors import DatabaseUnavailable, FieldError, InvalidInput, NotFound
from models.catalog.cursors import digest_of, read_cursor, sign_cursor
from models.partners import partners
from models.webhooks import inspection
from models.webhooks.representation import operators_summary, operators_view, partners_view
from models.webhooks.selection import EventFilter, parse_moment, parse_type
from models.webhooks.states import State

__all__ = ["LIST_PARAMETERS", "ROUTES"]

LIST_PARAMETERS: Final = ("partner", "type", "state", "since", "until", "limit", "cursor")
_PATH: Final = "/v1/webhooks/events"


async def list_webhook_events(web: Web, call: Call) -> HTTPResponse:
    """A page of webhook events, newest first."""
    given = Parameters(call.request.query_string, LIST_PARAMETERS)
    partner = given.read("partner", text(64))
    type_ = given.read("type", parse_type)
    state = given.read("state", one_of(State))
    since = given.read("since", parse_moment)
    until = given.read("until", parse_moment)
    limit = given.read("limit", integer(1, 100)) or 20
    cursor = given.read("cursor", text(2_000))
    if since is not None and until is not None and since > until:
        given.refuse("since", "must not be after until")
    given.check()
    asked = {
        "partner": partner,
        "type": type_,
        "state": state,
        "since": None if since is None else since.isoformat(),
        "until": None if until is None else until.isoformat(),
    }
    digest, secrets = digest_of(orjson.dumps([_PATH, asked])), web.settings.cursor_secret
    after = read_cursor(digest, cursor, secrets)
    wanted = EventFilter(
        partner_id=await _partner_id(web, partner),
        type=type_,
        states=() if state is None else (State(state),),
        since=since,
        until=until,
    )
    page = await inspection.list_events(web.resources.db, wanted, limit=limit, after=after)
    next_cursor = page.next_after and sign_cursor(digest, page.next_after, secrets)
    headers = {}
    if next_cursor is not None:
        target = {**{k: v for k, v in asked.items() if v}, "limit": limit, "cursor": next_cursor}
        headers["link"] = f'<{_PATH}?{urlencode(target)}>; rel="next"'
    document = {
        "data": [operators_summary(event) for event in page.events],
        "page": {
            "limit": limit,
            "has_more": next_cursor is not None,
            "next_cursor": next_cursor,
        },
    }
    return live_answer(call, orjson.dumps(document), headers)


async def get_webhook_event(web: Web, call: Call, receipt: str) -> HTTPResponse:
    """What became of one webhook event."""
    wanted = path_uuid("receipt", receipt)
    Parameters(call.request.query_string, []).check()
    reader = await _reading_partner(web, call, wanted)
    found = await inspection.find(web.resources.db, wanted)
    if found is None or reader not in {None, found.event.partner_id}:
        raise NotFound("There is no webhook event with this receipt.")
    shown = operators_view(found) if reader is None else partners_view(found)
    return live_answer(call, orjson.dumps(shown))


async def _reading_partner(web: Web, call: Call, receipt: UUID) -> int | None:
    """The partner on whose behalf this is asked; ``None`` for an operator. Fails closed.

    Raises 401 alike whether there is such an event or not, 403 for a key that is neither's.
    """
    key = call.key
    if key is None:
        if "authorization" in call.request.headers:
            raise DatabaseUnavailable("The API key could not be verified.")
        return await _signing_partner(web, call, receipt)
    if "ops:read" in key.scopes:
        return None
    if key.partner_id is None:
        raise HttpProblem(
            403, "forbidden", "This API key is no partner's and does not have the scope ops:read."
        )
    return key.partner_id


async def _signing_partner(web: Web, call: Call, receipt: UUID) -> int:
    """The event's own partner, if it signed the request's path as it would sign a body."""
    offered = offered_by(call.request, call.request.path.encode())
    db, settings = web.resources.db, web.settings
    partner_id = await inspection.sender_of(db, receipt)
    sealer = web.sealer
    partner = None if partner_id is None else await partners.get_by_id(db, sealer, partner_id)
    if partner is None or not partner.is_active:
        waste_time(offered)
        raise _unauthorized()
    verdict = verify(
        partner.scheme,
        offered,
        partner.secrets,
        now_s=time.time(),
        tolerance_s=settings.webhook_tolerance_s,
    )
    if not isinstance(verdict, Verified):
        raise _unauthorized()
    return partner.id


async def _partner_id(web: Web, name: str | None) -> int | None:
    if name is None:
        return None
    partner_id = await inspection.partner_id_of(web.resources.db, name)
    if partner_id is None:
        raise InvalidInput([FieldError("parameter", "partner", "there is no such partner")])
    return partner_id


def _unauthorized() -> HttpProblem:
    return HttpProblem(
        401,
        "unauthorized",
        "This needs an API key, or the signature of the partner that sent the event over this path"
        " as the body.",
        {"www-authenticate": 'Bearer realm="farmlokal"'},
    )


ROUTES: Final = (
    Route("GET", _PATH, list_webhook_events, scope="ops:read"),
    Route("POST", f"{_PATH}/replay", replay_webhook_events, scope="ops:write"),
    Route("POST", f"{_PATH}/discard", discard_webhook_events, scope="ops:write"),
    Route("GET", f"{_PATH}/<receipt>", get_webhook_event),
)
