"""What became of each request of a load, and when service was well again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

__all__ = ["Kind", "Sample", "well_after_s"]

Kind = Literal["list", "product", "miss", "write", "read_back", "webhook"]
_HUNDRED: Final = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Times in seconds of ``MixedLoad.now()``."""

    kind: Kind
    due_at: float
    latency_ms: float
    status: int
    """0: no answer, or no whole one, within the load's patience."""
    cache_status: str
    retry_after: str

    @property
    def failed(self) -> bool:
        """Anything but a 2xx: the load asks only for what must succeed, and never too much."""
        return not 200 <= self.status < 300

    @property
    def ended_at(self) -> float:
        return self.due_at + self.latency_ms / 1000


def well_after_s(samples: Sequence[Sample], moment: float, slow_ms: float) -> float:
    """How long after this moment service was well, for good. ``samples``: all since, as due.

    Well: no request fails, and of any hundred in a row at most one is slower than ``slow_ms``.
    Raises ``AssertionError`` where the last request failed, or where there was none.
    """
    if not samples or samples[-1].failed:
        raise AssertionError("service was not well again as long as anybody asked")
    slow = [place for place, sample in enumerate(samples) if sample.latency_ms > slow_ms]
    unwell = [later for earlier, later in pairwise(slow) if later - earlier < _HUNDRED]
    unwell += [place for place, sample in enumerate(samples) if sample.failed]
    if not unwell:
        return 0.0
    well_from = max(unwell) + 1
    well_at = samples[well_from].due_at if well_from < len(samples) else samples[-1].ended_at
    return max(0.0, well_at - moment)
