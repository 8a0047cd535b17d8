"""Storing deliveries, each once: what shares a commit, what is counted, and which body stands."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest

from coordination import keys
from coordination.errors import Unavailable
from coordination.jobs import PROCESS_WEBHOOKS
from models.database import Database
from models.resources import Resources
from models.webhooks import intake as intake_module
from models.webhooks.deliveries import Batch, store
from models.webhooks.intake import Bounds, Delivery, Intake, Stored
from models.webhooks.seen import Seen
from tests.deliveries import Gate, accepting, assert_counted, delivery, rows, seen_of
from tests.integration.conftest import HintLog
from tests.polling import eventually_async
from tests.servers import PrivateRedis


@pytest.fixture
async def intake(db_resources: Resources) -> AsyncIterator[Intake]:
    opened = Intake(db_resources)
    yield opened
    await opened.close()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


async def test_a_lone_delivery_is_stored_counted_marked_and_hinted(
    db_resources: Resources, intake: Intake, hint_log: HintLog, fresh_redis: PrivateRedis
) -> None:
    given = delivery("evt_1", label="theirs", request_id="request-1")
    stored = await intake.accept(given)
    assert stored == Stored(stored.receipt, is_new=True, same_body=True)
    assert stored.receipt.version == 7
    (row,) = await rows(db_resources.db)
    assert UUID(bytes=bytes(row["receipt"])) == stored.receipt
    assert bytes(row["payload"]) == given.payload
    assert bytes(row["body_digest"]) == given.body_digest
    assert (row["partner_id"], row["dedup_key"], row["label"], row["type"], row["request_id"]) == (
        (1, "evt_1", "theirs", "inventory.updated", "request-1")
    )
    assert (row["state"], row["attempts"], row["lease_token"]) == ("pending", 0, None)
    # The grace is the time its own hint has before the sweep takes it up.
    assert row["received_at"] < row["next_attempt_at"]
    await assert_counted(db_resources.db, 1)
    await eventually_async(lambda: bool(hint_log.messages))
    (message,) = hint_log.messages
    assert message.actor_name == PROCESS_WEBHOOKS.name
    assert message.kwargs == {"event_ids": [row["id"]]}
    assert message.options["request_id"] == "request-1"
    marked = await eventually_async(lambda: seen_of(fresh_redis, "evt_1"))
    assert marked == Seen.of(stored.receipt, given.body_digest)
    with fresh_redis.client() as client:
        assert 86_000 < int(str(client.ttl(keys.webhook_seen("hill", "evt_1")))) <= 86_400


async def test_equal_ones_at_once_are_one(db_resources: Resources, intake: Intake) -> None:
    answers = await asyncio.gather(*(intake.accept(delivery("evt")) for _ in range(200)))
    assert len({answer.receipt for answer in answers}) == 1
    assert [answer.is_new for answer in answers].count(True) == 1
    assert all(answer.same_body for answer in answers)
    await assert_counted(db_resources.db, 1)


async def test_a_repetition_is_known_long_after_its_payload_has_gone(
    db_resources: Resources, intake: Intake, fresh_redis: PrivateRedis
) -> None:
    """Some senders repeat for days; the key outlives the payload, and Redis's mark."""
    first = await intake.accept(delivery("evt"))
    await db_resources.db.execute(
        "UPDATE webhook_events SET state = 'done', payload = NULL", purpose="test"
    )
    fresh_redis.flush()
    again = await intake.accept(delivery("evt"))
    assert again == Stored(first.receipt, is_new=False, same_body=True)
    await assert_counted(db_resources.db, 1)


async def test_the_same_key_of_two_partners_is_two(db_resources: Resources, intake: Intake) -> None:
    given = [delivery("evt", partner_id=number, partner=f"p{number}") for number in (2, 1, 2, 1)]
    answers = await asyncio.gather(*(intake.accept(item) for item in given))
    assert answers[0].receipt == answers[2].receipt != answers[1].receipt == answers[3].receipt
    await assert_counted(db_resources.db, 2)


async def test_what_waits_shares_the_next_commit(
    db_resources: Resources, intake: Intake, gate: Gate, hint_log: HintLog
) -> None:
    tasks = await accepting(intake, gate, [delivery() for _ in range(500)])
    gate.open.set()
    answers = await asyncio.gather(*tasks)
    assert [len(batch) for batch in gate.batches] == [200, 200, 100]
    assert all(answer.is_new for answer in answers)
    await assert_counted(db_resources.db, 500)
    hinted: list[int] = []
    await eventually_async(
        lambda: sum(len(m.kwargs["event_ids"]) for m in hint_log.messages) == 500
    )
    for message in hint_log.messages:
        hinted += message.kwargs["event_ids"]
    assert sorted(hinted) == [row["id"] for row in await rows(db_resources.db)]


async def test_hints_of_commits_in_a_row_are_put_together(
    db_resources: Resources, gate: Gate, hint_log: HintLog
) -> None:
    """A message costs as much as storing several deliveries; none waits for more than a moment."""
    intake = Intake(db_resources, Bounds(batch_rows=10))
    tasks = await accepting(intake, gate, [delivery(request_id="r") for _ in range(255)])
    gate.open.set()
    await asyncio.gather(*tasks)
    stored = {int(row["id"]) for row in await rows(db_resources.db)}

    def hinted() -> list[int]:
        return [number for message in hint_log.messages for number in message.kwargs["event_ids"]]

    await eventually_async(lambda: len(hinted()) == 255)
    assert set(hinted()) == stored
    assert len(hint_log.messages) < 26
    assert all("request_id" not in message.options for message in hint_log.messages)
    await intake.close()


