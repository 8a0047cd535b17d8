"""How webhook events look on a terminal. Times are UTC.

What partners sent is printed as text: neither markup nor control characters take effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.webhooks.inspection import Event, Found
from models.webhooks.operations import Outcome
from models.webhooks.previewing import RowChange
from models.webhooks.rehearsal import Rehearsed
from ops.cli.tables import print_table

__all__ = ["print_event", "print_events", "print_outcomes", "print_rehearsal"]

_ERROR_SHOWN: Final = 60
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_events(events: Sequence[Event], *, has_more: bool) -> None:
    """A table of events, newest first."""
    columns = ("receipt", "partner", "type", "state", "attempts", "received", "last error")
    table = Table(*columns, box=box.SIMPLE)
    table.columns[0].no_wrap = True
    for event in events:
        table.add_row(
            str(event.receipt),
            event.partner,
            event.type,
            _state(event),
            str(event.attempts),
            _moment(event.received_at),
            _text((event.last_error or "")[:_ERROR_SHOWN]),
        )
    print_table(table)
    if has_more:
        Console(stderr=True).print("There are more: raise --limit, or set --until.")


def print_event(found: Found) -> None:
    """All of one event, its timeline and its payload."""
    event = found.event
    facts = {
        "receipt": event.receipt,
        "partner": event.partner,
        "type": event.type,
        "state": _state(event),
        "attempts": event.attempts,
        "received": _moment(event.received_at),
        "next attempt": _moment(event.next_attempt_at),
        "finished": _moment(event.finished_at),
        "last error": event.last_error,
        "key": event.dedup_key,
        "label": event.label,
        "request": event.request_id,
    }
    console = Console(highlight=False, soft_wrap=True)
    for name, value in facts.items():
        if value not in {None, ""}:
            console.print(_text(f"{name:<13}{value}"))
    timeline = Table("at", "what", "detail", "by", box=box.SIMPLE)
    for entry in found.timeline:
        detail, actor = _text(entry.detail or ""), _text(entry.actor or "")
        timeline.add_row(_moment(entry.at), entry.kind, detail, actor)
    print_table(timeline)
    console.print(_text(_payload(found.payload)))


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """What was done to each event, or why nothing was."""
    table = Table("receipt", "was", "now", "refused because", box=box.SIMPLE)
    table.columns[0].no_wrap = True
    for outcome in outcomes:
        now = "" if outcome.refused else outcome.now
        table.add_row(str(outcome.receipt), outcome.was or "", now, outcome.refused or "")
    print_table(table)


def print_rehearsal(events: Sequence[Rehearsed]) -> None:
    """What would become of each event, and below it each field that would change."""
    console = Console(highlight=False, soft_wrap=True)
    for event in events:
        outcome, preview = event.outcome, event.preview
        if preview is None:
            said = f"refused: {outcome.refused}"
        else:
            verdict = preview.verdict
            said = f"{outcome.was} → {verdict.state}"
            said += f" ({verdict.reason})" if verdict.reason else ""
            said += f": {verdict.error}" if verdict.error else ""
        console.print(_text(f"{outcome.receipt}  {said}"))
        for change in () if preview is None else preview.changes:
            console.print(_text(f"  {change.table} {change.key}"))
            for name, before, after in _differences(change):
                console.print(_text(f"    {name}: {before} → {after}"))


def _differences(change: RowChange) -> Iterator[tuple[str, str, str]]:
    before, after = change.before or {}, change.after or {}
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield name, _value(before, name), _value(after, name)


def _value(row: Mapping[str, object], name: str) -> str:
    return "(none)" if name not in row else str(row[name])


def _text(shown: str) -> Text:
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", shown))


def _state(event: Event) -> str:
    if event.is_running:
        return f"{event.state} (running)"
    return f"{event.state} ({event.reason})" if event.reason else str(event.state)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _payload(payload: bytes | None) -> str:
    if payload is None:
        return "The payload has been purged."
    try:
        return orjson.dumps(orjson.loads(payload), option=orjson.OPT_INDENT_2).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        # No JSON, or nested deeper than can be printed.
        return payload.decode(errors="replace")
