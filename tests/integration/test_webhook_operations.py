"""Replay and discard: what they do to each state, what they refuse, and beside working workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from coordination.jobs import PROCESS_WEBHOOKS
from models import durable_work
from models.database import Connection
from models.resources import Resources
from models.webhooks import inspection, ledger, operations
from models.webhooks.choosing import Action, Chosen, choose, choose_receipts
from models.webhooks.claims import EVENTS
from models.webhooks.operations import Refusal, Report, judge
from models.webhooks.selection import EventFilter
from models.webhooks.states import State
from tests.event_rows import NOON, EventRow, add_events
from tests.integration.conftest import HintLog
from tests.polling import eventually_async

FAR = datetime(2100, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
R, D = Action.REPLAY, Action.DISCARD


async def act(
    resources: Resources, action: Action, events: Sequence[EventRow], note: str | None = None
) -> Report:
    chosen = await choose_receipts(resources.db, [event.receipt for event in events])
    return await operations.act(resources, action, chosen, actor="key:1 ops", note=note)


async def row_of(resources: Resources, event: EventRow) -> dict[str, object]:
    (row,) = await resources.db.fetch(
        "SELECT * FROM webhook_events WHERE receipt = %s", [event.receipt.bytes], purpose="test"
    )
    return row


@pytest.mark.parametrize(
    ("action", "event", "refusal"),
    [
        (R, EventRow(State.DEAD, reason="exhausted"), None),
        (R, EventRow(State.PARKED), None),
        (R, EventRow(State.DISCARDED), None),
        (R, EventRow(State.SUPERSEDED), None),
        (R, EventRow(State.SUPERSEDED, payload=None), Refusal.NO_PAYLOAD),
        (R, EventRow(State.DISCARDED, payload=None), Refusal.NO_PAYLOAD),
        (R, EventRow(State.DONE), Refusal.DONE),
        (R, EventRow(State.PENDING), Refusal.PENDING),
        (R, EventRow(State.PENDING, lease_token="t", lease_until=FAR), Refusal.RUNNING),
        (D, EventRow(State.DEAD, reason="invalid"), None),
        (D, EventRow(State.PARKED), None),
        (D, EventRow(State.PENDING), None),
        (D, EventRow(State.PENDING, lease_token="t", lease_until=LONG_AGO), None),
        (D, EventRow(State.PENDING, lease_token="t", lease_until=FAR), Refusal.RUNNING),
        (D, EventRow(State.DONE), Refusal.DONE),
        (D, EventRow(State.SUPERSEDED), Refusal.SUPERSEDED),
        (D, EventRow(State.DISCARDED), Refusal.DISCARDED),
    ],
    ids=lambda value: f"{value.state} {value.lease_until}" if isinstance(value, EventRow) else None,
)
async def test_each_state(
    db_resources: Resources, action: Action, event: EventRow, refusal: Refusal | None
) -> None:
    """The judgement beforehand is that of the act; a refused row stays as it is to the byte."""
    await add_events(db_resources.db, event)
    before = await row_of(db_resources, event)
    chosen = await choose_receipts(db_resources.db, [event.receipt])
    expected = await judge(db_resources.db, action, chosen)
    assert await row_of(db_resources, event) == before
    report = await act(db_resources, action, [event])
    assert report == expected
    (outcome,) = report.outcomes
    assert (outcome.was, outcome.refused) == (event.state, refusal)
    after = await row_of(db_resources, event)
    if refusal is not None:
        assert outcome.now is event.state
        assert after == before
    else:
        assert after["state"] == outcome.now == action.becomes
        assert (after["lease_token"], after["lease_until"]) == (None, None)
        assert (after["reason"], after["lone_crashes"]) == (None, 0)
        assert (after["finished_at"] is None) == (action is R)
        assert after["payload"] == before["payload"]


async def test_a_replayed_event_is_worked_on_from_its_first_attempt(
    db_resources: Resources, hint_log: HintLog
) -> None:
    """Due at once, with all attempts before it, and hinted after the commit."""
    event = EventRow(State.DEAD, attempts=12, finished_at=NOON)
    (event_id,) = await add_events(db_resources.db, event)
    await act(db_resources, R, [event])
    claim = await durable_work.claim_due(db_resources.db, EVENTS, limit=5, lease_ms=60_000)
    assert [(row["id"], row["attempts"]) for row in claim.rows] == [(event_id, 1)]
    await eventually_async(lambda: bool(hint_log.messages), deadline_s=5)
    (message,) = hint_log.messages
    assert message.actor_name == PROCESS_WEBHOOKS.name
    assert message.kwargs == {"event_ids": [event_id]}


async def test_who_did_it_and_why_is_in_the_timeline(db_resources: Resources) -> None:
    """With what the row forgets by it."""
    event = EventRow(State.DEAD, reason="unknown", last_error="no such product")
    await add_events(db_resources.db, event)
    await act(db_resources, R, [event], note="it is there now")
    await act(db_resources, D, [event])
    found = await inspection.find(db_resources.db, event.receipt)
    assert found is not None
    assert [(entry.kind, entry.actor, entry.detail) for entry in found.timeline] == [
        ("received", None, None),
        ("replayed", "key:1 ops", "it is there now; was dead (unknown): no such product"),
        ("discarded", "key:1 ops", "was pending"),
    ]


async def test_one_that_is_refused_stops_no_other(db_resources: Resources) -> None:
    """Answers in the order asked, each receipt once, unknown ones among them."""
    dead, done, unknown = EventRow(State.DEAD), EventRow(State.DONE), EventRow()
    await add_events(db_resources.db, dead, done)
    report = await act(db_resources, R, [unknown, done, dead, done])
    assert [(o.receipt, o.refused) for o in report.outcomes] == [
        (unknown.receipt, Refusal.NOT_FOUND),
        (done.receipt, Refusal.DONE),
        (dead.receipt, None),
    ]
    assert [o.receipt for o in report.changed] == [dead.receipt]


async def test_the_hook_rolls_everything_back(db_resources: Resources, hint_log: HintLog) -> None:
    """An idempotency key that was lost meanwhile must undo the act with it."""
    event = EventRow(State.DEAD)
    await add_events(db_resources.db, event)
    before = await row_of(db_resources, event)

    async def fail(conn: Connection, report: Report) -> None:
        raise LookupError

    chosen = await choose_receipts(db_resources.db, [event.receipt])
    with pytest.raises(LookupError):
        await operations.act(db_resources, R, chosen, actor="test", hook=fail)
    assert await row_of(db_resources, event) == before
    assert (await ledger.read(db_resources.db)).balances
    assert hint_log.messages == []


async def test_a_filter_takes_the_oldest_that_fit_and_says_what_is_left(
    db_resources: Resources,
) -> None:
    """Without a state dead and parked ones; what cannot be replayed does not fill the page."""
    fitting = [
        EventRow(state, received_at=NOON + timedelta(minutes=minute))
        for minute, state in enumerate([State.DEAD, State.PARKED, State.DEAD, State.PARKED])
    ]
    others = [
        EventRow(State.DEAD, partner_id=2),
        EventRow(State.DEAD, type="farm.updated"),
        EventRow(State.DEAD, received_at=NOON - timedelta(seconds=1)),
        EventRow(State.DEAD, received_at=NOON + timedelta(hours=1)),
        EventRow(State.DEAD, payload=None),
        *(EventRow(s) for s in (State.PENDING, State.DONE, State.SUPERSEDED, State.DISCARDED)),
    ]
    await add_events(db_resources.db, *others, *reversed(fitting))
    wanted = EventFilter(1, "price.updated", (), NOON, NOON + timedelta(hours=1))
    first = await choose(db_resources.db, R, wanted, limit=3)
    assert [receipt for receipt, _ in first.events] == [e.receipt for e in fitting[:3]]
    rest = await choose(db_resources.db, R, wanted, limit=3, after=first.next_after)
    assert [receipt for receipt, _ in rest.events] == [fitting[3].receipt]
    assert rest.next_after is None
    report = await operations.act(db_resources, R, first, actor="test")
    assert (len(report.changed), report.has_more) == (3, True)


async def test_a_filter_for_discarding_passes_over_what_is_running(
    db_resources: Resources,
) -> None:
    idle = EventRow(State.PENDING)
    running = EventRow(State.PENDING, lease_token="t", lease_until=FAR)
    await add_events(db_resources.db, running, idle)
    chosen = await choose(db_resources.db, D, EventFilter(states=(State.PENDING,)))
    assert [receipt for receipt, _ in chosen.events] == [idle.receipt]
    done = await choose(db_resources.db, D, EventFilter(states=(State.DONE,)))
    assert done == Chosen(())


async def test_a_worker_that_holds_the_lease_keeps_its_event(db_resources: Resources) -> None:
    """It was chosen while it was free; the claim comes before the act."""
    event = EventRow(State.PENDING)
    (event_id,) = await add_events(db_resources.db, event)
    chosen = await choose(db_resources.db, D, EventFilter(states=(State.PENDING,)))
    assert len(chosen.events) == 1
    claim = await durable_work.claim_ids(db_resources.db, EVENTS, [event_id], lease_ms=60_000)
    report = await operations.act(db_resources, D, chosen, actor="test")
    assert [o.refused for o in report.outcomes] == [Refusal.RUNNING]
    assert await durable_work.complete(db_resources.db, EVENTS, claim.token, claim.ids) == 1


async def test_a_worker_frozen_past_its_lease_finishes_nothing_that_was_discarded(
    db_resources: Resources,
) -> None:
    """Its token is gone from the row, so its transaction finds nothing of its own."""
    event = EventRow(State.PENDING)
    (event_id,) = await add_events(db_resources.db, event)
    claim = await durable_work.claim_ids(db_resources.db, EVENTS, [event_id], lease_ms=1)
    await eventually_async(lambda: _lease_is_over(db_resources), deadline_s=5)
    report = await act(db_resources, D, [event])
    assert [o.refused for o in report.outcomes] == [None]
    assert await durable_work.complete(db_resources.db, EVENTS, claim.token, claim.ids) == 0
    assert (await ledger.read(db_resources.db)).balances


async def _lease_is_over(resources: Resources) -> bool:
    rows = await resources.db.fetch(
        f"SELECT id FROM webhook_events WHERE lease_until <= {resources.db.dialect.now}",
        purpose="test",
    )
    return bool(rows)


async def test_many_operators_and_claims_at_once(db_resources: Resources) -> None:
    """Each event is moved once, whoever comes first; nobody deadlocks, the ledger stays 0."""
    events = [EventRow(state) for state in (State.DEAD, State.PENDING) for _ in range(20)]
    ids = await add_events(db_resources.db, *events)
    reports = await asyncio.gather(
        act(db_resources, R, events),
        act(db_resources, D, list(reversed(events))),
        act(db_resources, R, events[10:30]),
        act(db_resources, D, events[5:25]),
        durable_work.claim_ids(db_resources.db, EVENTS, ids, lease_ms=60_000),
    )
    read = await ledger.read(db_resources.db)
    assert read.balances, read
    assert read.tallies[State.DEAD] == 0
    moves = [o for report in reports if isinstance(report, Report) for o in report.changed]
    history = await db_resources.db.fetch(
        "SELECT COUNT(*) AS n FROM webhook_event_history", purpose="test"
    )
    assert history[0]["n"] == len(moves) >= 20


async def test_the_most_events_of_one_call(db_resources: Resources) -> None:
    """Five hundred in one transaction, in a blink."""
    events = [EventRow(State.DEAD, received_at=NOON) for _ in range(501)]
    await add_events(db_resources.db, *events)
    chosen = await choose(db_resources.db, R, EventFilter(states=(State.DEAD,)))
    report = await operations.act(db_resources, R, chosen, actor="x" * 200, note="n" * 200)
    assert (len(report.changed), report.has_more) == (500, True)
    rest = await choose(
        db_resources.db, R, EventFilter(states=(State.DEAD,)), after=chosen.next_after
    )
    assert {r for r, _ in rest.events} == {e.receipt for e in events} - {
        r for r, _ in chosen.events
    }
    assert (await ledger.read(db_resources.db)).balances


async def test_nothing_chosen_does_nothing(db_resources: Resources) -> None:
    report = await operations.act(db_resources, R, Chosen(()), actor="test")
    assert report == Report((), has_more=False)
    chosen = await choose_receipts(db_resources.db, [uuid4()])
    assert (await operations.act(db_resources, R, chosen, actor="test")).changed == ()
