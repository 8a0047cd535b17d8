"""``POST /v1/webhooks/{partner}``: who sent it, has it come before, and is it stored.

The answer 202 means committed. Strangers learn nothing: whatever is wrong with a signature, and
whether there is such a partner at all, the answer is the same. A sender is known by its signature
alone, so an ``Authorization`` header that some proxy adds is not looked at.
"""

from __future__ import annotations

import hashlib
import logging
import time
from typing import Final
from uuid import UUID

import orjson
from sanic import HTTPResponse

from api.answers import JSON
from api.context import Call, Web
from api.credentials import failed_authentication
from api.endpoint import Limited, Route
from api.lanes.passenger import take_up
from api.parameters import Parameters
from api.problems import HttpProblem
from api.signatures import Offered, Reason, Refused, Verified, verify, waste_time
from api.webhooks.arrival import check_media, event_type, offered_by, read_raw
from api.webhooks.outcomes import ACCEPTED, Taken, limit_of
from api.webhooks.receipts import AcceptedResponse
from coordination.errors import ClientFault, Unavailable
from coordination.metrics import WEBHOOKS_RECEIVED, WEBHOOKS_REFUSED
from coordination.rate_limit import RateLimitExceeded
from models.partners.partners import Partner
from models.webhooks import refusals, seen
from models.webhooks.intake import Delivery
from models.webhooks.refusals import Refusal

__all__ = ["ROUTES"]

_NOT_KEPT: Final = "(holds a secret of this partner; not kept)"

_log = logging.getLogger(__name__)


async def receive_webhook(web: Web, call: Call, partner: str) -> HTTPResponse:
    """Take in an event of a partner."""
    taken = take_up(call.request.conn_info, Taken)
    if taken is not None:
        return await _taken_ahead(call, taken)
    boxed = web.penalties.verdict_on(call.limit.client)
    if boxed is not None:
        WEBHOOKS_REFUSED.labels("penalty").inc()
        raise RateLimitExceeded(boxed)
    if call.request.query_string:
        Parameters(call.request.query_string, []).check()
    check_media(call.request)
    body = await read_raw(call.request, web.settings)
    sender, verified = await _authenticated(web, call, partner, body)
    call.log_extra["partner"] = sender.name
    try:
        return await _taken_in(web, call, sender, verified, body)
    except (ClientFault, Unavailable) as error:
        # Its signature is good, and yet it is not taken in.
        WEBHOOKS_RECEIVED.labels(_outcome_of(error)).inc()
        raise


async def _taken_ahead(call: Call, taken: Taken) -> HTTPResponse:
    """Answer what the lane took in, and what did not become a plain 202."""
    # Answers of 4xx and 5xx, too, are sent when the body has been read.
    await call.request.receive_body()  # type: ignore[no-untyped-call]  # Sanic leaves it so
    call.limiter_asked, call.verdict = True, taken.verdict
    call.log_extra["partner"] = taken.sender.name
    if taken.error is not None:
        if isinstance(taken.error, ClientFault | Unavailable):
            WEBHOOKS_RECEIVED.labels(_outcome_of(taken.error)).inc()
        raise taken.error
    digest = hashlib.sha256(taken.body).digest()
    if taken.seen is not None:
        same_body = taken.seen.has_body(digest)
        return _repeated(call, taken.seen.receipt, taken.verified, same_body=same_body)
    if taken.stored is None:
        raise RuntimeError("A delivery left the lane without an outcome.")
    return _repeated(call, taken.stored.receipt, taken.verified, same_body=taken.stored.same_body)


async def _taken_in(
    web: Web, call: Call, sender: Partner, verified: Verified, body: bytes
) -> HTTPResponse:
    call.limiter_asked = True
    call.verdict, known = await seen.admit(
        web.resources.limiter, limit_of(web.settings, sender), sender.name, verified.dedup_key
    )
    digest = hashlib.sha256(body).digest()
    if known is not None:
        return _repeated(call, known.receipt, verified, same_body=known.has_body(digest))
    stored = await web.intake.accept(
        Delivery(
            partner_id=sender.id,
            dedup_key=verified.dedup_key,
            label=verified.label,
            type=event_type(body),
            payload=body,
            body_digest=digest,
            request_id=call.request_id,
            partner=sender.name,
        )
    )
    if not stored.is_new:
        return _repeated(call, stored.receipt, verified, same_body=stored.same_body)
    ACCEPTED.add()
    receipt = call.log_extra["receipt"] = str(stored.receipt)
    return AcceptedResponse(receipt)


