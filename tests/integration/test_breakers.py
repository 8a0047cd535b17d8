"""The fleet's circuit on a real Redis, its clock in hand: exact sequences of transitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from coordination import keys
from coordination.breakers.breaker import Breaker
from coordination.breakers.circuit import Outcome, Permit, State
from coordination.errors import CircuitOpen
from tests.breaker_fleet import LEASE_S, SERVICE, BreakerFleet, breaker_fleet
from tests.servers import PrivateRedis


@pytest.fixture
async def fleet(tmp_path: Path, fresh_redis: PrivateRedis) -> AsyncIterator[BreakerFleet]:
    async with breaker_fleet(fresh_redis.url, tmp_path) as fleet:
        yield fleet


@pytest.mark.parametrize(
    ("outcomes", "state", "failures"),
    [
        ("FFFF", State.CLOSED, 4),
        ("FFFFF", State.OPEN, 5),
        ("FFFFSFFFF", State.CLOSED, 4),
        ("FFFF4F", State.OPEN, 5),
        ("FFFFCF", State.OPEN, 5),
        ("FFFFCC44", State.CLOSED, 4),
        ("4444444444", State.CLOSED, 0),
        ("CCCCCCCCCC", State.CLOSED, 0),
        ("S4F4C", State.CLOSED, 1),
    ],
)
async def test_five_faults_in_a_row_open_it_whoever_makes_them(
    fleet: BreakerFleet, outcomes: str, state: State, failures: int
) -> None:
    """The seed's figure, over three processes; no 4xx and no cancellation counts or resets."""
    await fleet.attempts(outcomes)
    view = await fleet.look()
    assert (view.state, view.failures) == (state, failures)


@pytest.mark.parametrize(
    ("trial", "then"), [("S", State.CLOSED), ("4", State.CLOSED), ("F", State.OPEN)]
)
async def test_after_thirty_seconds_one_trial_decides(
    fleet: BreakerFleet, trial: str, then: State
) -> None:
    """An answer below 500 closes, a fault opens for another thirty seconds."""
    await fleet.attempts("FFFFF")
    fleet.hands.now_s += 29.9
    assert [await fleet.is_refused(breaker) for breaker in fleet.breakers] == [True] * 3
    fleet.hands.now_s += 0.2
    assert await fleet.state() is State.HALF_OPEN
    await fleet.attempts(trial)
    assert await fleet.state() is then
    if then is State.CLOSED:
        await fleet.attempts("FFFF")
        assert await fleet.state() is State.CLOSED
    else:
        fleet.hands.now_s += 29.9
        assert await fleet.is_refused(fleet.breakers[1])
        fleet.hands.now_s += 0.2
        assert not await fleet.is_refused(fleet.breakers[1])


async def test_one_trial_at_a_time_under_a_lease_that_ends_by_itself(fleet: BreakerFleet) -> None:
    """A trial's holder that was killed must not keep the circuit open for ever."""
    first, second, third = fleet.breakers
    await fleet.attempts("FFFFF")
    fleet.hands.now_s += 30.1
    lost = await first.enter(LEASE_S)
    assert lost.trial
    for breaker in fleet.breakers:
        assert await fleet.is_refused(breaker)
    fleet.hands.now_s += LEASE_S - 0.1
    assert await fleet.is_refused(second)
    fleet.hands.now_s += 0.2
    taken = await second.enter(LEASE_S)
    assert taken.trial
    assert await fleet.is_refused(third)
    # The first comes back from the dead: it decides nothing any more.
    await first.settle(lost, Outcome.SUCCESS)
    assert await fleet.state() is State.HALF_OPEN
    await second.settle(taken, Outcome.FAULT)
    assert await fleet.state() is State.OPEN


