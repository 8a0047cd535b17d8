"""`farmlokal webhooks list|show|replay|discard`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from coordination.errors import NotFound
from models.resources import Resources
from models.webhooks import inspection
from models.webhooks.choosing import Action
from models.webhooks.inspection import Event, Found, Page
from models.webhooks.representation import operators_summary, operators_view
from ops.cli.outcome import AsJson, ending, print_result
from ops.cli.webhooks.acting import Meant, carry_out, dry_run
from ops.cli.webhooks.event_views import print_event, print_events
from ops.cli.webhooks.opened import (
    Filter,
    Partner,
    Since,
    StateOption,
    Type,
    Until,
    receipt_of,
    with_resources,
)

__all__ = ["discard_command", "list_command", "replay_command", "show_command"]

_PAGE: Final = 500
Receipts = Annotated[list[str] | None, typer.Argument(help="Receipts of the events.")]
Yes = Annotated[bool, typer.Option("--yes", help="Act by filter without asking.")]
Note = Annotated[str | None, typer.Option("--note", help="Why; kept in the events' timelines.")]


def list_command(
    partner: Partner = None,
    type_: Type = None,
    state: StateOption = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List webhook events, newest first."""
    with ending(as_json=as_json):
        wanted = Filter(partner, type_, state, since, until)
        page = with_resources(lambda resources: _listed(resources, wanted, limit))
        has_more = page.next_after is not None
        if as_json:
            shown = [operators_summary(event) for event in page.events]
            print_result({"ok": True, "events": shown, "has_more": has_more})
        else:
            print_events(page.events, has_more=has_more)


async def _listed(resources: Resources, options: Filter, limit: int) -> Page:
    wanted = await options.read(resources.db)
    events: list[Event] = []
    after = None
    while True:
        size = min(_PAGE, limit - len(events))
        page = await inspection.list_events(resources.db, wanted, limit=size, after=after)
        events += page.events
        after = page.next_after
        if after is None or len(events) >= limit:
            return Page(tuple(events), after)


def show_command(
    receipt: Annotated[str, typer.Argument(help="The event's receipt.")], as_json: AsJson = False
) -> None:
    """Show all there is to know of one event: state, timeline, last error, payload."""
    with ending(as_json=as_json):
        wanted = receipt_of(receipt)

        async def read(resources: Resources) -> Found:
            found = await inspection.find(resources.db, wanted)
            if found is None:
                raise NotFound(f"There is no webhook event with the receipt {wanted}.")
            return found

        found = with_resources(read)
        if as_json:
            print_result({"ok": True, "event": operators_view(found)})
        else:
            print_event(found)


def replay_command(
    receipts: Receipts = None,
    partner: Partner = None,
    type_: Type = None,
    state: StateOption = None,
    since: Since = None,
    until: Until = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    yes: Yes = False,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Work on events again from their first attempt: those named, or those that fit the filter.

    Takes dead, parked, discarded and superseded ones; a filter without --state dead and parked.
    """
    with ending(as_json=as_json):
        meant = Meant.of(receipts, Filter(partner, type_, state, since, until))
        if dry:
            dry_run(meant, as_json=as_json)
        else:
            carry_out(Action.REPLAY, meant, yes=yes, note=note, as_json=as_json)


def discard_command(
    receipts: Receipts = None,
    partner: Partner = None,
    type_: Type = None,
    state: StateOption = None,
    since: Since = None,
    until: Until = None,
    yes: Yes = False,
    note: Note = None,
    as_json: AsJson = False,
) -> None:
    """Decide that events shall never be applied: those named, or those that fit the filter.

    Takes dead, parked and pending ones; a filter without --state the dead and parked.
    """
    with ending(as_json=as_json):
        meant = Meant.of(receipts, Filter(partner, type_, state, since, until))
        carry_out(Action.DISCARD, meant, yes=yes, note=note, as_json=as_json)
