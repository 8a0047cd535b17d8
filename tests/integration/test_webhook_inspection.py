"""Lists of events: each filter, ties, pages; and what a page costs among very many events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from models.dialects import MARIADB, SQLITE
from models.resources import Resources
from models.webhooks import inspection
from models.webhooks.inspection import Event
from models.webhooks.representation import operators_view, partners_view
from models.webhooks.selection import EventFilter, Position, select_events
from models.webhooks.states import State
from tests.databases import migrated, settings_for
from tests.event_rows import NOON, EventRow, add_events
from tests.servers import SqlServer

MINUTE = timedelta(minutes=1)
ROWS = 60_000
PAGE = 21
_DIGITS = " UNION ALL ".join(f"SELECT {digit} AS n" for digit in range(10))
_NUMBERS = (
    "SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n AS n"
    f" FROM ({_DIGITS}) a, ({_DIGITS}) b, ({_DIGITS}) c, ({_DIGITS}) d, ({_DIGITS}) e"
    f" WHERE e.n < {ROWS // 10_000} ORDER BY n"
)


async def every_page(resources: Resources, wanted: EventFilter, limit: int) -> list[Event]:
    found: list[Event] = []
    after: Position | None = None
    while True:
        page = await inspection.list_events(resources.db, wanted, limit=limit, after=after)
        assert len(page.events) <= limit
        found += page.events
        after = page.next_after
        if after is None:
            return found


async def test_filters_and_their_combinations(db_resources: Resources) -> None:
    events = [
        EventRow(
            state,
            partner_id=partner,
            type=f"type.{number % 2}",
            received_at=NOON + number * MINUTE,
        )
        for number, (state, partner) in enumerate((s, p) for s in State for p in (1, 2))
    ]
    await add_events(db_resources.db, *events)
    for wanted in [
        EventFilter(),
        EventFilter(partner_id=1),
        EventFilter(type="type.1"),
        EventFilter(states=(State.DEAD,)),
        EventFilter(states=(State.DEAD, State.DONE), partner_id=2),
        EventFilter(since=NOON + 3 * MINUTE, until=NOON + 7 * MINUTE),
        EventFilter(2, "type.1", (State.PARKED,), NOON, NOON + 60 * MINUTE),
        EventFilter(partner_id=3),
    ]:
        expected = [
            event.receipt
            for event in reversed(events)
            if wanted.partner_id in {None, event.partner_id}
            and wanted.type in {None, event.type}
            and (not wanted.states or event.state in wanted.states)
            and (wanted.since is None or event.received_at >= wanted.since)
            and (wanted.until is None or event.received_at < wanted.until)
        ]
        for limit in (1, 3, 100):
            found = await every_page(db_resources, wanted, limit)
            assert [event.receipt for event in found] == expected, (wanted, limit)


async def test_ties_over_pages_of_every_size(db_resources: Resources) -> None:
    """A batch of deliveries shares one moment over several states: none twice, none skipped."""
    states = [State.DONE, State.DEAD, State.PENDING]
    events = [EventRow(states[n % 3], received_at=NOON + (n // 7) * MINUTE) for n in range(23)]
    ids = await add_events(db_resources.db, *events)
    assert ids == sorted(ids)
    for limit in (1, 2, 5, 7, 22, 23, 24):
        found = await every_page(db_resources, EventFilter(), limit)
        assert [event.id for event in found] == ids[::-1], limit


async def test_pages_go_on_while_events_arrive(db_resources: Resources) -> None:
    await add_events(db_resources.db, *(EventRow(received_at=NOON + n * MINUTE) for n in range(4)))
    first = await inspection.list_events(db_resources.db, EventFilter(), limit=2)
    await add_events(db_resources.db, EventRow(received_at=NOON + 9 * MINUTE))
    rest = await inspection.list_events(
        db_resources.db, EventFilter(), limit=2, after=first.next_after
    )
    assert [e.received_at for e in rest.events] == [NOON + MINUTE, NOON]
    assert rest.next_after is None


async def test_what_a_partner_sees_and_what_an_operator_sees(db_resources: Resources) -> None:
    """A partner learns that an operator acted, not who or why; a lease is nobody's to see."""
    db = db_resources.db
    event = EventRow(
        State.DEAD,
        reason="invalid",
        last_error="/data/price: is required",
        payload=b'{"type":"x.y","n":12345678901234567890123}',
        lease_token="the-lease-token",
        finished_at=NOON + MINUTE,
    )
    (event_id,) = await add_events(db, event)
    await db.execute(
        "INSERT INTO webhook_event_history (event_id, at, kind, detail, actor)"
        " VALUES (%s, %s, 'replayed', 'why', 'key:1 Ada'), (%s, %s, 'retried', 'fault', NULL)",
        [event_id, "2026-02-06 12:00:10.000000", event_id, "2026-02-06 12:00:20.000000"],
        purpose="test",
    )
    found = await inspection.find(db, event.receipt)
    assert found is not None
    partners, operators = partners_view(found), operators_view(found)
    assert partners["timeline"] == [
        {"at": "2026-02-06T12:00:00.000000Z", "kind": "received", "detail": None},
        {"at": "2026-02-06T12:00:10.000000Z", "kind": "replayed", "detail": None},
        {"at": "2026-02-06T12:00:20.000000Z", "kind": "retried", "detail": "fault"},
        {"at": "2026-02-06T12:01:00.000000Z", "kind": "dead", "detail": "invalid"},
    ]
    assert partners["last_error"] == "/data/price: is required"
    assert not {"payload", "dedup_key", "label", "request_id"} & set(partners)
    assert (operators["dedup_key"], operators["label"]) == (event.dedup_key, "label-1")
    timeline = operators["timeline"]
    assert isinstance(timeline, list)
    assert timeline[1]["actor"] == "key:1 Ada"
    assert "the-lease-token" not in f"{partners}{operators}"


