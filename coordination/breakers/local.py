"""One process's own circuit for a service: pybreaker's state machine, fed with finished attempts.

It mirrors the fleet's circuit while Redis answers and decides alone while it does not. pybreaker
counts, trips and closes; three things it must never see are kept from it here (see
docs/decisions/0010): attempts under way, cancelled attempts, and answers that mean nothing.
Nothing here awaits, so each method is atomic on its event loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pybreaker

from coordination.breakers.circuit import Memory, Outcome, Permit, State, View

__all__ = ["LocalCircuit"]


class _FaultyAttempt(Exception):
    """What pybreaker counts."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """By the store's clock where it is known from there, else by this process's own."""

    store_us: int = 0
    local_s: float | None = None

    def argument(self, now_s: float) -> int:
        if self.local_s is None:
            return self.store_us
        return -max(1, round((now_s - self.local_s) * 1_000_000))


_NEVER = _Moment()


class LocalCircuit:
    """``on_transition`` hears of the transitions decided here, not of those adopted."""

    def __init__(
        self,
        service: str,
        *,
        failures: int,
        open_s: float,
        clock: Callable[[], float],
        on_transition: Callable[[State], None],
    ) -> None:
        self._storage = _Storage(pybreaker.STATE_CLOSED)
        self._machine = pybreaker.CircuitBreaker(
            fail_max=failures,
            reset_timeout=open_s,
            # The new error would only hide what tripped it.
            throw_new_error_on_trip=False,
            state_storage=self._storage,
            listeners=[_Listener(self._changed)],
            name=service,
        )
        self._open_s = open_s
        self._clock = clock
        self._on_transition = on_transition
        self._adopting = False
        self._epoch = 0
        self._due_at = 0.0
        self._trial = ""
        self._trial_until = 0.0
        self._failed = self._succeeded = self._opened = _NEVER
        # What was last seen of the fleet's circuit, and when.
        self._fleet_epoch = ""
        self._seen_us = 0
        self._seen_at = -math.inf
        self.version = 0
        """Grows with everything learnt here that the fleet was not told."""

    @property
    def state(self) -> State:
        """Of this process's own circuit."""
        return State(self._machine.current_state)

    @property
    def wait_s(self) -> float:
        """Until a trial may begin here; infinite while an operator holds the circuit open."""
        until = self._trial_until if self._trial else self._due_at
        return max(0.0, until - self._clock())

    def known_refusal(self, refresh_s: float) -> bool:
        """Whether the fleet's circuit was seen open so lately that it need not be asked again."""
        now = self._clock()
        is_fresh = now - self._seen_at < refresh_s
        return is_fresh and self.state is not State.CLOSED and self.wait_s > 0

    def memory(self) -> Memory:
        """What the fleet's store should know, should it not."""
        now = self._clock()
        is_open = self.state is not State.CLOSED
        return Memory(
            failures=self._storage.counter,
            failed_at=self._failed.argument(now),
            succeeded_at=self._succeeded.argument(now),
            opened_at=self._opened.argument(now) if is_open else 0,
        )

    def enter(self, token: str, lease_s: float) -> Permit | None:
        """Decide alone; ``None`` refuses. One trial at a time, under a lease that ends itself."""
        now = self._clock()
        if self.state is State.OPEN and now >= self._due_at:
            self._machine.half_open()
        if self.state is State.CLOSED:
            return Permit(self._epoch)
        # pybreaker lets every caller through once it is half-open.
        if self.state is State.OPEN or (self._trial and now < self._trial_until):
            return None
        self._trial, self._trial_until = token, now + lease_s
        return Permit(self._epoch, trial=token)

    def record(self, permit: Permit, outcome: Outcome) -> None:
        """Count an attempt the fleet does not hear of: ``SUCCESS``, ``FAULT`` or ``UNKNOWN``."""
        if permit.trial:
            if permit.trial != self._trial:
                return
            self._trial = ""
        elif permit.local_epoch != self._epoch or self.state is not State.CLOSED:
            return
        now = _Moment(local_s=self._clock())
        if outcome is Outcome.SUCCESS:
            self._machine.call(_answered)
            self._succeeded, self._failed = now, _NEVER
        elif outcome is Outcome.FAULT:
            with suppress(_FaultyAttempt):
                self._machine.call(_failed)
            self._failed = now
            if self.state is State.OPEN:
                self._opened = now
                self._due_at = self._clock() + self._open_s
        self.version += 1

    def adopt(
        self, view: View, *, token: str, lease_s: float, sent_at: float, version: int
    ) -> bool:
        """Take over what the fleet's store answered to what was sent then. False: outdated."""
        overtaken = view.now_us < self._seen_us and sent_at < self._seen_at
        if overtaken or version != self.version:
            return False
        now = self._clock()
        if view.epoch != self._fleet_epoch:
            self._fleet_epoch, self._epoch = view.epoch, self._epoch + 1
        self._adopting = True
        try:
            self._follow(view)
        finally:
            self._adopting = False
        self._storage.set_counter(view.failures)
        self._failed = _Moment(view.failed_at_us) if view.failures else _NEVER
        self._succeeded = _NEVER
        self._opened = _Moment(view.opened_at_us)
        self._due_at = math.inf if view.wait_s is None else now + view.wait_s
        if view.is_trial:
            self._trial, self._trial_until = token, now + lease_s
        elif view.state is not State.HALF_OPEN:
            self._trial = ""
        self._seen_us, self._seen_at = view.now_us, now
        return True

    def end_trial(self, token: str) -> None:
        """The fleet was told how this trial ended; what follows from it comes with its answer."""
        if self._trial == token:
            self._trial = ""

    def permit(self, view: View, token: str) -> Permit:
        """What the fleet's store granted, as a permit that works here too should it go away."""
        return Permit(self._epoch, view.epoch, token if view.is_trial else "")

    def _follow(self, view: View) -> None:
        if view.is_trial:
            target = State.HALF_OPEN
        elif self._trial and view.state is State.HALF_OPEN:
            return  # ours is the trial under way
        else:
            # Another process's trial: open to this one, until that trial's lease ends.
            target = State.CLOSED if view.state is State.CLOSED else State.OPEN
        if self.state is target:
            return
        if target is State.HALF_OPEN:
            self._machine.half_open()
        elif target is State.CLOSED:
            self._machine.close()
        else:
            self._machine.open()

    def _changed(self, state: str) -> None:
        self._epoch += 1
        if not self._adopting:
            self._on_transition(State(state))


class _Storage(pybreaker.CircuitMemoryStorage):
    def set_counter(self, failures: int) -> None:
        self._fail_counter = failures


class _Listener(pybreaker.CircuitBreakerListener):
    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        self._changed(new_state.name)


def _answered() -> None:
    """A call that went well."""


def _failed() -> None:
    raise _FaultyAttempt
