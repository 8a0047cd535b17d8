"""What the drills' table rests on: where a load may go, and when service counts as well again."""

from __future__ import annotations

import pytest

from tests.connections import port_of
from tests.drilling.samples import Sample, well_after_s
from tests.drilling.table import FaultRow, rendered

_STEP_S = 0.01
_SLOW_MS = 100.0


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1:80", "http://localhost:80", "https://127.0.0.1:443", "http://127.0.0.1"],
)
def test_a_load_goes_nowhere_but_to_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match="under load"):
        port_of(url)


@pytest.mark.parametrize(
    ("slow", "failed", "well_after"),
    [
        ((), (), 0.0),
        ((7,), (), 0.0),
        ((7, 200), (), 0.0),
        ((7, 90), (), 91 * _STEP_S),
        ((3, 4, 5, 290), (), 6 * _STEP_S),
        ((), (0, 42), 43 * _STEP_S),
        ((50, 60), (42,), 61 * _STEP_S),
    ],
    ids=["at-once", "one-slow", "rarely-slow", "two-slow", "at-first", "failed", "failed-and-slow"],
)
def test_service_is_well_from_the_last_trouble_on(
    slow: tuple[int, ...], failed: tuple[int, ...], well_after: float
) -> None:
    """One slow request in a hundred is no trouble; many good ones later make none of it good."""
    samples = [_sample(place, place in slow, place in failed) for place in range(300)]
    moment = samples[0].due_at
    assert well_after_s(samples, moment, _SLOW_MS) == pytest.approx(well_after)


def test_what_still_fails_at_the_end_has_not_recovered() -> None:
    for samples in ([], [_sample(0), _sample(1, failed=True)]):
        with pytest.raises(AssertionError, match="not well again"):
            well_after_s(samples, 0.0, _SLOW_MS)


def test_a_row_tells_nothing_disturbed_from_at_once_well_again() -> None:
    lines = rendered([FaultRow("none", 9, 0, 0, 0, None), FaultRow("a fault", 10, 2, 1, 0, 0.04)])
    assert lines == [
        "| fault   | requests | failures | lost | duplicated | time to recover |",
        "| ------- | -------- | -------- | ---- | ---------- | --------------- |",
        "| none    | 9        | 0        | 0    | 0          | –               |",
        "| a fault | 10       | 2        | 1    | 0          | 0.0 s           |",
    ]


def _sample(place: int, slow: bool = False, failed: bool = False) -> Sample:
    latency_ms = 2 * _SLOW_MS if slow else 5.0
    return Sample("list", 7.0 + place * _STEP_S, latency_ms, 503 if failed else 200, "", "")
