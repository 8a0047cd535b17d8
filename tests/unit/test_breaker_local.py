"""One process's own circuit: pybreaker's state machine without pybreaker's surprises."""

from __future__ import annotations

import pytest

from coordination.breakers.circuit import Outcome, Permit, State, View
from coordination.breakers.local import LocalCircuit

LEASE_S = 5.0


class Process:
    def __init__(self) -> None:
        self.now = 100.0
        self.transitions: list[State] = []
        self.circuit = LocalCircuit(
            "supply",
            failures=5,
            open_s=30,
            clock=lambda: self.now,
            on_transition=self.transitions.append,
        )

    def state(self) -> State:
        return self.circuit.state

    def attempt(self, outcome: Outcome) -> None:
        permit = self.enter()
        assert permit is not None
        self.circuit.record(permit, outcome)

    def enter(self, name: str = "mine") -> Permit | None:
        return self.circuit.enter(name, LEASE_S)

    def adopt(self, view: View, *, sent_at: float | None = None, token: str = "") -> bool:
        return self.circuit.adopt(
            view,
            token=token,
            lease_s=LEASE_S,
            sent_at=self.now if sent_at is None else sent_at,
            version=self.circuit.version,
        )


def view_of(
    state: State,
    *,
    epoch: str = "1",
    failures: int = 0,
    wait_s: float | None = 0.0,
    is_trial: bool = False,
    now_us: int = 1_000_000,
) -> View:
    return View(
        admitted=state is State.CLOSED or is_trial,
        is_trial=is_trial,
        state=state,
        epoch=epoch,
        failures=failures,
        failed_at_us=500_000 if failures else 0,
        opened_at_us=500_000,
        wait_s=wait_s,
        transition=None,
        cause="",
        action="",
        by="",
        why="",
        acted_at_us=0,
        succeeded_at_us=0,
        now_us=now_us,
    )


@pytest.fixture
def process() -> Process:
    return Process()


def test_it_goes_through_all_states(process: Process) -> None:
    """The seed's drawing, transition by transition."""
    for _ in range(4):
        process.attempt(Outcome.FAULT)
    process.attempt(Outcome.SUCCESS)
    for _ in range(5):
        process.attempt(Outcome.FAULT)
    assert process.enter() is None
    process.now += 30
    process.attempt(Outcome.FAULT)
    process.now += 30
    process.attempt(Outcome.SUCCESS)
    assert process.transitions == [
        State.OPEN,
        State.HALF_OPEN,
        State.OPEN,
        State.HALF_OPEN,
        State.CLOSED,
    ]


def test_one_trial_at_a_time(process: Process) -> None:
    """pybreaker lets everyone through a half-open circuit, and a cancellation closes it."""
    for _ in range(5):
        process.attempt(Outcome.FAULT)
    process.now += 30
    first = process.enter("first")
    assert first is not None
    assert process.enter("second") is None
    process.circuit.record(first, Outcome.UNKNOWN)
    assert process.state() is State.HALF_OPEN
    second = process.enter("second")
    assert second is not None
    process.now += LEASE_S
    third = process.enter("third")
    assert third is not None
    process.circuit.record(second, Outcome.SUCCESS)
    assert process.state() is State.HALF_OPEN
    process.circuit.record(third, Outcome.SUCCESS)
    assert process.state() is State.CLOSED


def test_what_it_adopts_is_no_transition_of_its_own(process: Process) -> None:
    """Each transition is counted once, by whoever made it."""
    assert process.adopt(view_of(State.OPEN, failures=5, wait_s=20))
    assert (process.circuit.state, process.circuit.wait_s) == (State.OPEN, 20)
    assert process.circuit.known_refusal(0.5)
    process.now += 0.5
    assert not process.circuit.known_refusal(0.5)
    assert process.adopt(view_of(State.CLOSED, epoch="2"))
    assert process.transitions == []


def test_an_overtaken_answer_changes_nothing(process: Process) -> None:
    """Two questions at once may be answered in the wrong order."""
    sent_at = process.now
    process.now += 0.1
    assert process.adopt(view_of(State.OPEN, epoch="2", wait_s=30, now_us=2_000_000))
    assert not process.adopt(view_of(State.CLOSED, now_us=1_999_999), sent_at=sent_at)
    assert process.state() is State.OPEN
    # A server whose clock is behind is believed when it was asked later.
    process.now += 0.1
    assert process.adopt(view_of(State.CLOSED, epoch="3", now_us=1))
    assert process.state() is State.CLOSED


def test_an_answer_does_not_undo_what_was_learnt_after_its_question(process: Process) -> None:
    """While one report got no answer, another question did: the fault must stay counted."""
    version = process.circuit.version
    process.attempt(Outcome.FAULT)
    adopted = process.circuit.adopt(
        view_of(State.CLOSED), token="", lease_s=0, sent_at=process.now, version=version
    )
    assert not adopted
    assert process.circuit.memory().failures == 1


def test_an_attempt_from_before_a_transition_says_nothing(process: Process) -> None:
    """Also when the transition was the fleet's, there and back between two looks."""
    process.adopt(view_of(State.CLOSED, epoch="1"))
    late = process.circuit.permit(view_of(State.CLOSED, epoch="1"), "")
    process.adopt(view_of(State.CLOSED, epoch="3"))
    process.circuit.record(late, Outcome.FAULT)
    assert process.circuit.memory().failures == 0


def test_what_it_tells_says_by_whose_clock(process: Process) -> None:
    """A moment noted here goes as an age, one from the store as it came; clocks are never mixed."""
    process.adopt(view_of(State.CLOSED, failures=2))
    assert process.circuit.memory().failed_at == 500_000
    process.attempt(Outcome.FAULT)
    process.now += 2
    memory = process.circuit.memory()
    assert (memory.failures, memory.failed_at, memory.opened_at) == (3, -2_000_000, 0)
    process.attempt(Outcome.SUCCESS)
    memory = process.circuit.memory()
    assert (memory.failures, memory.failed_at, memory.succeeded_at) == (0, 0, -1)
