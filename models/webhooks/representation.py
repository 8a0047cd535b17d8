"""An event as JSON: what its partner may read, and what operators read besides.

A partner does not learn who acted on its event or what they noted, only that and when it was done.
"""

from __future__ import annotations

from datetime import datetime

import orjson

from models.fields import to_column
from models.webhooks.inspection import Entry, Event, Found
from models.webhooks.operations import Outcome, Report
from models.webhooks.previewing import RowChange
from models.webhooks.rehearsal import Rehearsal, Rehearsed

__all__ = [
    "operators_summary",
    "operators_view",
    "outcome_view",
    "partners_view",
    "rehearsal_view",
    "rehearsed_view",
    "report_view",
    "timestamp",
]

Json = dict[str, object]


def partners_view(found: Found) -> Json:
    """The event for the partner that sent it."""
    own = [Entry(e.at, e.kind) if e.actor is not None else e for e in found.timeline]
    return {
        **_facts(found.event),
        "last_error": found.event.last_error,
        "timeline": [_entry(entry) for entry in own],
    }


def operators_view(found: Found) -> Json:
    """All there is to know of the event. ``payload``: JSON as it came, else its text, else null."""
    return {
        **operators_summary(found.event),
        "timeline": [
            {**_entry(entry), "actor": entry.actor} if entry.actor is not None else _entry(entry)
            for entry in found.timeline
        ],
        "payload": None if found.payload is None else _readable(found.payload),
    }


def operators_summary(event: Event) -> Json:
    """The event in a list for operators."""
    return {
        **_facts(event),
        "last_error": event.last_error,
        "is_running": event.is_running,
        "has_payload": event.has_payload,
        "dedup_key": event.dedup_key,
        "label": event.label,
        "request_id": event.request_id,
    }


def report_view(report: Report) -> Json:
    """What was done to each event, or why nothing was."""
    return {
        "data": [outcome_view(outcome) for outcome in report.outcomes],
        "changed": len(report.changed),
        "refused": len(report.outcomes) - len(report.changed),
        "has_more": report.has_more,
    }


def outcome_view(outcome: Outcome) -> Json:
    """``was`` and ``now`` are null for an event that is not there."""
    return {
        "receipt": str(outcome.receipt),
        "was": outcome.was,
        "now": outcome.now,
        "refused": outcome.refused,
    }


def rehearsal_view(rehearsal: Rehearsal) -> Json:
    """What would become of each event."""
    refused = sum(event.outcome.refused is not None for event in rehearsal.events)
    return {
        "dry_run": True,
        "data": [rehearsed_view(event) for event in rehearsal.events],
        "refused": refused,
        "has_more": rehearsal.has_more,
    }


def rehearsed_view(event: Rehearsed) -> Json:
    """``becomes``: its state after the replay; ``changes``: rows before and after."""
    outcome, preview = event.outcome, event.preview
    verdict = None if preview is None else preview.verdict
    return {
        "receipt": str(outcome.receipt),
        "was": outcome.was,
        "refused": outcome.refused,
        "becomes": None if verdict is None else verdict.state,
        "reason": None if verdict is None else verdict.reason,
        "error": None if verdict is None else verdict.error,
        "changes": [] if preview is None else [_change(change) for change in preview.changes],
    }


def _change(change: RowChange) -> Json:
    return {
        "table": change.table,
        "key": change.key,
        "before": change.before,
        "after": change.after,
    }


def timestamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with microseconds."""
    return None if moment is None else f"{to_column(moment).replace(' ', 'T')}Z"


def _facts(event: Event) -> Json:
    return {
        "receipt": str(event.receipt),
        "partner": event.partner,
        "type": event.type,
        "state": event.state.value,
        "reason": event.reason,
        "attempts": event.attempts,
        "received_at": timestamp(event.received_at),
        "next_attempt_at": timestamp(event.next_attempt_at),
        "finished_at": timestamp(event.finished_at),
    }


def _entry(entry: Entry) -> Json:
    return {"at": timestamp(entry.at), "kind": entry.kind, "detail": entry.detail}


def _readable(payload: bytes) -> object:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode(errors="replace")
    # As it came: parsing and printing could round numbers, and deep nesting cannot be printed.
    return orjson.Fragment(payload)
