"""The loss ledger: what was accepted against what became of it, read at one moment.

Tallies commit with each change, so purging keeps them and they can only disagree through a defect
or an edit by hand. Rows of open states are never purged, so they are counted as well, which shows
a row that vanished behind the tallies' back. One statement reads everything, so that a reading
under load is exact, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from models.database import Database
from models.fields import from_column
from models.webhooks.states import ACCEPTED_TALLY, OPEN_STATES, TALLY_PREFIX, State, tally_of

__all__ = ["COUNTED_ROWS", "Ledger", "age_s", "read"]

COUNTED_ROWS: Final = 100_000
"""A state's rows are counted up to here; beyond, its missing rows are unknown."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """One reading. ``rows``: those of the open states that were counted to the end."""

    accepted: int
    tallies: Mapping[State, int]
    rows: Mapping[State, int]
    oldest_pending_s: float
    """Since the receipt of the oldest pending event; 0 when none is pending."""

    @property
    def difference(self) -> int:
        """Accepted events that are in no state; 0, or something is wrong."""
        return self.accepted - sum(self.tallies.values())

    @property
    def missing_rows(self) -> dict[State, int]:
        """By counted state, how many rows fewer there are than its tally says; else one is lost."""
        return {state: self.tallies[state] - count for state, count in self.rows.items()}

    @property
    def balances(self) -> bool:
        """Whether all of it is 0."""
        return self.difference == 0 and not any(self.missing_rows.values())


async def read(db: Database) -> Ledger:
    """Read tallies and rows in one snapshot.

    Costs at most ``COUNTED_ROWS`` index entries for each open state. Raises
    ``DatabaseUnavailable``, ``QueryTooExpensive``.
    """
    found = await db.fetch(
        _statement(db),
        [f"{TALLY_PREFIX}%"],
        purpose="webhook_ledger",
        timeout_ms=db.settings.list_timeout_ms,
    )
    amounts = {str(row["what"]): int(row["amount"]) for row in found}
    moments = {str(row["what"]): row["moment"] for row in found}
    counted = {state: amounts[f"rows.{state}"] for state in OPEN_STATES}
    return Ledger(
        accepted=amounts.get(ACCEPTED_TALLY, 0),
        tallies={state: amounts.get(tally_of(state), 0) for state in State},
        rows={state: count for state, count in counted.items() if count <= COUNTED_ROWS},
        oldest_pending_s=age_s(moments["oldest"], moments["now"]),
    )


def _statement(db: Database) -> str:
    hint = db.dialect.index_hint.format("idx_webhook_events_state")
    counts = " ".join(
        f"""UNION ALL SELECT 'rows.{state}', COUNT(*), NULL FROM (
              SELECT id FROM webhook_events {hint} WHERE state = '{state}'
              LIMIT {COUNTED_ROWS + 1}) {state}_rows"""
        for state in OPEN_STATES
    )
    # Times as text, so that all branches of the union have one type on every engine.
    return f"""
        SELECT name AS what, SUM(amount) AS amount, NULL AS moment
        FROM tallies WHERE name LIKE %s GROUP BY name
        {counts}
        UNION ALL SELECT 'oldest', 0, CAST(MIN(received_at) AS CHAR)
        FROM webhook_events WHERE state = 'pending'
        UNION ALL SELECT 'now', 0, CAST({db.dialect.now} AS CHAR)"""


def age_s(oldest: str | None, now: str) -> float:
    """Seconds between two time columns read as text; 0 without the first."""
    if oldest is None:
        return 0.0
    return max(0.0, (from_column(now) - from_column(oldest)).total_seconds())