@pytest.mark.parametrize(
    ("payload", "shown"),
    [(b"\xff not json", "\ufffd not json"), (b"", ""), (None, None)],
)
async def test_a_payload_that_is_no_json_is_shown_as_text(
    db_resources: Resources, payload: bytes | None, shown: str | None
) -> None:
    event = EventRow(State.DONE, payload=payload)
    await add_events(db_resources.db, event)
    found = await inspection.find(db_resources.db, event.receipt)
    assert found is not None
    assert operators_view(found)["payload"] == shown


@dataclass(frozen=True)
class Many:
    """A database of many events: ten partners, one in six hundred dead, the rest done."""

    server: SqlServer
    name: str


@pytest.fixture
async def many(mariadb: SqlServer, fresh_database: str, tmp_path: Path) -> Many:
    async with migrated(settings_for(tmp_path, fresh_database)):
        pass
    name = fresh_database.rpartition("/")[2]
    mariadb.execute(
        f"""INSERT INTO webhook_events (receipt, partner_id, dedup_key, type, payload, body_digest,
              received_at, state, next_attempt_at)
            SELECT UNHEX(LPAD(HEX(n), 32, '0')), n % 10, n, 'price.updated', 'x',
              UNHEX(REPEAT('0', 64)), '2026-02-06' + INTERVAL FLOOR(n / 3) SECOND,
              IF(n % 600 = 0, 'dead', 'done'), '2026-02-06'
            FROM ({_NUMBERS}) numbers""",
        database=name,
    )
    mariadb.execute("ANALYZE TABLE webhook_events", database=name)
    return Many(mariadb, name)


def test_a_page_costs_a_page(many: Many) -> None:
    """For each common filter, first page and deep: a range of at most a page for each state."""
    for wanted in [
        EventFilter(),
        EventFilter(partner_id=3),
        EventFilter(states=(State.DEAD,)),
        EventFilter(partner_id=0, states=(State.DEAD,)),
        EventFilter(partner_id=3, states=(State.DONE,)),
        EventFilter(states=(State.DONE,), since=NOON - timedelta(hours=11), until=NOON),
    ]:
        for after in (None, ("2026-02-06 02:00:00.000000", 21_601)):
            sql, params = select_events(
                MARIADB, wanted, columns="e.id", limit=PAGE, newest_first=True, after=after
            )
            found, reads = many.server.handler_reads(sql, params, database=many.name)
            ranges = len(wanted.states) or len(State)
            # Read from the index, written to the merge and read twice, looked up with its partner.
            most = ranges * (PAGE + 3) + 4 * min(ranges, 2) * PAGE + 3 * PAGE
            assert len(found) == PAGE, wanted
            assert sum(reads.values()) <= most, (wanted, after, reads)


async def test_sqlite_finds_each_range_in_its_index(tmp_path: Path) -> None:
    async with migrated(settings_for(tmp_path, f"sqlite:///{tmp_path / 'test.db'}")) as db:
        for partner_id, index in ((None, "state"), (1, "partner")):
            wanted = EventFilter(partner_id, None, (State.DEAD,))
            sql, params = select_events(
                SQLITE,
                wanted,
                columns="e.id",
                limit=PAGE,
                newest_first=False,
                after=("2026-02-06 12:00:00.000000", 7),
            )
            plan = await db.fetch(f"EXPLAIN QUERY PLAN {sql}", params, purpose="test")
            steps = " | ".join(str(row["detail"]) for row in plan)
            assert f"idx_webhook_events_{index} (" in steps, steps
            assert "state=? AND received_at>?" in steps, steps
            assert "SCAN webhook_events" not in steps, steps
