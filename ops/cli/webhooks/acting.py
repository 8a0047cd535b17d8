"""Replay and discard from the command line: what is meant, is it meant so, then page by page."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import typer

from coordination.errors import FieldError, InvalidInput
from models.database import Database
from models.resources import Resources
from models.webhooks.choosing import MOST_EVENTS, Action, Chosen, choose, choose_receipts
from models.webhooks.operations import Outcome, act
from models.webhooks.rehearsal import Rehearsal, rehearse
from models.webhooks.representation import outcome_view, rehearsed_view
from models.webhooks.selection import Position
from ops.cli.outcome import ExitCode, print_result
from ops.cli.webhooks.event_views import print_outcomes, print_rehearsal
from ops.cli.webhooks.opened import Filter, receipt_of, with_resources

__all__ = ["Meant", "carry_out", "dry_run"]

_COUNTED: Final = 10_000
_LISTED: Final = 50
_NOTE_CHARACTERS: Final = 200
_PAST: Final = {Action.REPLAY: "replayed", Action.DISCARD: "discarded"}


@dataclass(frozen=True, slots=True)
class Meant:
    """The events that a command was given: by receipt, or by a filter."""

    receipts: tuple[UUID, ...]
    wanted: Filter

    @classmethod
    def of(cls, receipts: Sequence[str] | None, wanted: Filter) -> Meant:
        """Raises ``InvalidInput`` unless exactly one of the two was given."""
        if bool(receipts) == wanted.is_given:
            detail = "give either receipts, or a filter such as --state dead"
            raise InvalidInput([FieldError("parameter", "RECEIPTS", detail)])
        return cls(tuple(receipt_of(text) for text in receipts or ()), wanted)

    async def chosen(
        self, db: Database, action: Action, *, after: Position | None = None, limit: int
    ) -> Chosen:
        """The events, or a page of those that fit the filter."""
        if self.receipts:
            return await choose_receipts(db, self.receipts)
        wanted = await self.wanted.read(db)
        if any(state not in action.takes for state in wanted.states):
            detail = f"{action} takes {', '.join(action.takes)}"
            raise InvalidInput([FieldError("parameter", "--state", detail)])
        return await choose(db, action, wanted, limit=limit, after=after)


def carry_out(action: Action, meant: Meant, *, yes: bool, note: str | None, as_json: bool) -> None:
    """Do it and print what became of each event. Ends with 1 when any was refused."""
    if note is not None and not (1 <= len(note) <= _NOTE_CHARACTERS and note.isprintable()):
        detail = f"must have 1 to {_NOTE_CHARACTERS} printable characters"
        raise InvalidInput([FieldError("parameter", "--note", detail)])
    if not meant.receipts and not yes and not _confirmed(action, meant, as_json=as_json):
        raise typer.Exit(ExitCode.FAILED)
    outcomes = with_resources(lambda resources: _all(resources, action, meant, note))
    refused = [outcome for outcome in outcomes if outcome.refused is not None]
    changed = len(outcomes) - len(refused)
    if as_json:
        print_result(
            {
                "ok": not refused,
                "events": [outcome_view(outcome) for outcome in outcomes],
                "changed": changed,
                "refused": len(refused),
            }
        )
    else:
        print_outcomes(outcomes if len(outcomes) <= _LISTED else refused[:_LISTED])
        print(f"{changed:,} {_PAST[action]}, {len(refused):,} refused.")
    if refused:
        raise typer.Exit(ExitCode.FAILED)


def _confirmed(action: Action, meant: Meant, *, as_json: bool) -> bool:
    if as_json:
        # A program cannot be asked.
        detail = "is needed to act by filter with --json"
        raise InvalidInput([FieldError("parameter", "--yes", detail)])
    found = with_resources(lambda resources: meant.chosen(resources.db, action, limit=_COUNTED))
    if not found.events:
        print("No such events.")
        raise typer.Exit(ExitCode.DONE)
    more = "more than " if found.next_after is not None else ""
    question = f"{action.value.capitalize()} {more}{len(found.events):,} event(s)?"
    return typer.confirm(question, err=True)


async def _all(
    resources: Resources, action: Action, meant: Meant, note: str | None
) -> list[Outcome]:
    actor = f"cli:{_user()}"
    outcomes: list[Outcome] = []
    after: Position | None = None
    while True:
        chosen = await meant.chosen(resources.db, action, after=after, limit=MOST_EVENTS)
        report = await act(resources, action, chosen, actor=actor, note=note)
        outcomes += report.outcomes
        after = chosen.next_after
        if after is None:
            return outcomes


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user without a name


def dry_run(meant: Meant, *, as_json: bool) -> None:
    """Print what a replay would come to, by filter of the first events; change nothing."""

    async def run(resources: Resources) -> Rehearsal:
        most = resources.settings.webhook_batch
        chosen = await meant.chosen(resources.db, Action.REPLAY, limit=most)
        return await rehearse(resources, chosen)

    rehearsal = with_resources(run)
    if as_json:
        shown = [rehearsed_view(event) for event in rehearsal.events]
        print_result({"ok": True, "events": shown, "has_more": rehearsal.has_more})
        return
    print_rehearsal(rehearsal.events)
    if rehearsal.has_more:
        print(f"These are the oldest {len(rehearsal.events):,}; the filter matches more.")
    print("Nothing was changed.")