async def _authenticated(web: Web, call: Call, name: str, body: bytes) -> tuple[Partner, Verified]:
    """Who sent it. Fails closed; raises the one 401, or ``RateLimitExceeded`` after too many."""
    found = web.partners.at_hand(name) or await web.partners.find(name)
    offered = offered_by(call.request, body)
    if found is None or not found.is_active:
        waste_time(offered)
        reason = Reason.UNKNOWN_PARTNER if found is None else Reason.INACTIVE_PARTNER
        raise await _refusal(web, call, found, offered, reason)
    verdict = verify(
        found.scheme,
        offered,
        found.secrets,
        now_s=time.time(),
        tolerance_s=web.settings.webhook_tolerance_s,
    )
    if isinstance(verdict, Refused):
        raise await _refusal(web, call, found, offered, verdict.reason)
    web.partners.matched(verdict.secret_id)
    return found, verdict


async def _refusal(
    web: Web, call: Call, found: Partner | None, offered: Offered, reason: Reason
) -> HttpProblem:
    """Count it against the address, keep it for operators; the problem that tells nothing."""
    WEBHOOKS_REFUSED.labels(reason.value).inc()
    call.log_extra["refused"] = reason.value
    call.limiter_asked = True
    try:
        call.verdict = await web.resources.limiter.check(failed_authentication(web, call))
    except RateLimitExceeded as error:
        web.penalties.put(call.limit.client, error.verdict)
        raise
    finally:
        # Last, so that its work begins after the answer and does not tell who is a partner.
        if found is not None:
            call.log_extra["partner"] = found.name
            await refusals.note(
                web.resources.plane, found.name, _kept(call, found, offered, reason)
            )
    return HttpProblem(
        401,
        "unauthorized",
        "This delivery does not carry a valid signature of a partner.",
        {"www-authenticate": 'Signature realm="farmlokal"'},
    )


def _kept(call: Call, sender: Partner, offered: Offered, reason: Reason) -> Refusal:
    """What operators may see of it. Beginners send their secret in place of a signature."""
    secrets = {secret.value for secret in sender.secrets}
    secrets |= {secret.removeprefix("whsec_") for secret in secrets}
    headers = {
        name: [_NOT_KEPT if any(s in value for s in secrets) else value for value in values]
        for name, values in offered.headers.items()
    }
    return Refusal(
        reason=reason.value,
        received_at_s=time.time(),
        request_id=call.request_id,
        headers=headers,
        body=offered.body,
        body_bytes=len(offered.body),
    )


def _outcome_of(error: ClientFault | Unavailable) -> str:
    if isinstance(error, RateLimitExceeded):
        return "limited"
    return "invalid" if isinstance(error, ClientFault) else "unavailable"


def _repeated(call: Call, receipt: UUID, verified: Verified, *, same_body: bool) -> HTTPResponse:
    WEBHOOKS_RECEIVED.labels("duplicate" if same_body else "altered").inc()
    if not same_body:
        _log.warning(
            "A delivery was repeated with another body; the first one stands",
            extra={**call.log_extra, "receipt": str(receipt), "dedup_key": verified.dedup_key},
        )
    text = call.log_extra["receipt"] = str(receipt)
    headers = {"location": f"/v1/webhooks/events/{text}", "cache-control": "no-store"}
    return HTTPResponse(orjson.dumps({"receipt": text, "duplicate": True}), 200, headers, JSON)


ROUTES: Final = (
    Route(
        "POST",
        "/v1/webhooks/<partner>",
        receive_webhook,
        limited=Limited.BY_HANDLER,
        is_streamed=True,
    ),
)
