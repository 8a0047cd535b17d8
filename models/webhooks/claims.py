"""Who may work on webhook events, and how one that kills its workers is told from its neighbours.

The protocol. A claim sets ``lease_token``; whoever lets go of a row alive (applied it, put it off,
gave it back) clears it. So a row that is due and still has a token belonged to a worker that
crashed or froze: a *suspect*. Batches never take suspects. A suspect is claimed alone
(``claimed_alone = 1``), by a process that works on no other event meanwhile (``gate``), so that a
neighbour's crash is never counted against it. While it is worked on its lease is renewed every
second or so; the first renewal sets ``claimed_alone = 2``: its worker has outlived the start. When
a suspect is claimed again and finds ``claimed_alone = 1``, its last worker ended soon after it had
begun, with nothing else in hand: ``lone_crashes`` grows by one, and at three the event is poison
and not run again. Being killed later, or beside others, or frozen, or while the database is away,
condemns nobody. Letting go clears both columns. Claiming a suspect counts no attempt: it goes on
with the one that never ended.

While a transaction holds a row no renewal of it gets through. That takes milliseconds; and what
waits there for locks and is killed three times in a row from outside may be replayed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coordination.errors import DatabaseUnavailable
from models import durable_work
from models.database import Database, Row
from models.durable_work import Backoff, Claim, Pick, WorkTable
from models.fields import from_column

__all__ = [
    "COLUMNS",
    "EVENTS",
    "MOST_LONE_CRASHES",
    "Claimed",
    "Due",
    "Event",
    "backoff_of",
    "claim_batch",
    "claim_suspect",
    "count_due",
    "event_of",
    "find_due",
    "give_back",
    "renew",
    "renewed",
]

_log = logging.getLogger(__name__)

MOST_LONE_CRASHES: Final = 3
"""So many crashes alone, each soon after its start, make an event poison."""

COLUMNS: Final = (
    "partner_id", "dedup_key", "type", "payload", "received_at", "claimed_alone", "lone_crashes",
)  # fmt: skip
EVENTS: Final = WorkTable("webhook_events", COLUMNS, released="claimed_alone = 0, lone_crashes = 0")
_STARTED: Final = 1
_OUTLIVED: Final = 2
# MariaDB assigns from left to right: the count first, while the old value still stands.
_SUSPECT: Final = Pick(
    condition="lease_token IS NOT NULL",
    notes=f"lone_crashes = lone_crashes + (claimed_alone = {_STARTED}), claimed_alone = {_STARTED}",
    counts=False,
)
# One look serves several claims: the start of the index is full of entries just left behind.
_BATCHES_A_LOOK: Final = 4
_RENEW_EVERY_S: Final = 1.0
_GIVE_BACK_WITHIN_S: Final = 20.0
_GIVE_BACK_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event to work on. ``attempts`` counts this one."""

    id: int
    partner_id: int
    dedup_key: str
    type: str
    payload: bytes | None
    received_at: datetime
    attempts: int
    lone_crashes: int = 0
    """This claim's finding included."""
    crashed_alone: bool = False
    """Whether the worker before this one ended soon after it had begun, alone with it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Events that are ours while the lease of ``token`` lasts."""

    token: str
    events: tuple[Event, ...]

    @property
    def ids(self) -> list[int]:
        """Their ids."""
        return [event.id for event in self.events]


@dataclass(frozen=True, slots=True)
class Due:
    """Ids of events that wait past their time, the oldest first."""

    fresh: tuple[int, ...]
    suspects: tuple[int, ...]


async def find_due(db: Database) -> Due:
    """Look, without claiming, at the oldest events that are due: at a few batches of them.

    No index tells suspects from others; they get their turn with their neighbours.
    """
    rows = await db.fetch(
        f"""SELECT id, lease_token IS NOT NULL AS is_suspect FROM webhook_events
            WHERE state = 'pending' AND next_attempt_at <= {db.dialect.now}
            ORDER BY next_attempt_at, id LIMIT %s""",
        [db.settings.webhook_batch * _BATCHES_A_LOOK],
        purpose="work_due",
    )
    return Due(
        tuple(int(row["id"]) for row in rows if not row["is_suspect"]),
        tuple(int(row["id"]) for row in rows if row["is_suspect"]),
    )


