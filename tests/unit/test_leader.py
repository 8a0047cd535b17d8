"""Leadership by a lease, with the clock in hand."""

from __future__ import annotations

import logging

import pytest

from scheduler.leader import Leader, Standing

TTL_MS = 3_000


class Redis:
    """The lease and the server behind it, as a leader sees them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.fence: int | None = 7
        self.answers = True
        self.slow_s = 0.0
        self.released = 0

    async def hold(self) -> int | None:
        self.now += self.slow_s
        return self.fence if self.answers else None

    async def release(self) -> None:
        self.released += 1

    async def reachable(self) -> bool:
        return self.answers

    def clock(self) -> float:
        return self.now


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def leader(redis: Redis) -> Leader:
    return Leader(redis, redis.reachable, TTL_MS, redis.clock)


async def test_nobody_leads_before_the_lease_is_held(leader: Leader) -> None:
    assert leader.remaining_s() == 0


async def test_the_lease_counts_from_before_it_was_asked_for(leader: Leader, redis: Redis) -> None:
    redis.slow_s = 0.5
    await leader.renew()
    assert leader.remaining_s() == pytest.approx(2.5)


async def test_a_frozen_leader_leads_no_more_when_it_wakes(leader: Leader, redis: Redis) -> None:
    await leader.renew()
    redis.now += 3.1
    assert leader.remaining_s() == 0


async def test_a_failed_renewal_leaves_the_rest_of_the_lease(leader: Leader, redis: Redis) -> None:
    await leader.renew()
    redis.answers = False
    redis.now += 1
    await leader.renew()
    assert leader.remaining_s() == pytest.approx(2)
    stood = [leader.standing]
    redis.now += 2.5
    await leader.renew()
    assert [*stood, leader.standing] == [Standing.LEADING, Standing.CUT_OFF]


async def test_a_lease_that_went_to_another_ends_at_once(leader: Leader, redis: Redis) -> None:
    await leader.renew()
    redis.fence = None
    await leader.renew()
    assert (leader.remaining_s(), leader.standing) == (0, Standing.FOLLOWING)


async def test_resigning_ends_it_at_once_and_gives_it_back(leader: Leader, redis: Redis) -> None:
    await leader.renew()
    await leader.resign()
    assert (leader.remaining_s(), redis.released) == (0, 1)


async def test_only_changes_are_logged(
    leader: Leader, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for answers in (True, True, False, False, False, True, True):
        redis.answers = answers
        redis.now += 4
        await leader.renew()
    assert [record.message for record in caplog.records] == [
        Standing.LEADING.value,
        Standing.CUT_OFF.value,
        Standing.LEADING.value,
    ]
