"""The circuit's Lua against a model of it in Python, over made-up histories."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from coordination import keys
from coordination.scripts import source
from tests.servers import PrivateRedis

FAILURES, OPEN_US, LEASE_US = 5, 30_000_000, 5_000_000
_numbers = itertools.count()

Outcome = Literal["success", "fault", "release"]


@dataclass
class Permit:
    token: str
    epoch: int
    is_trial: bool


@dataclass
class Model:
    """What the contract says, written down the plainest way."""

    now: int = 1_700_000_000_000_000
    epoch: int = 0
    failures: int = 0
    due: int | None = None
    held: bool = False
    trial: str | None = None
    trial_until: int = 0
    permits: list[Permit] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.due is not None

    def seen(self) -> tuple[str, int, int]:
        """State, failures in a row, µs to wait."""
        if self.due is None:
            return "closed", self.failures, 0
        if self.held:
            return "open", self.failures, -1
        if self.trial is not None and self.now < self.trial_until:
            return "half-open", self.failures, self.trial_until - self.now
        wait = max(0, self.due - self.now)
        return ("open" if wait else "half-open"), self.failures, wait

    def enter(self, token: str) -> int:
        if not self.is_open:
            self.permits.append(Permit(token, self.epoch, is_trial=False))
            return 1
        state, _, wait = self.seen()
        if state != "half-open" or wait:
            return 0
        self.trial, self.trial_until = token, self.now + LEASE_US
        self.permits.append(Permit(token, self.epoch, is_trial=True))
        return 2

    def report(self, permit: Permit, outcome: Outcome) -> None:
        if permit.is_trial:
            if self.trial != permit.token:
                return
            self.trial = None
            if outcome == "success":
                self._close()
            elif outcome == "fault":
                self.failures += 1
                self._open()
        elif not self.is_open and permit.epoch == self.epoch:
            if outcome == "success":
                self.failures = 0
            elif outcome == "fault":
                self.failures += 1
                if self.failures == FAILURES:
                    self._open()

    def operate(self, action: str) -> None:
        if action == "open":
            self._open()
            self.held = True
        else:
            self._close()

    def _open(self) -> None:
        self.epoch, self.due, self.held, self.trial = self.now, self.now + OPEN_US, False, None

    def _close(self) -> None:
        self.epoch, self.due, self.held, self.trial = self.now, None, False, None
        self.failures = 0


class Store:
    """The scripts on the server."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._key = keys.breaker(f"model-{next(_numbers)}")

    def run(self, name: str, now: int, *arguments: object) -> list[Any]:
        common = [now, FAILURES, OPEN_US, 3_600_000, 0, 0, 0, 0]
        texts = [str(argument) for argument in (*common, *arguments)]
        reply: Any = self._client.eval(source(name), 1, self._key, *texts)
        return [part.decode() if isinstance(part, bytes) else part for part in reply]

    def seen(self, now: int) -> tuple[str, int, int]:
        reply = self.run("breaker_operate", now, "", "", "")
        return reply[1], int(reply[3]), int(reply[6])

    def forget(self) -> None:
        self._client.delete(self._key)


steps = st.one_of(
    st.tuples(st.just("enter"), st.just(0)),
    # Mostly faults of the latest attempts, or no circuit would ever open.
    st.tuples(st.just("fault"), st.integers(0, 2)),
    st.tuples(st.just("fault"), st.integers(0, 20)),
    st.tuples(st.just("success"), st.integers(0, 20)),
    st.tuples(st.just("release"), st.integers(0, 20)),
    st.tuples(st.just("pass"), st.sampled_from([1, 2_000_000, 5_000_000, 29_999_999, 30_000_000])),
    st.tuples(st.sampled_from(["open", "close", "reset"]), st.just(0)),
)
outage = st.just([step for _ in range(FAILURES) for step in (("enter", 0), ("fault", 0))])
histories = st.lists(st.one_of(steps.map(lambda step: [step]), outage), max_size=25).map(
    lambda parts: [step for part in parts for step in part]
)


@given(history=histories)
@settings(max_examples=300, deadline=None)
def test_every_history_ends_as_the_model_says(
    redis_server: PrivateRedis, history: list[tuple[str, int]]
) -> None:
    """Reports of old epochs, lost trials, operators' hands and time, in any order."""
    model = Model()
    with redis_server.client() as client:
        store = Store(client)
        for number, (step, value) in enumerate(history):
            model.now += 1  # the server's clock never stands still between two scripts
            if step == "enter":
                token = f"token-{number}"
                reply = store.run("breaker_enter", model.now, token, LEASE_US)
                assert reply[0] == model.enter(token)
                if reply[0]:
                    assert int(reply[2]) == model.permits[-1].epoch
            elif step == "pass":
                model.now += value
            elif step in {"fault", "success", "release"}:
                if not model.permits:
                    continue
                permit = model.permits.pop(-1 - value % len(model.permits))
                trial = permit.token if permit.is_trial else ""
                store.run("breaker_report", model.now, step, permit.epoch, trial, "because")
                model.report(permit, step)  # type: ignore[arg-type]  # the three it takes
            else:
                store.run("breaker_operate", model.now, step, "eve", "why")
                model.operate(step)
            assert store.seen(model.now) == model.seen()
        store.forget()
