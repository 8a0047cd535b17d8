"""Whether every accepted webhook event is accounted for."""

from __future__ import annotations

import asyncio

from coordination.errors import Unavailable
from coordination.settings import Settings
from models.database import open_database
from models.webhooks import ledger
from models.webhooks.ledger import Ledger
from ops.doctor.finding import Finding, advice, failed, fine

__all__ = ["examine_webhooks"]

_AREA = "webhooks"


def examine_webhooks(settings: Settings) -> list[Finding]:
    """The ledger, on a database that is there and up to date."""
    try:
        read = asyncio.run(_read(settings))
    except Unavailable as error:
        return [advice(_AREA, "ledger", f"not read: {error}", "Run it again in a moment.")]
    return [_ledger(read)]


async def _read(settings: Settings) -> Ledger:
    db = await open_database(settings)
    try:
        return await ledger.read(db)
    finally:
        await db.close()


def _ledger(read: Ledger) -> Finding:
    if read.balances:
        return fine(_AREA, "ledger", f"{read.accepted:,} accepted, each in one state")
    wrong = [f"{read.difference:+,} accepted in no state"] if read.difference else []
    wrong += [f"{n:+,} missing of the {s} ones" for s, n in read.missing_rows.items() if n]
    todo = (
        "Rows or tallies were changed by hand, or lost: compare webhook_events with a backup before"
        " anything else is changed."
    )
    return failed(_AREA, "ledger", "; ".join(wrong), todo)
