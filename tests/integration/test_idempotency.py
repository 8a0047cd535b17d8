"""Idempotency keys under races, lost leases and age."""

from __future__ import annotations

import asyncio

import pytest

from coordination.errors import (
    DatabaseUnavailable,
    IdempotencyInProgress,
    IdempotencyMismatch,
    LeaseLost,
)
from models import idempotency
from models.database import Database
from models.idempotency import Begun, Replay
from models.resources import Resources

DIGEST = idempotency.digest_of(b"POST", b"/v1/products", b"{}")
OTHER = idempotency.digest_of(b"POST", b"/v1/products", b"[]")
HEADERS = {"location": "/v1/products/ä"}
BODY = b'{"a":"\x00\xff"}'


@pytest.fixture
def db(db_resources: Resources) -> Database:
    return db_resources.db


async def begun(db: Database, key: str = "k", digest: bytes = DIGEST, owner: int = 1) -> Begun:
    outcome = await idempotency.begin(db, owner, key, digest)
    assert isinstance(outcome, Begun)
    return outcome


async def age(db: Database, column: str) -> None:
    sql = f"UPDATE idempotency_keys SET {column} = '2020-01-01 00:00:00.000000'"
    assert await db.execute(sql, purpose="test") == 1


async def test_of_fifty_at_once_one_begins_and_later_ones_get_its_answer(db: Database) -> None:
    outcomes = await asyncio.gather(
        *(idempotency.begin(db, 1, "k", DIGEST) for _ in range(50)), return_exceptions=True
    )
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Begun)]
    losers = [outcome for outcome in outcomes if outcome is not winner]
    assert {type(outcome) for outcome in losers} == {IdempotencyInProgress}
    async with db.transaction() as conn:
        await idempotency.finish(db, conn, winner, 201, HEADERS, BODY)
    replays = await asyncio.gather(*(idempotency.begin(db, 1, "k", DIGEST) for _ in range(5)))
    assert replays == [Replay(201, HEADERS, BODY)] * 5


async def test_fifty_at_once_take_over_a_lost_lease_once(db: Database) -> None:
    frozen = await begun(db)
    await age(db, "lease_until")
    outcomes = await asyncio.gather(
        *(idempotency.begin(db, 1, "k", DIGEST) for _ in range(50)), return_exceptions=True
    )
    (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Begun)]
    assert {type(outcome) for outcome in outcomes if outcome is not winner} == {
        IdempotencyInProgress
    }
    with pytest.raises(LeaseLost):
        await idempotency.finish(db, None, frozen, 201, {}, b"late")
    await idempotency.abandon(db, frozen)
    await idempotency.finish(db, None, winner, 201, {}, b"")
    assert await idempotency.begin(db, 1, "k", DIGEST) == Replay(201, {}, b"")


async def test_a_lost_lease_rolls_the_effect_back(db: Database) -> None:
    frozen = await begun(db)
    await age(db, "lease_until")
    await begun(db)

    async def effect() -> None:
        async with db.transaction() as conn:
            await db.execute(
                "INSERT INTO farms (name, city, state, created_at, updated_at)"
                " VALUES ('a', 'b', 'c', '2020-01-01', '2020-01-01')",
                purpose="test",
                conn=conn,
            )
            await idempotency.finish(db, conn, frozen, 201, {}, b"")

    with pytest.raises(LeaseLost):
        await effect()
    assert await db.fetch("SELECT id FROM farms", purpose="test") == []


async def test_a_rolled_back_effect_keeps_no_answer(db: Database) -> None:
    mine = await begun(db)

    async def effect() -> None:
        async with db.transaction() as conn:
            await idempotency.finish(db, conn, mine, 201, {}, b"")
            raise DatabaseUnavailable("away")

    with pytest.raises(DatabaseUnavailable):
        await effect()
    with pytest.raises(IdempotencyInProgress):
        await idempotency.begin(db, 1, "k", DIGEST)
    await idempotency.abandon(db, mine)
    assert (await begun(db)).lease_token != mine.lease_token


async def test_another_request_or_owner_with_the_same_key(db: Database) -> None:
    mine = await begun(db)
    with pytest.raises(IdempotencyMismatch):
        await idempotency.begin(db, 1, "k", OTHER)
    await begun(db, digest=OTHER, owner=2)
    await begun(db, key="K", digest=OTHER)
    await idempotency.finish(db, None, mine, 422, {}, b"no")
    with pytest.raises(IdempotencyMismatch):
        await idempotency.begin(db, 1, "k", OTHER)


