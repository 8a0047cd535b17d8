"""Redis away at any point: each process protects alone, and what it learnt is told afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordination.breakers.breaker import Breaker
from coordination.breakers.circuit import Outcome, Permit, State
from coordination.errors import CircuitOpen, Unavailable
from tests.breaker_fleet import LEASE_S, SERVICE, BreakerFleet, breaker_fleet
from tests.polling import eventually_async
from tests.proxy import Road, road_to
from tests.servers import PrivateRedis

PATIENCE_S = 0.5


@pytest.fixture
async def fleet(tmp_path: Path, fresh_redis: PrivateRedis) -> AsyncIterator[BreakerFleet]:
    async with breaker_fleet(fresh_redis.url, tmp_path) as fleet:
        yield fleet


@pytest.fixture
async def hasty(tmp_path: Path, fresh_redis: PrivateRedis) -> AsyncIterator[BreakerFleet]:
    """For tests that wait until a question is given up."""
    patience_ms = round(PATIENCE_S * 1000)
    async with breaker_fleet(fresh_redis.url, tmp_path, patience_ms=patience_ms) as fleet:
        yield fleet


@pytest.fixture
async def road(fresh_redis: PrivateRedis) -> AsyncIterator[Road]:
    """The way of one process to Redis."""
    async with road_to(fresh_redis.port) as road:
        yield road


async def admitted_of(breaker: Breaker, times: int) -> list[Permit]:
    """How many of so many at once get leave."""
    outcomes = await asyncio.gather(
        *(breaker.enter(LEASE_S) for _ in range(times)), return_exceptions=True
    )
    permits = [outcome for outcome in outcomes if isinstance(outcome, Permit)]
    assert all(isinstance(outcome, Permit | CircuitOpen) for outcome in outcomes)
    return permits


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_each_process_protects_alone(
    hasty: BreakerFleet, fresh_redis: PrivateRedis, how: str
) -> None:
    """Five faults of its own open it, thirty seconds later one trial at a time decides."""
    if how == "killed":
        fresh_redis.kill()
    else:
        fresh_redis.freeze()
    first, second, _ = hasty.breakers
    began_at = time.monotonic()
    await hasty.attempts("FFFF4CF", first)
    # One question is waited for; then Redis is left alone for a moment.
    assert time.monotonic() - began_at < 4 * PATIENCE_S
    assert await hasty.is_refused(first)
    assert not await hasty.is_refused(second)
    hasty.hands.now_s += 29.9
    assert await hasty.is_refused(first)
    hasty.hands.now_s += 0.2
    [trial] = await admitted_of(first, 50)
    await first.settle(trial, Outcome.FAULT)
    hasty.hands.now_s += 29.9
    assert await admitted_of(first, 5) == []
    hasty.hands.now_s += 0.2
    [lost] = await admitted_of(first, 50)
    hasty.hands.now_s += LEASE_S + 0.1
    [trial] = await admitted_of(first, 50)
    await first.settle(lost, Outcome.FAULT)
    await first.settle(trial, Outcome.SUCCESS)
    assert len(await admitted_of(first, 50)) == 50
    with pytest.raises(Unavailable):
        await hasty.circuits.operate(SERVICE, "open", "eve", "nobody hears it")


async def test_what_was_known_of_the_fleet_goes_on_counting(
    fleet: BreakerFleet, fresh_redis: PrivateRedis
) -> None:
    """Redis dies amid a row of faults, or with the circuit open: neither is forgotten."""
    first, second, _ = fleet.breakers
    await fleet.attempts("FFF", second)
    await fleet.attempts("4", first)  # its look tells it of the three
    fresh_redis.kill()
    await fleet.attempts("F", first)
    assert not await fleet.is_refused(first)
    await fleet.attempts("F", first)
    assert await fleet.is_refused(first)


async def test_an_open_circuit_outlives_redis_in_those_who_saw_it(
    fleet: BreakerFleet, fresh_redis: PrivateRedis
) -> None:
    """Above all one that an operator holds: no trial of a process's own ends that."""
    first, second, _ = fleet.breakers
    await fleet.attempts("FFFFF", first)
    assert await fleet.is_refused(second)
    held = fleet.join()
    fleet.hands.now_s += 1
    await fleet.circuits.operate(SERVICE, "open", "eve", "maintenance")
    assert await fleet.is_refused(held)
    fresh_redis.kill()
    fleet.hands.now_s += 27
    assert await fleet.is_refused(second)
    fleet.hands.now_s += 2.1
    [trial] = await admitted_of(second, 20)
    await second.settle(trial, Outcome.SUCCESS)
    assert not await fleet.is_refused(second)
    assert await fleet.is_refused(held)


@pytest.mark.parametrize(
    ("trial", "refused_after"), [(Outcome.SUCCESS, False), (Outcome.FAULT, True)]
)
async def test_a_trial_that_redis_does_not_survive_decides_for_its_process(
    fleet: BreakerFleet, fresh_redis: PrivateRedis, trial: Outcome, refused_after: bool
) -> None:
    """Whoever holds the trial when Redis dies must neither be stuck nor let everyone through."""
    first = fleet.breakers[0]
    await fleet.attempts("FFFFF", first)
    fleet.hands.now_s += 30.1
    permit = await first.enter(LEASE_S)
    fresh_redis.kill()
    await first.settle(permit, trial)
    assert await fleet.is_refused(first) is refused_after
    fleet.hands.now_s += 30.1
    assert not await fleet.is_refused(first)


