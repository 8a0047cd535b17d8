"""How much of a product the supply partner could deliver: made up, plausible, repeatable.

The figure is a function of seed, farm, SKU and time alone, so any two sandboxes with one seed agree
and a test can predict it. It knows no catalogue: whatever is asked for is offered.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

__all__ = ["STEP_S", "Availability", "availability"]

STEP_S: Final = 10
"""The figure changes at most this often."""
_LEAST: Final = 20
_SPREAD: Final = 400
_SHORTEST_WAVE_S: Final = 600
_LONGEST_WAVE_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Availability:
    """What the partner says at ``as_of``."""

    sku: str
    farm: str
    available: int
    as_of: datetime

    def body(self) -> dict[str, object]:
        """As JSON; ``as_of`` is RFC 3339 in UTC."""
        return {
            "sku": self.sku,
            "farm": self.farm,
            "available": self.available,
            "as_of": self.as_of.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def availability(seed: int, farm: str, sku: str, now_s: float) -> Availability:
    """The figure of the current step: a wave around a level, both the product's own."""
    step = int(now_s // STEP_S) * STEP_S
    # With the length, farm "a" of SKU "b:c" and farm "a:b" of SKU "c" differ.
    digest = hashlib.sha256(f"{seed}:{len(farm)}:{farm}:{sku}".encode()).digest()
    level, length, phase = (int.from_bytes(digest[i : i + 4]) / 2**32 for i in (0, 4, 8))
    middle = _LEAST + level * _SPREAD
    wave_s = _SHORTEST_WAVE_S + length * (_LONGEST_WAVE_S - _SHORTEST_WAVE_S)
    swing = math.sin(2 * math.pi * (step / wave_s + phase))
    return Availability(
        sku=sku,
        farm=farm,
        available=round(middle * (1 + 0.5 * swing)),
        as_of=datetime.fromtimestamp(step, UTC),
    )
