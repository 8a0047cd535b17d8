"""The rule by which a series of samples is flat or grows.

What warms up grows at first, so the first third says nothing. *Level*: the median of the last third
must not exceed that of the middle third by more than a share of it and a floor. *Slope*: the
Theil-Sen estimate (the median of the slopes between all pairs of samples; Sen 1968), which a
quarter of wild samples cannot move, over the second half of the run; carried on for as long as that
half lasted, it must not exceed the same bound. So a sawtooth is flat however steep its teeth are,
and steady growth is seen twice. What grows by less than the bound within half a run is not seen:
run longer.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

__all__ = ["LEAST_SAMPLES", "Flatness", "judge", "theil_sen"]

LEAST_SAMPLES: Final = 12


@dataclass(frozen=True, slots=True)
class Flatness:
    """What became of one series, in its own unit."""

    begin: float
    """Median of the middle third."""
    end: float
    """Median of the last third."""
    slope_per_h: float
    """Of the second half."""
    allowed: float
    """How much more ``end`` might be than ``begin``."""
    is_flat: bool


def judge(
    times_s: Sequence[float], values: Sequence[float], *, share: float, floor: float
) -> Flatness:
    """Whether these samples, taken at these ascending moments, are flat.

    ``share`` (of the level) and ``floor`` (in the series' unit) are what may be added without being
    growth. Raises ``ValueError`` for fewer than ``LEAST_SAMPLES``: they would prove nothing.
    """
    count = len(values)
    if count < LEAST_SAMPLES or count != len(times_s):
        raise ValueError(f"{count} samples: {LEAST_SAMPLES} are needed at least")
    third, half = count // 3, count // 2
    begin = statistics.median(values[third : 2 * third])
    end = statistics.median(values[2 * third :])
    slope_per_s = theil_sen(times_s[half:], values[half:])
    allowed = share * abs(begin) + floor
    risen = slope_per_s * (times_s[-1] - times_s[half])
    return Flatness(begin, end, slope_per_s * 3_600, allowed, max(end - begin, risen) <= allowed)


def theil_sen(times_s: Sequence[float], values: Sequence[float]) -> float:
    """The median slope between any two samples, in units a second; 0 for fewer than two."""
    slopes = [
        (values[later] - values[earlier]) / (times_s[later] - times_s[earlier])
        for earlier, later in combinations(range(len(values)), 2)
        if times_s[later] > times_s[earlier]
    ]
    return statistics.median(slopes) if slopes else 0.0