async def test_a_stored_answer_is_not_given_up_or_replaced(db: Database) -> None:
    mine = await begun(db)
    await idempotency.finish(db, None, mine, 201, {}, b"first")
    await idempotency.abandon(db, mine)
    with pytest.raises(LeaseLost):
        await idempotency.finish(db, None, mine, 201, {}, b"second")
    assert await idempotency.begin(db, 1, "k", DIGEST) == Replay(201, {}, b"first")


async def test_an_old_key_counts_as_absent_unless_it_is_running(db: Database) -> None:
    mine = await begun(db)
    await age(db, "created_at")
    with pytest.raises(IdempotencyInProgress):
        await idempotency.begin(db, 1, "k", DIGEST)
    await idempotency.finish(db, None, mine, 201, {}, b"")
    again = await begun(db, digest=OTHER)
    await idempotency.finish(db, None, again, 200, {}, b"new")
    assert await idempotency.begin(db, 1, "k", OTHER) == Replay(200, {}, b"new")


async def test_the_lease_ends_by_the_setting(db: Database) -> None:
    await begun(db)
    lease = db.settings.idempotency_lease_s
    least, most = (db.dialect.now_plus_us.format(s * 1_000_000) for s in (lease - 5, lease + 5))
    sql = f"SELECT lease_until > {least} AND lease_until < {most} AS right_length"
    (row,) = await db.fetch(f"{sql} FROM idempotency_keys", purpose="test")
    assert row["right_length"] == 1


async def test_a_renewed_lease_runs_anew_and_keeps_others_out(db: Database) -> None:
    mine = await begun(db)
    await begun(db, key="other")
    await db.execute(
        "UPDATE idempotency_keys SET lease_until = '2020-01-01 00:00:00.000000'", purpose="test"
    )
    await idempotency.renew(db, mine)
    with pytest.raises(IdempotencyInProgress):
        await idempotency.begin(db, 1, "k", DIGEST)
    lease = db.settings.idempotency_lease_s
    least, most = (db.dialect.now_plus_us.format(s * 1_000_000) for s in (lease - 5, lease + 5))
    rows = await db.fetch(
        f"""SELECT idempotency_key FROM idempotency_keys
            WHERE lease_until > {least} AND lease_until < {most}""",
        purpose="test",
    )
    assert [row["idempotency_key"] for row in rows] == ["k"]


async def test_a_lease_that_another_took_over_or_that_is_done_cannot_be_renewed(
    db: Database,
) -> None:
    frozen = await begun(db)
    await age(db, "lease_until")
    winner = await begun(db)
    with pytest.raises(LeaseLost):
        await idempotency.renew(db, frozen)
    await idempotency.renew(db, winner)
    await idempotency.finish(db, None, winner, 201, {}, b"")
    with pytest.raises(LeaseLost):
        await idempotency.renew(db, winner)
    gone = await begun(db, key="gone")
    await idempotency.abandon(db, gone)
    with pytest.raises(LeaseLost):
        await idempotency.renew(db, gone)


async def test_fifty_renewals_and_take_overs_at_once_leave_one_holder(db: Database) -> None:
    """A lease that ran out may be renewed as long as nobody else took the key."""
    mine = await begun(db)
    await age(db, "lease_until")
    outcomes = await asyncio.gather(
        *(idempotency.begin(db, 1, "k", DIGEST) for _ in range(25)),
        *(idempotency.renew(db, mine) for _ in range(25)),
        return_exceptions=True,
    )
    winners = [outcome for outcome in outcomes if isinstance(outcome, Begun)]
    lost = sum(isinstance(outcome, LeaseLost) for outcome in outcomes)
    assert (len(winners), lost) in {(1, 25), (0, 0)}
    await idempotency.finish(db, None, (winners or [mine])[0], 201, {}, b"")


async def test_giving_back_fails_open(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    mine = await begun(db)

    async def away(*_: object, **__: object) -> int:
        raise DatabaseUnavailable("away")

    object.__setattr__(db, "execute", away)
    await idempotency.abandon(db, mine)
    assert "not given back" in caplog.text
