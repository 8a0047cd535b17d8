"""How far a replica has come, told by beats alone; the clock is moved by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coordination.settings import load_settings
from models.replicas.beats import Beats
from models.replicas.replica import Replica, ReplicaState

_LAG_S = 2.0


class _Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def beats(clock: _Clock) -> Beats:
    return Beats(60.0, clock)


@pytest.fixture
def replica(beats: Beats, tmp_path: Path) -> Replica:
    settings = load_settings(
        farmlokal_home=tmp_path,
        database_url="mysql://u:p@127.0.0.1:1/d",
        database_replica_urls="mysql://u:p@127.0.0.1:2/d",
    )
    return Replica("replica-1", settings.database_replica_urls[0], settings, beats)


def test_a_beat_of_our_own_counts_from_when_its_statement_began(beats: Beats) -> None:
    """What had committed by then is before it; what commits while it runs may be after."""
    assert not beats.seen("old", 10.0)
    assert beats.seen("old", 11.0)
    beats.beaten(11.5)
    assert not beats.seen("new", 12.0)
    assert beats.moment_of("new") == 11.5


def test_a_beat_of_another_process_counts_from_when_it_was_not_there_yet(beats: Beats) -> None:
    """It was made at some time after we last looked."""
    beats.seen("old", 10.0)
    beats.seen("new", 11.0)
    assert beats.moment_of("new") == 10.0
    assert beats.moment_of("old") is None, "nobody knows how long it had been there"


def test_what_shows_up_after_the_primary_was_lost_is_not_trusted(beats: Beats) -> None:
    """Another server may have taken its place, and shows a beat from long ago."""
    beats.seen("old", 10.0)
    beats.lost()
    beats.seen("from before the failover", 11.0)
    assert beats.moment_of("from before the failover") is None
    beats.seen("the new primary's own", 12.0)
    assert beats.moment_of("the new primary's own") == 11.0


def test_a_beat_that_is_seen_again_keeps_its_first_moment(beats: Beats) -> None:
    """A server that was set back must not make an old beat look new."""
    for at, beat in enumerate(("a", "b", "c", "b")):
        beats.seen(beat, float(at))
    assert beats.moment_of("b") == 0.0


def test_beats_are_forgotten_after_their_time(beats: Beats, clock: _Clock) -> None:
    """Four a second, for as long as a process runs."""
    for number in range(1_000):
        clock.at += 0.25
        beats.seen(number, clock.at)
    assert len(beats._moments) < 60 * 4 + 3
    clock.at += 10_000  # the process did not run for hours
    beats.seen("next", clock.at)
    beats.seen("and next", clock.at)
    assert beats.moment_of("and next") == clock.at


async def test_a_replica_is_read_from_until_its_bound_has_passed(
    replica: Replica, beats: Beats, clock: _Clock
) -> None:
    """Not when it was checked, but when it is read, its data must be young enough."""
    assert replica.state() is ReplicaState.UNAVAILABLE
    beats.seen("a", clock.at)
    beats.seen("b", clock.at + 0.1)
    replica.showed("b")
    assert replica.state() is ReplicaState.OK
    clock.at += _LAG_S - 0.001
    assert replica.state() is ReplicaState.OK
    clock.at += 0.001
    assert replica.state() is ReplicaState.LAGGING
    assert replica.behind_s() == pytest.approx(_LAG_S)
    replica.lost()
    assert (replica.state(), replica.behind_s()) == (ReplicaState.UNAVAILABLE, None)


def test_a_beat_that_comes_to_the_replica_before_us_counts_once_we_know_it(
    replica: Replica, beats: Beats, clock: _Clock
) -> None:
    """Other processes beat too, and we look at the primary only now and then."""
    beats.seen("a", clock.at)
    beats.seen("b", clock.at)
    replica.showed("b")
    known = replica.behind_s()
    replica.showed("c")
    assert replica.behind_s() == known, "what the beat before told still holds"
    clock.at += 0.5
    beats.seen("c", clock.at)
    assert replica.behind_s() == 0.5


def test_a_beat_that_nobody_knows_never_makes_a_replica_fit(replica: Replica, beats: Beats) -> None:
    """It may follow another server, or none."""
    beats.seen("a", 0.0)
    beats.seen("b", 0.0)
    replica.showed("a stranger's")
    assert replica.state() is ReplicaState.LAGGING


def test_a_replica_whose_read_failed_is_left_alone_for_a_moment(
    replica: Replica, beats: Beats, clock: _Clock
) -> None:
    """It answers its heartbeat, and yet does not serve."""
    beats.seen("a", clock.at)
    beats.seen("b", clock.at)
    replica.showed("b")
    assert replica.set_aside()
    assert not replica.set_aside(), "told once"
    assert replica.state() is ReplicaState.UNAVAILABLE
    clock.at += 1.0
    assert replica.state() is ReplicaState.OK


@dataclass
class _World:
    """A primary whose history is a list of commits, a replica that copies it late, processes."""

    random: random.Random
    clock: _Clock
    history: list[tuple[float, object]] = field(default_factory=list)
    """When each commit was acknowledged, and the beat it made, if it made one."""
    copied: int = 0
    clock_of_primary: float = 0.0

    def commit(self, beat: object = None) -> None:
        self.history.append((self.clock.at, beat))

    def beat_of(self, until: int) -> object:
        return next((b for _, b in reversed(self.history[:until]) if b is not None), "first")

    def pass_time(self) -> None:
        self.clock.at += self.random.expovariate(20)

    def copy(self) -> None:
        self.copied += self.random.randint(0, len(self.history) - self.copied)


def _ask_primary(world: _World, beats: Beats) -> None:
    """As ``Checking`` does; each step takes its time, and others commit meanwhile."""
    asked_at = world.clock.at
    world.pass_time()
    shown = world.beat_of(len(world.history))
    world.pass_time()
    if not beats.seen(shown, asked_at):
        return
    began_at = world.clock.at
    world.commit()  # acknowledged after ours began: need not be before it
    world.pass_time()
    if world.beat_of(len(world.history)) == shown:
        # The primary's clock may be set at any time, so beats may go back and forth.
        world.clock_of_primary += world.random.choice((0.25, 0.25, 0.25, 3_600.0, -3_599.0))
        world.commit((world.clock_of_primary, len(world.history)))
        beats.beaten(began_at)
    asked_at = world.clock.at
    beats.seen(world.beat_of(len(world.history)), asked_at)


@pytest.mark.parametrize("seed", range(40))
def test_a_replica_that_may_be_read_has_all_that_is_older_than_the_bound(
    seed: int, tmp_path: Path
) -> None:
    """Whatever the order in which processes ask, beat, commit and copy, and clocks are set."""
    clock = _Clock()
    world = _World(random.Random(seed), clock)
    settings = load_settings(
        farmlokal_home=tmp_path,
        database_url="mysql://u:p@127.0.0.1:1/d",
        database_replica_urls="mysql://u:p@127.0.0.1:2/d",
    )
    processes = []
    for _ in range(3):
        beats = Beats(60.0, clock)
        replica = Replica("replica-1", settings.database_replica_urls[0], settings, beats)
        processes.append((beats, replica))
    usable = 0
    for _ in range(1_500):
        world.pass_time()
        beats, replica = world.random.choice(processes)
        step = world.random.random()
        if step < 0.3:
            _ask_primary(world, beats)
        elif step < 0.6:
            replica.showed(world.beat_of(world.copied))
        elif step < 0.8:
            world.commit()
        elif step < 0.99:
            world.copy()
        else:
            beats.lost()
        if replica.state() is ReplicaState.OK:
            usable += 1
            missing = [at for at, _ in world.history[world.copied :]]
            assert all(at > clock.at - _LAG_S for at in missing)
    assert usable > 50, "or nothing was shown"
