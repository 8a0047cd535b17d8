"""The loss ledger: 0 through everything that happens, and never 0 when a row was lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import product as combinations

import pytest

from models import tallies
from models.resources import Resources
from models.webhooks import ledger
from models.webhooks.choosing import Action, choose_receipts
from models.webhooks.operations import act
from models.webhooks.states import ACCEPTED_TALLY, OPEN_STATES, State, tally_of
from tests.event_rows import NOON, EventRow, add_events


async def test_an_empty_system_balances(db_resources: Resources) -> None:
    read = await ledger.read(db_resources.db)
    assert (read.accepted, read.difference, read.oldest_pending_s) == (0, 0, 0.0)
    assert read.missing_rows == dict.fromkeys(OPEN_STATES, 0)
    assert read.balances


async def test_it_stays_0_through_every_transition(db_resources: Resources) -> None:
    """Each action on each state, one by one: refused ones must not move a tally either."""
    for state, action in combinations(State, Action):
        event = EventRow(state)
        await add_events(db_resources.db, event)
        chosen = await choose_receipts(db_resources.db, [event.receipt])
        await act(db_resources, action, chosen, actor="test")
        read = await ledger.read(db_resources.db)
        assert read.balances, (state, action, read)
    rows = await db_resources.db.fetch(
        "SELECT state, COUNT(*) AS n FROM webhook_events GROUP BY state", purpose="test"
    )
    read = await ledger.read(db_resources.db)
    assert {s: n for s, n in read.tallies.items() if n} == {
        State(row["state"]): int(row["n"]) for row in rows
    }
    assert read.accepted == len(State) * len(Action)


@pytest.mark.parametrize("state", OPEN_STATES)
async def test_a_row_deleted_behind_its_back_shows(db_resources: Resources, state: State) -> None:
    """Tallies alone would go on balancing."""
    kept, lost = EventRow(state), EventRow(state)
    await add_events(db_resources.db, kept, lost)
    await db_resources.db.execute(
        "DELETE FROM webhook_events WHERE receipt = %s", [lost.receipt.bytes], purpose="test"
    )
    read = await ledger.read(db_resources.db)
    assert read.difference == 0
    assert read.missing_rows == {**dict.fromkeys(OPEN_STATES, 0), state: 1}
    assert not read.balances


async def test_a_state_edited_by_hand_shows(db_resources: Resources) -> None:
    await add_events(db_resources.db, EventRow(State.DEAD))
    await db_resources.db.execute("UPDATE webhook_events SET state = 'pending'", purpose="test")
    read = await ledger.read(db_resources.db)
    assert (read.missing_rows[State.DEAD], read.missing_rows[State.PENDING]) == (1, -1)


async def test_an_event_in_no_state_shows(db_resources: Resources) -> None:
    db = db_resources.db
    async with db.transaction() as conn:
        await tallies.add(db, conn, {ACCEPTED_TALLY: 5, tally_of(State.DONE): 4})
    read = await ledger.read(db)
    assert (read.accepted, read.difference) == (5, 1)


async def test_purging_finished_rows_leaves_it_at_0(db_resources: Resources) -> None:
    await add_events(db_resources.db, EventRow(State.DONE), EventRow(State.SUPERSEDED))
    await db_resources.db.execute("DELETE FROM webhook_events", purpose="test")
    assert (await ledger.read(db_resources.db)).balances


async def test_the_age_of_the_oldest_pending(db_resources: Resources) -> None:
    """By its receipt, not by its next attempt; what is finished does not count."""
    early = NOON - timedelta(days=365)
    await add_events(
        db_resources.db,
        EventRow(State.DONE, received_at=early),
        EventRow(State.PENDING, received_at=NOON),
        EventRow(State.PENDING, received_at=NOON - timedelta(hours=1)),
    )
    (row,) = await db_resources.db.fetch(
        f"SELECT CAST({db_resources.db.dialect.now} AS CHAR) AS now", purpose="test"
    )
    read = await ledger.read(db_resources.db)
    expected = ledger.age_s("2026-02-06 11:00:00.000000", row["now"])
    assert read.oldest_pending_s == pytest.approx(expected, abs=30)


async def test_more_rows_than_are_counted_are_unknown(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape has a bound; past it nothing is guessed."""
    monkeypatch.setattr(ledger, "COUNTED_ROWS", 2)
    await add_events(db_resources.db, *(EventRow(State.DEAD) for _ in range(3)))
    read = await ledger.read(db_resources.db)
    assert State.DEAD not in read.missing_rows
    assert read.missing_rows == {State.PENDING: 0, State.PARKED: 0}


async def test_it_reads_0_while_events_move(db_resources: Resources) -> None:
    """One snapshot: tallies of one moment against rows of another would raise false alarms."""
    events = [EventRow(State.DEAD) for _ in range(60)]
    await add_events(db_resources.db, *events)
    moving = asyncio.create_task(_replayed_one_by_one(db_resources, events))
    readings = 0
    while not moving.done():
        read = await ledger.read(db_resources.db)
        assert read.balances, read
        readings += 1
    await moving
    assert readings > 5
    assert (await ledger.read(db_resources.db)).tallies[State.PENDING] == 60


async def _replayed_one_by_one(resources: Resources, events: list[EventRow]) -> None:
    for event in events:
        chosen = await choose_receipts(resources.db, [event.receipt])
        await act(resources, Action.REPLAY, chosen, actor="test")
