"""What a replay would come to, shown without doing it.

Events are judged as for a replay; those it could take are worked on for real, in transactions that
are rolled back, ``WEBHOOK_BATCH`` at a time. Events of one batch see each other's effects, as in a
worker; those of different ones do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.resources import Resources
from models.webhooks.choosing import Action, Chosen
from models.webhooks.operations import Outcome, judge
from models.webhooks.previewing import Preview
from models.webhooks.processing import dry_run

__all__ = ["Rehearsal", "Rehearsed", "rehearse"]


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One event: whether it could be replayed, and if so, what would come of it."""

    outcome: Outcome
    preview: Preview | None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """All events, in the order chosen. ``has_more``: the filter matches further ones."""

    events: tuple[Rehearsed, ...]
    has_more: bool


async def rehearse(resources: Resources, chosen: Chosen) -> Rehearsal:
    """Judge and work on the chosen events; nothing stays changed.

    Holds the locks of a real run for its time. Raises ``DatabaseUnavailable``.
    """
    report = await judge(resources.db, Action.REPLAY, chosen)
    ids = sorted(o.event_id for o in report.changed if o.event_id is not None)
    batch = resources.settings.webhook_batch
    previews: dict[int, Preview] = {}
    for start in range(0, len(ids), batch):
        for preview in await dry_run(resources, ids[start : start + batch]):
            previews[preview.event_id] = preview
    return Rehearsal(
        tuple(
            Rehearsed(o, None if o.event_id is None else previews.get(o.event_id))
            for o in report.outcomes
        ),
        report.has_more,
    )
