"""What is answered about webhooks, as JSON schemas."""

from __future__ import annotations

from typing import Any, Final

from api.openapi.shapes import TIMESTAMP, nullable, object_of, page_of
from models.webhooks.operations import Refusal
from models.webhooks.states import DeadReason, State

__all__ = ["WEBHOOK_SCHEMAS"]

Json = dict[str, Any]

_RECEIPT: Final[Json] = {"type": "string", "format": "uuid"}
_STATE: Final[Json] = {"type": "string", "enum": [state.value for state in State]}
_TEXT: Final[Json] = {"type": "string"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_FACTS: Final[dict[str, Json]] = {
    "receipt": _RECEIPT,
    "partner": _TEXT,
    "type": _TEXT,
    "state": _STATE,
    "reason": {
        **nullable(_TEXT),
        "description": f"Why it is dead: {', '.join(reason.value for reason in DeadReason)}.",
    },
    "attempts": _COUNT,
    "received_at": TIMESTAMP,
    "next_attempt_at": {
        **nullable(TIMESTAMP),
        "description": "When it is tried next, while it is pending and no worker is at it.",
    },
    "finished_at": nullable(TIMESTAMP),
    "last_error": nullable(_TEXT),
}
_FOR_OPERATORS: Final[dict[str, Json]] = {
    "is_running": {"type": "boolean", "description": "A worker is at it."},
    "has_payload": {"type": "boolean", "description": "Its payload has not been purged."},
    "dedup_key": {**_TEXT, "description": "By which a repeated delivery is recognised."},
    "label": {**nullable(_TEXT), "description": "The sender's own id, where it is not signed."},
    "request_id": {**nullable(_TEXT), "description": "Of the delivery, as in the logs."},
}
_PAYLOAD: Final[Json] = {
    "description": "For operators: the event's body as it came, or its text if it is no JSON; null"
    " once it is purged."
}
_ENTRY: Final = object_of(
    "WebhookEventEntry",
    optional=("actor",),
    at=TIMESTAMP,
    kind={
        **_TEXT,
        "description": "`received`, an attempt's outcome, `replayed`, `discarded` or a state.",
    },
    detail=nullable(_TEXT),
    actor={**_TEXT, "description": "For operators: who did it."},
)
_OUTCOME: Final[dict[str, Json]] = {
    "receipt": _RECEIPT,
    "was": {"type": ["string", "null"], "enum": [*_STATE["enum"], None]},
    "now": {"type": ["string", "null"], "enum": [*_STATE["enum"], None]},
    "refused": {
        "type": ["string", "null"],
        "enum": [*(refusal.value for refusal in Refusal), None],
        "description": "Why nothing was done to it; null when it was.",
    },
}
_HAS_MORE: Final[Json] = {
    "type": "boolean",
    "description": "The filter matches further events.",
}
_ROW: Final[Json] = {"type": ["object", "null"], "additionalProperties": True}
_REHEARSED: Final = object_of(
    "WebhookRehearsed",
    receipt=_RECEIPT,
    was=_OUTCOME["was"],
    refused=_OUTCOME["refused"],
    becomes={**_OUTCOME["now"], "description": "Its state after the replay."},
    reason=nullable(_TEXT),
    error=nullable(_TEXT),
    changes={
        "type": "array",
        "items": object_of(
            "WebhookRowChange",
            table={"type": "string", "enum": ["products", "categories", "farms"]},
            key=_TEXT,
            before=_ROW,
            after=_ROW,
        ),
    },
)

WEBHOOK_SCHEMAS: Final[dict[str, Json]] = {
    "WebhookStored": object_of(
        "WebhookStored",
        receipt=_RECEIPT,
        state={"const": "pending"},
        duplicate={"const": False},
    ),
    "WebhookRepeated": object_of("WebhookRepeated", receipt=_RECEIPT, duplicate={"const": True}),
    "WebhookEvent": object_of(
        "WebhookEvent",
        optional=(*_FOR_OPERATORS, "payload"),
        **_FACTS,
        **_FOR_OPERATORS,
        timeline={"type": "array", "items": _ENTRY, "minItems": 1},
        payload=_PAYLOAD,
    ),
    "WebhookEventSummary": object_of("WebhookEventSummary", **_FACTS, **_FOR_OPERATORS),
    "WebhookEventSummaryPage": page_of("WebhookEventSummary"),
    "WebhookReport": object_of(
        "WebhookReport",
        data={
            "type": "array",
            "items": object_of("WebhookOutcome", **_OUTCOME),
            "maxItems": 500,
        },
        changed=_COUNT,
        refused=_COUNT,
        has_more=_HAS_MORE,
    ),
    "WebhookRehearsal": object_of(
        "WebhookRehearsal",
        dry_run={"const": True},
        data={"type": "array", "items": _REHEARSED, "maxItems": 500},
        refused=_COUNT,
        has_more=_HAS_MORE,
    ),
}
