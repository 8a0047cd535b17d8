"""Who is turned away, and for how long, with a clock that the test moves."""

from __future__ import annotations

from api.webhooks.penalty_box import PenaltyBox
from coordination.rate_limit import Verdict

_VERDICT = Verdict(
    allowed=False,
    policy="failed-authentication",
    limit=5,
    window_s=60,
    remaining=0,
    reset_s=40,
    retry_after_s=10,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_address_waits_as_long_as_the_limiter_said() -> None:
    clock = Clock()
    box = PenaltyBox(clock=clock)
    box.put("a", _VERDICT)
    assert box.verdict_on("a") == _VERDICT
    assert box.verdict_on("b") is None
    clock.now += 7.5
    assert box.verdict_on("a") == _VERDICT._replace(retry_after_s=3)
    clock.now += 2.5
    assert box.verdict_on("a") is None
    clock.now -= 5
    assert box.verdict_on("a") is None  # forgotten, not only over


def test_it_holds_the_last_ones_only() -> None:
    """A flood from ever new addresses must not fill the memory."""
    box = PenaltyBox(capacity=2, clock=Clock())
    for identity in ("a", "b", "a", "c"):
        box.put(identity, _VERDICT)
    assert [box.verdict_on(identity) is not None for identity in "abc"] == [True, False, True]
