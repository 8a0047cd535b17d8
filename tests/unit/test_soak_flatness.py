"""The soak's verdict: what grows fails, what saws or warms up does not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from ops.bench.soak.flatness import LEAST_SAMPLES, judge, theil_sen

_TIMES = [5.0 * number for number in range(180)]  # a quarter of an hour
_noise = random.Random(7)
_NOISE = [_noise.uniform(-1, 1) for _ in _TIMES]


def _is_flat(value: Callable[[float], float]) -> bool:
    values = [value(at) + noise for at, noise in zip(_TIMES, _NOISE, strict=True)]
    return judge(_TIMES, values, share=0.05, floor=1).is_flat


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(lambda _at: 100.0, id="level"),
        pytest.param(lambda at: 100 + at % 60, id="sawtooth"),
        pytest.param(lambda at: 100 + 40 * math.sin(at / 20), id="wave"),
        pytest.param(lambda at: 200 - 150 * math.exp(-at / 60), id="warms up"),
        pytest.param(lambda at: 100 + 500 * (at in {600, 700, 800}), id="spikes"),
        pytest.param(lambda at: 200 - at / 10, id="shrinks"),
        pytest.param(lambda _at: 0.0, id="nothing"),
    ],
)
def test_what_does_not_grow_is_flat(value: Callable[[float], float]) -> None:
    assert _is_flat(value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(lambda at: 100 + at / 40, id="steadily"),
        pytest.param(lambda at: 100 + at % 60 + at / 40, id="as a sawtooth"),
        pytest.param(lambda at: 100.0 + 12 * (at > 550), id="by a step"),
        pytest.param(lambda at: 100 + max(0, at - 450) / 20, id="late"),
        pytest.param(lambda at: 100 * math.exp(at / 2_000), id="ever faster"),
    ],
)
def test_what_grows_is_not_flat(value: Callable[[float], float]) -> None:
    assert not _is_flat(value)


def test_the_slope_is_that_of_most_samples() -> None:
    """A quarter of them may be anything."""
    times = [float(number) for number in range(30)]
    values = [2 * at if number % 4 else 1e6 for number, at in enumerate(times)]
    assert theil_sen([0, 1, 2], [0, 2, 4]) == 2
    assert theil_sen(times, values) == 2
    assert theil_sen([1], [1]) == 0


def test_too_few_samples_prove_nothing() -> None:
    few = list(range(LEAST_SAMPLES - 1))
    with pytest.raises(ValueError, match="samples"):
        judge(few, few, share=1, floor=1)
