"""What the operations on webhooks take and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api import bodies
from api.openapi.operation import JSON, LIVE, Operation, json_of, list_of
from api.openapi.parameters import EVENT_FILTERS, IDEMPOTENCY_KEY, IF_NONE_MATCH
from api.openapi.shapes import reference
from api.openapi.webhook_payloads import EVENT_BODY

__all__ = ["WEBHOOK_OPERATIONS"]

Json = dict[str, Any]

_TAG: Final = "webhooks"
_ACTED: Final = (*LIVE, "Idempotent-Replayed")
_BODY_PROBLEMS: Final = (400, 409, 413, 415, 422, 503)

WEBHOOK_OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/v1/webhooks/{partner}"): Operation(
        _TAG,
        {200: json_of("WebhookRepeated"), 202: json_of("WebhookStored")},
        ("Location", "Cache-Control"),
        problems=(400, 408, 413, 415, 422, 503),
        notes="202 means that the event is stored and will be worked on; 200 that it came before."
        " The signature is over the raw body; it fails alike for every reason. An event of another"
        " type than these is stored, too, and waits until that type is known.",
        content=EVENT_BODY,
        security=({"signature": []},),
    ),
    ("GET", "/v1/webhooks/events"): list_of(_TAG, "WebhookEventSummaryPage", LIVE, *EVENT_FILTERS),
    ("GET", "/v1/webhooks/events/{receipt}"): Operation(
        _TAG,
        {200: json_of("WebhookEvent"), 304: None},
        LIVE,
        (IF_NONE_MATCH,),
        problems=(400, 403, 404, 503),
        notes="For the partner that sent it, by its own key or by signing this path as it would"
        " sign a body; and for operators (`ops:read`), who see more.",
        security=({"apiKey": []}, {"signature": []}),
    ),
    ("POST", "/v1/webhooks/events/replay"): Operation(
        _TAG,
        {200: (JSON, {"oneOf": [reference("WebhookReport"), reference("WebhookRehearsal")]})},
        _ACTED,
        (IDEMPOTENCY_KEY,),
        bodies.WebhookReplay,
        problems=_BODY_PROBLEMS,
        notes="Dead, parked, discarded and superseded events, from their first attempt. An event"
        " that cannot be replayed is refused and stops no other. By filter the oldest come first,"
        " up to 500 a call. With `dry_run` the answer tells what would become of each and which"
        " rows would change, and everything is rolled back.",
    ),
    ("POST", "/v1/webhooks/events/discard"): Operation(
        _TAG,
        {200: json_of("WebhookReport")},
        _ACTED,
        (IDEMPOTENCY_KEY,),
        bodies.WebhookDiscard,
        problems=_BODY_PROBLEMS,
        notes="Dead and parked events, and pending ones that no worker is at. As for replaying.",
    ),
}
