"""Applies a claimed batch of events: one transaction for all of them.

The claim is locked first, then comes what the events do (``effects``), then outbox and states.
After the commit the caches are voided and the outbox's worker is hinted, as after an API write. It
decides nothing about leases or what to do when a batch fails.
"""

from __future__ import annotations

from datetime import datetime

from models import outbox
from models.catalog import voiding
from models.catalog.changes import Change
from models.reports.repeating import repeating
from models.resources import Resources
from models.webhooks import settling
from models.webhooks.claims import Claimed
from models.webhooks.effects import read_events, work_out

__all__ = ["apply"]


async def apply(resources: Resources, claimed: Claimed) -> settling.Verdicts:
    """Apply all of them and commit what became of each, or nothing at all.

    Raises ``LeaseLost`` (another worker has some of them), ``DatabaseUnavailable``, and whatever a
    single event may provoke.
    """
    db = resources.db
    readings = read_events(claimed.events, resources.settings.market_currency)

    async def unit() -> tuple[settling.Verdicts, list[tuple[int, Change]], datetime]:
        async with db.transaction(read_committed=True) as conn:
            now = await settling.lock(db, conn, claimed)
            worked = await work_out(db, conn, claimed.events, readings, now)
            rows = [(await outbox.record(db, conn, change), change) for change in worked.changes]
            verdicts = settling.concluded(db, claimed.events, worked.verdicts)
            await settling.settle(db, conn, claimed, verdicts)
        return verdicts, rows, now

    verdicts, rows, now = await repeating(unit)
    settling.observe(claimed.events, verdicts, now)
    for row_id, change in rows:
        await voiding.announce(resources, row_id, change)
    return verdicts