async def test_a_redis_that_comes_back_empty_meets_no_flood(
    fleet: BreakerFleet, fresh_redis: PrivateRedis
) -> None:
    """All processes opened alone; one tells Redis, the others hear it, one trial is made in all."""
    fresh_redis.kill()
    for breaker in fleet.breakers:
        await fleet.attempts("FFFFF", breaker)
        fleet.hands.now_s += 2
    fresh_redis.restart()
    newcomer = fleet.join()
    fleet.hands.now_s += 2
    for breaker in fleet.breakers:
        assert await admitted_of(breaker, 20) == []
    assert await admitted_of(newcomer, 20) == []
    # The last to open counts: thirty seconds, of which four have passed.
    view = await fleet.look()
    assert view.state is State.OPEN
    assert view.wait_s == pytest.approx(26, abs=0.1)
    fleet.hands.now_s += 26.1
    trials = [
        permit
        for breaker in (*fleet.breakers, newcomer)
        for permit in await admitted_of(breaker, 20)
    ]
    assert len(trials) == 1


async def test_a_process_cut_off_gives_way_to_later_good_news(
    fleet: BreakerFleet, road: Road
) -> None:
    """It alone could not reach the partner; the others did meanwhile, so it joins them."""
    lonely = fleet.join(road.url)
    await fleet.attempts("S", lonely)
    await road.cut()
    await fleet.attempts("FFFFF", lonely)
    assert await fleet.is_refused(lonely)
    fleet.hands.now_s += 2
    await fleet.attempts("S")
    await road.open()
    assert not await fleet.is_refused(lonely)
    assert (await fleet.look()).failures == 0


async def test_a_process_cut_off_brings_its_bad_news(fleet: BreakerFleet, road: Road) -> None:
    """Nothing later contradicts it, so the row goes on where it stood."""
    lonely = fleet.join(road.url)
    await fleet.attempts("SFS")
    fleet.hands.now_s += 1
    await road.cut()
    await fleet.attempts("FFFF", lonely)
    fleet.hands.now_s += 2
    await road.open()
    await fleet.attempts("4", lonely)
    assert (await fleet.look()).failures == 4
    await fleet.attempts("F")
    assert await fleet.state() is State.OPEN


async def test_success_while_redis_was_away_ends_an_older_row(
    fleet: BreakerFleet, road: Road
) -> None:
    """Four faults before the outage and one after it are not five in a row."""
    lonely = fleet.join(road.url)
    await fleet.attempts("FFFF", lonely)
    await road.cut()
    fleet.hands.now_s += 1
    await fleet.attempts("S", lonely)
    fleet.hands.now_s += 2
    await road.open()
    await fleet.attempts("F", lonely)
    view = await fleet.look()
    assert (view.state, view.failures) == (State.CLOSED, 1)


async def test_a_redis_that_takes_no_writes_leaves_each_process_protecting(
    fleet: BreakerFleet, fresh_redis: PrivateRedis
) -> None:
    """A full queue server still answers questions: its "closed" must not undo what is counted."""
    first = fleet.breakers[0]
    with fresh_redis.client() as client:
        client.config_set("maxmemory", "1")
        try:
            await fleet.attempts("FFFFF", first)
            fleet.hands.now_s += 5
            assert await fleet.is_refused(first)
        finally:
            client.config_set("maxmemory", "64mb")
    fleet.hands.now_s += 1
    assert await fleet.is_refused(fleet.breakers[1]) is False
    assert await fleet.is_refused(first)
    assert await fleet.is_refused(fleet.breakers[1])


async def test_leave_that_is_no_longer_wanted_is_given_back(
    fleet: BreakerFleet, road: Road
) -> None:
    """Cancelled while its question is on the way, a process may be given the trial all the same."""
    slow = fleet.join(road.url)
    await fleet.attempts("FFFFF", slow)
    fleet.hands.now_s += 30.1
    road.delay_s = 0.1
    asking = asyncio.create_task(slow.enter(LEASE_S))

    async def is_taken() -> bool:
        return (await fleet.look()).wait_s == pytest.approx(LEASE_S)

    await eventually_async(is_taken, interval_s=0.005)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert asking.cancelled()
    await slow.close()
    assert (await fleet.look()).wait_s == 0


async def test_a_crowd_before_a_frozen_redis_waits_once(
    hasty: BreakerFleet, fresh_redis: PrivateRedis
) -> None:
    """More callers than may ask at once: the next in line need not find out for themselves."""
    fresh_redis.freeze()
    first = hasty.breakers[0]
    began_at = time.monotonic()
    assert len(await admitted_of(first, 30)) == 30
    assert time.monotonic() - began_at < 1.8 * PATIENCE_S


async def test_a_busy_process_does_not_take_redis_for_away(
    hasty: BreakerFleet, fresh_redis: PrivateRedis
) -> None:
    """Deciding alone by mistake, it would make a trial of its own beside the fleet's."""
    first, second, _ = hasty.breakers
    await hasty.attempts("FFFFF", first)
    hasty.hands.now_s += 30.1
    held = await second.enter(LEASE_S)
    assert held.trial
    fresh_redis.freeze()
    asking = asyncio.create_task(first.enter(LEASE_S))
    for _ in range(20):
        await asyncio.sleep(0)  # the question is sent
    fresh_redis.resume()
    time.sleep(2 * PATIENCE_S)  # noqa: ASYNC251 - the loop stands still while the answer comes
    with pytest.raises(CircuitOpen):
        await asking


async def test_an_answer_that_never_came_costs_one_wait(hasty: BreakerFleet, road: Road) -> None:
    """A blind road: every question a process asks would cost the timeout, so it asks none."""
    lonely = hasty.join(road.url)
    await hasty.attempts("S", lonely)
    road.blind = True
    began_at = time.monotonic()
    await hasty.attempts("FFFFF", lonely)
    assert PATIENCE_S * 0.9 < time.monotonic() - began_at < 4 * PATIENCE_S
    assert await hasty.is_refused(lonely)
