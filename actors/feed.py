"""The change feed's job: number what was committed."""

from __future__ import annotations

from actors.resources import Opened
from coordination.jobs import NumberChanges
from models.feed.numbering import number_changes

__all__ = ["changes_number"]


async def changes_number(opened: Opened, _: NumberChanges) -> None:
    """The actor of ``changes.number``."""
    await number_changes(opened.resources)