async def claim_batch(db: Database, event_ids: Sequence[int]) -> Claimed:
    """Claim up to ``WEBHOOK_BATCH`` of these that are fresh or due and no suspects.

    Whoever names them, a wait after a failure is not cut short.
    """
    ready = f"(attempts = 0 OR next_attempt_at <= {db.dialect.now})"
    return _claimed(
        await durable_work.claim_ids(
            db,
            EVENTS,
            event_ids,
            lease_ms=db.settings.webhook_lease_s * 1000,
            limit=db.settings.webhook_batch,
            pick=Pick(condition=f"lease_token IS NULL AND {ready}"),
        )
    )


async def claim_suspect(db: Database, event_id: int) -> Claimed:
    """Claim one suspect, unless somebody did meanwhile. Only while alone in the gate."""
    lease_ms = db.settings.webhook_lease_s * 1000
    return _claimed(
        await durable_work.claim_ids(db, EVENTS, [event_id], lease_ms=lease_ms, pick=_SUSPECT)
    )


def _claimed(claim: Claim) -> Claimed:
    return Claimed(claim.token, tuple(event_of(row) for row in claim.rows))


def event_of(row: Row) -> Event:
    """The event of a row that has ``COLUMNS``, ``id`` and ``attempts`` as they were read."""
    payload = row["payload"]
    # Only a suspect still has the mark of a worker; the claim has counted it in the row itself.
    crashed_alone = int(row["claimed_alone"]) == _STARTED
    return Event(
        id=int(row["id"]),
        partner_id=int(row["partner_id"]),
        dedup_key=str(row["dedup_key"]),
        type=str(row["type"]),
        payload=None if payload is None else bytes(payload),
        received_at=from_column(row["received_at"]),
        attempts=int(row["attempts"]),
        lone_crashes=int(row["lone_crashes"]) + crashed_alone,
        crashed_alone=crashed_alone,
    )


async def renew(db: Database, token: str, ids: Sequence[int]) -> int:
    """Let the lease run anew; returns for how many events it was still ours."""
    return await durable_work.renew(
        db, EVENTS, token, ids, lease_ms=db.settings.webhook_lease_s * 1000
    )


@asynccontextmanager
async def renewed(db: Database, claimed: Claimed) -> AsyncIterator[None]:
    """Renew a suspect's lease every second or so while the block runs."""
    lease_s = db.settings.webhook_lease_s
    task = asyncio.create_task(_renewing(db, claimed, min(_RENEW_EVERY_S, lease_s / 3)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _renewing(db: Database, claimed: Claimed, every_s: float) -> None:
    lease_ms = db.settings.webhook_lease_s * 1000
    while True:
        await asyncio.sleep(every_s)
        # Counted by the database's metrics; the next second tries again.
        with suppress(DatabaseUnavailable):
            await durable_work.renew(
                db,
                EVENTS,
                claimed.token,
                claimed.ids,
                lease_ms=lease_ms,
                notes=f"claimed_alone = {_OUTLIVED}",
            )


async def give_back(
    db: Database, token: str, ids: Sequence[int], error: str, within_s: float = _GIVE_BACK_WITHIN_S
) -> None:
    """Let go of events that are not to blame; no attempt is counted. Never raises for a database.

    Tries for a while: what is not given back will look as if its worker had crashed.
    """
    wait_ms = db.settings.webhook_backoff_first_ms
    try:
        async with asyncio.timeout(within_s):
            while ids:
                with suppress(DatabaseUnavailable):
                    await durable_work.give_back(
                        db, EVENTS, token, ids, error=error, wait_ms=wait_ms
                    )
                    return
                await asyncio.sleep(_GIVE_BACK_EVERY_S)
    except TimeoutError:
        _log.warning("Webhook events not given back; their leases will run out",
                     extra={"events": list(ids)})  # fmt: skip


def backoff_of(db: Database) -> Backoff:
    """How long an event waits after each failed attempt."""
    settings = db.settings
    return Backoff(settings.webhook_backoff_first_ms, settings.webhook_backoff_most_ms)


async def count_due(db: Database, limit: int) -> int:
    """How many events wait past their time, suspects too, counted no further than ``limit``."""
    return await durable_work.count_due(db, EVENTS, limit=limit)
