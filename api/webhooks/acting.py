"""``POST /v1/webhooks/events/replay`` and ``.../discard``: what operators do to events."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import orjson
from sanic import HTTPResponse

from api.answers import live_answer
from api.bodies import WebhookDiscard, WebhookFilter, WebhookReplay, read_body
from api.context import Call, Web
from api.idempotent import Reply, Store, idempotent
from api.parameters import Parameters
from coordination.errors import FieldError, InvalidInput
from models.database import Connection
from models.webhooks import inspection, operations
from models.webhooks.choosing import Action, Chosen, choose, choose_receipts
from models.webhooks.operations import Report
from models.webhooks.rehearsal import rehearse
from models.webhooks.representation import rehearsal_view, report_view
from models.webhooks.selection import EventFilter, parse_moment
from models.webhooks.states import State

__all__ = ["discard_webhook_events", "replay_webhook_events"]

_EITHER: Final = "name either receipts or a filter"


async def replay_webhook_events(web: Web, call: Call) -> HTTPResponse:
    """Work on webhook events again."""
    Parameters(call.request.query_string, []).check()
    body = read_body(call.request, WebhookReplay)
    _check(body)
    if body.dry_run:
        chosen = await _chosen(web, Action.REPLAY, body)
        rehearsed = await rehearse(web.resources, chosen)
        return live_answer(call, orjson.dumps(rehearsal_view(rehearsed)))
    return await _act(web, call, Action.REPLAY, body)


async def discard_webhook_events(web: Web, call: Call) -> HTTPResponse:
    """Never apply webhook events."""
    Parameters(call.request.query_string, []).check()
    body = read_body(call.request, WebhookDiscard)
    _check(body)
    return await _act(web, call, Action.DISCARD, body)


async def _act(web: Web, call: Call, action: Action, body: WebhookDiscard) -> HTTPResponse:
    async def effect(store: Store) -> Reply:
        async def keep(conn: Connection, report: Report) -> None:
            await store(conn, _reply(report))

        report = await operations.act(
            web.resources,
            action,
            await _chosen(web, action, body),
            actor=_actor(call),
            note=body.note,
            hook=keep,
        )
        return _reply(report)

    return await idempotent(web, call, effect)


def _reply(report: Report) -> Reply:
    return Reply(200, orjson.dumps(report_view(report)))


def _actor(call: Call) -> str:
    return "unknown" if call.key is None else f"key:{call.key.id} {call.key.name}"


def _check(body: WebhookDiscard) -> None:
    """Raises ``InvalidInput`` for what only looks well-formed."""
    if (body.receipts is None) == (body.filter is None):
        place = "/receipts" if body.receipts is None else "/filter"
        raise InvalidInput([FieldError("pointer", place, _EITHER)])
    wanted = body.filter
    if wanted is None:
        return
    if not wanted.model_dump(exclude_none=True):
        # Everything at once is worth a word: state is enough.
        raise InvalidInput([FieldError("pointer", "/filter", "must name at least one condition")])
    if wanted.since and wanted.until and parse_moment(wanted.since) > parse_moment(wanted.until):
        raise InvalidInput([FieldError("pointer", "/filter/since", "must not be after until")])


async def _chosen(web: Web, action: Action, body: WebhookDiscard) -> Chosen:
    db = web.resources.db
    if body.filter is None:
        return await choose_receipts(db, [UUID(receipt) for receipt in body.receipts or ()])
    return await choose(db, action, await _filter(web, action, body.filter))


async def _filter(web: Web, action: Action, body: WebhookFilter) -> EventFilter:
    partner_id = None
    if body.partner is not None:
        partner_id = await inspection.partner_id_of(web.resources.db, body.partner)
        if partner_id is None:
            raise InvalidInput(
                [FieldError("pointer", "/filter/partner", "there is no such partner")]
            )
    if body.state is not None and State(body.state) not in action.takes:
        detail = f"must be one of {', '.join(action.takes)}"
        raise InvalidInput([FieldError("pointer", "/filter/state", detail)])
    return EventFilter(
        partner_id=partner_id,
        type=body.type,
        states=() if body.state is None else (State(body.state),),
        since=None if body.since is None else parse_moment(body.since),
        until=None if body.until is None else parse_moment(body.until),
    )