async def test_a_hint_that_was_held_back_is_sent_although_the_next_commit_hangs(
    db_resources: Resources, monkeypatch: pytest.MonkeyPatch, hint_log: HintLog
) -> None:
    hangs = asyncio.Event()

    async def hanging(db: Database, items: Sequence[Delivery]) -> Batch:
        if items[0].dedup_key == "hangs":
            await hangs.wait()
        return await store(db, items)

    monkeypatch.setattr(intake_module, "store", hanging)
    intake = Intake(db_resources, Bounds(batch_rows=1))
    tasks = [asyncio.create_task(intake.accept(delivery(key))) for key in ("first", "hangs")]
    await eventually_async(lambda: bool(hint_log.messages))
    assert not tasks[1].done()
    hangs.set()
    await asyncio.gather(*tasks)
    await intake.close()


async def test_a_batch_is_bounded_in_bytes(db_resources: Resources, gate: Gate) -> None:
    """A statement must fit into the server's packet; one that is too large goes alone."""
    intake = Intake(db_resources, Bounds(batch_bytes=1_000))
    sizes = [400, 400, 400, 1_500, 1]
    tasks = await accepting(intake, gate, [delivery(body=b"a" * size) for size in sizes])
    gate.open.set()
    await asyncio.gather(*tasks)
    await intake.close()
    assert [[len(d.payload) for d in batch] for batch in gate.batches] == (
        [[400, 400], [400], [1_500], [1]]
    )


async def test_the_first_body_stands(
    db_resources: Resources, intake: Intake, gate: Gate, fresh_redis: PrivateRedis
) -> None:
    """Within one batch and later: another body under a known key is told apart and not stored."""
    tasks = await accepting(
        intake,
        gate,
        [delivery("evt", b"first"), delivery("evt", b"other"), delivery("evt", b"first")],
    )
    gate.open.set()
    first, other, again = await asyncio.gather(*tasks)
    assert (first.is_new, other.is_new, again.is_new) == (True, False, False)
    assert (first.same_body, other.same_body, again.same_body) == (True, False, True)
    later = await intake.accept(delivery("evt", b"other"))
    assert later == other
    (row,) = await rows(db_resources.db)
    assert bytes(row["payload"]) == b"first"
    marked = await eventually_async(lambda: seen_of(fresh_redis, "evt"))
    assert marked.has_body(hashlib.sha256(b"first").digest())


async def test_closing_stores_what_waits(db_resources: Resources, gate: Gate) -> None:
    intake = Intake(db_resources)
    tasks = await accepting(intake, gate, [delivery() for _ in range(300)])
    closing = asyncio.create_task(intake.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="stopping"):
        await intake.accept(delivery())
    gate.open.set()
    await closing
    assert all(task.result().is_new for task in tasks)
    await intake.close()
    await assert_counted(db_resources.db, 300)


async def test_batches_that_overlap_settle_it_by_the_key(db_resources: Resources) -> None:
    """Two loops that insert the same keys at the same time: neither fails, each key is new once."""
    intakes = [Intake(db_resources), Intake(db_resources)]
    rng = random.Random(7)
    for number in range(20):
        wanted = [f"evt-{number}-{n}" for n in range(40)]
        tasks = []
        for intake in intakes:
            chosen = [*wanted, *rng.choices(wanted, k=20)]
            rng.shuffle(chosen)
            tasks += [(key, asyncio.create_task(intake.accept(delivery(key)))) for key in chosen]
        answers = [(key, await task) for key, task in tasks]
        assert len({receipt.receipt for _, receipt in answers}) == len(wanted)
        assert sorted(key for key, stored in answers if stored.is_new) == sorted(wanted)
    for intake in intakes:
        await intake.close()
    await assert_counted(db_resources.db, 800)


class _Told:
    """Waits without a coroutine, and has a defect if it is told to have one."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.rows: list[Stored] = []
        self.errors: list[Exception] = []
        self._breaks = breaks

    def is_told(self) -> bool:
        return bool(self.rows or self.errors)

    def stored(self, row: Stored) -> None:
        self.rows.append(row)
        if self._breaks:
            raise RuntimeError("a defect")

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


async def test_one_that_breaks_when_it_is_told_costs_the_others_nothing(
    db_resources: Resources, intake: Intake, gate: Gate, fresh_redis: PrivateRedis
) -> None:
    gate.open.clear()
    told = [_Told(breaks=number == 1) for number in range(3)]
    for number, who in enumerate(told):
        intake.put(delivery(f"evt_{number}"), who)
    gate.open.set()
    await eventually_async(lambda: all(who.is_told() for who in told))
    assert all(len(who.rows) == 1 and who.rows[0].is_new and not who.errors for who in told)
    assert await eventually_async(lambda: seen_of(fresh_redis, "evt_2"))
    assert (await intake.accept(delivery())).is_new
    await assert_counted(db_resources.db, 4)


async def test_a_repetition_does_not_wait_for_the_worker(
    db_resources: Resources, intake: Intake
) -> None:
    """A worker holds the row while it applies it; those who come with the repetition go on."""
    db = db_resources.db
    if db.dialect.is_sqlite:
        pytest.skip("SQLite locks no rows")
    first = await intake.accept(delivery("evt"))
    async with db.transaction() as conn:
        await db.execute(
            "UPDATE webhook_events SET state = 'done' WHERE receipt = %s",
            [first.receipt.bytes],
            purpose="test",
            conn=conn,
        )
        async with asyncio.timeout(2):
            again, fresh = await asyncio.gather(
                intake.accept(delivery("evt")), intake.accept(delivery())
            )
    assert again.receipt == first.receipt
    assert fresh.is_new