async def test_a_cancelled_trial_gives_its_slot_back(fleet: BreakerFleet) -> None:
    """Whoever stops a worker must not be taken for a partner's fault, nor for its recovery."""
    first, second, _ = fleet.breakers
    await fleet.attempts("FFFFF")
    fleet.hands.now_s += 30.1

    async def trial(began: asyncio.Event) -> None:
        async with first.attempt(LEASE_S):
            began.set()
            await asyncio.Event().wait()

    began = asyncio.Event()
    task = asyncio.create_task(trial(began))
    await began.wait()
    assert await fleet.is_refused(second)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await first.close()
    view = await fleet.look()
    assert (view.state, view.wait_s, view.failures) == (State.HALF_OPEN, 0.0, 5)
    # At once, in the very process that gave it back.
    assert not await fleet.is_refused(first)

    fleet.hands.now_s += 1
    await fleet.attempts("S", second)
    assert await fleet.state() is State.CLOSED


async def test_what_began_before_a_transition_says_nothing_after_it(fleet: BreakerFleet) -> None:
    """Fifty calls hang when it opens; their late timeouts must not open it again once it closed."""
    first, second, _ = fleet.breakers
    late = [await first.enter(LEASE_S) for _ in range(20)]
    await fleet.attempts("FFFFF", second)
    for permit in late[:10]:
        await first.settle(permit, Outcome.FAULT)
    assert (await fleet.look()).wait_s == pytest.approx(30)
    await first.settle(late[10], Outcome.SUCCESS)
    assert await fleet.state() is State.OPEN
    fleet.hands.now_s += 30.1
    await fleet.attempts("S")
    for permit in late[11:]:
        await first.settle(permit, Outcome.FAULT)
    view = await fleet.look()
    assert (view.state, view.failures) == (State.CLOSED, 0)


async def test_an_open_circuit_is_refused_from_memory_for_half_a_second(
    fleet: BreakerFleet, fresh_redis: PrivateRedis
) -> None:
    """A storm of refused calls must not reach Redis, and an operator's hand be felt in a second."""
    first = fleet.breakers[0]
    await fleet.attempts("FFFFF", first)
    with fresh_redis.client() as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        for _ in range(1000):
            assert await fleet.is_refused(first)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == before
    await fleet.circuits.operate(SERVICE, "close", "eve", "mended")
    assert await fleet.is_refused(first)
    fleet.hands.now_s += 0.6
    assert not await fleet.is_refused(first)


async def test_operators_hold_it_open_and_close_it_for_all(fleet: BreakerFleet) -> None:
    """An operator's word stands until the next one, and is kept with the state."""
    await fleet.attempts("SFS")
    held = await fleet.circuits.operate(SERVICE, "open", "eve@ops", "their maintenance")
    assert (held.state, held.held, held.transition) == (State.OPEN, True, State.OPEN)
    fleet.hands.now_s += 86_400
    for breaker in fleet.breakers:
        with pytest.raises(CircuitOpen) as refused:
            await breaker.enter(LEASE_S)
        assert refused.value.retry_after_s == float("inf")
    view = await fleet.look()
    assert (view.action, view.by, view.why) == ("open", "eve@ops", "their maintenance")
    assert view.acted_at_us == fleet.hands.now_us() - 86_400_000_000

    await fleet.circuits.operate(SERVICE, "close", "bob", "they are done")
    fleet.hands.now_s += 1
    await fleet.attempts("FFFF44C")
    assert await fleet.state() is State.CLOSED
    await fleet.attempts("F")
    view = await fleet.look()
    assert (view.state, view.cause, view.by) == (State.OPEN, "test", "bob")

    reset = await fleet.circuits.operate(SERVICE, "reset", "eve", "tidy")
    assert (reset.state, reset.failures, reset.failed_at_us, reset.opened_at_us, reset.cause) == (
        State.CLOSED,
        0,
        0,
        0,
        "",
    )
    assert (reset.action, reset.by, reset.why) == ("reset", "eve", "tidy")
    fleet.hands.now_s += 1
    await fleet.attempts("FFFF")
    assert await fleet.state() is State.CLOSED


async def test_an_operators_hand_ends_a_trial_under_way(fleet: BreakerFleet) -> None:
    """What the trial finds out later is about a circuit that is no more."""
    await fleet.attempts("FFFFF")
    fleet.hands.now_s += 30.1
    trial = await fleet.breakers[0].enter(LEASE_S)
    await fleet.circuits.operate(SERVICE, "open", "eve", "no")
    await fleet.breakers[0].settle(trial, Outcome.SUCCESS)
    assert (await fleet.look()).held


async def test_the_key_lives_for_an_hour_unless_it_is_held(
    fleet: BreakerFleet, fresh_redis: PrivateRedis
) -> None:
    """A service nobody calls any more leaves nothing; a hold must not lapse by itself."""
    with fresh_redis.client() as client:
        await fleet.attempts("4C")
        assert not client.exists(keys.breaker(SERVICE))  # nothing to say
        await fleet.attempts("F")
        assert 3_590_000 < client.pttl(keys.breaker(SERVICE)) <= 3_600_000
        await fleet.circuits.operate(SERVICE, "open", "eve", "why")
        assert client.ttl(keys.breaker(SERVICE)) == -1
        await fleet.circuits.operate(SERVICE, "reset", "eve", "why")
        assert client.pttl(keys.breaker(SERVICE)) > 0


async def test_a_store_that_lost_everything_is_told_what_processes_know(
    fleet: BreakerFleet, fresh_redis: PrivateRedis
) -> None:
    """Redis restarted empty: nothing may flood a partner that is still down."""
    first, second, _ = fleet.breakers
    await fleet.attempts("FFFFF", first)
    fleet.hands.now_s += 10
    fresh_redis.flush()
    assert await fleet.is_refused(first)
    view = await fleet.look()
    assert view.state is State.OPEN
    assert view.wait_s == pytest.approx(20)
    assert await fleet.is_refused(second)  # which had not known
    await fleet.circuits.operate(SERVICE, "reset", "eve", "again")
    fleet.hands.now_s += 1
    assert not await fleet.is_refused(first)  # what it remembers is older than that
    await fleet.attempts("FFFF", first)
    fresh_redis.flush()
    await fleet.attempts("F", first)
    assert await fleet.state() is State.OPEN


async def test_a_clock_set_back_keeps_nothing_open_for_longer(fleet: BreakerFleet) -> None:
    """A failover to a server whose clock is behind must not hold a circuit open for a day."""
    await fleet.attempts("FFFFF")
    fleet.hands.now_s -= 86_400
    assert (await fleet.look()).wait_s == pytest.approx(30)


async def test_fifty_at_once_in_several_processes_get_one_trial(fleet: BreakerFleet) -> None:
    """pybreaker alone lets all fifty through."""
    await fleet.attempts("FFFFF")
    fleet.hands.now_s += 30.1
    admitted: list[Permit] = []

    async def come(breaker: Breaker) -> None:
        try:
            admitted.append(await breaker.enter(LEASE_S))
        except CircuitOpen:
            return

    await asyncio.gather(*(come(fleet.breakers[n % 3]) for n in range(50)))
    assert len(admitted) == 1


async def test_each_transition_is_counted_once(fleet: BreakerFleet) -> None:
    """Three processes see it; a graph of transitions must not show three."""

    def counted() -> list[float]:
        labels = {"service": SERVICE, "scope": "fleet"}
        return [
            REGISTRY.get_sample_value("partner_breaker_transitions_total", {**labels, "to": to})
            or 0
            for to in ("open", "half-open", "closed")
        ]

    before = counted()
    await fleet.attempts("FFFFF")
    for breaker in fleet.breakers:
        assert await fleet.is_refused(breaker)
    fleet.hands.now_s += 30.1
    lost = await fleet.breakers[0].enter(LEASE_S)
    fleet.hands.now_s += LEASE_S + 0.1
    await fleet.attempts("S")
    await fleet.breakers[0].settle(lost, Outcome.FAULT)
    for breaker in fleet.breakers:
        assert not await fleet.is_refused(breaker)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [1, 1, 1]
    assert REGISTRY.get_sample_value("partner_breaker_state", {"service": SERVICE}) == 0
