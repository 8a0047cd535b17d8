"""What is asked of the cache and what it gives back; ``coordination.cache`` does the work."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from coordination.cache_entry import Answer
from coordination.counting import Count
from coordination.metrics import CACHE_READS
from coordination.rate_limit import Verdict

__all__ = ["NO_GROUND", "Fetched", "Ground", "Lifetime", "Outcome", "ReadPlan", "reads"]


class Outcome(StrEnum):
    """How an answer came about; the label of ``cache_reads_total``."""

    HIT = "hit"
    STALE = "stale"
    NEGATIVE = "negative"
    MISS = "miss"
    WAIT = "wait"
    BYPASS = "bypass"
    RESCUE = "rescue"
    """Long past its time, and the database could not be had."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds until an entry is filled anew in the background, and until it is gone."""

    soft_s: float
    hard_s: float
    negative_s: float


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What to read. ``generations`` begins with ``cache:gen:all`` and has at most two.

    ``watched``: further generations that void nothing here, yet are replaced whenever this answer
    may change; they tell how long the answer has been settled.
    """

    kind: str
    entry: str
    generations: tuple[str, ...]
    lifetime: Lifetime
    watched: tuple[str, ...] = ()


class Ground(NamedTuple):
    """On what an answer is to be made.

    ``settled_ms``: how many ms ago, by Redis's clock, anything was voided that the answer depends
    on; 0 where that is not known. ``stamp``: the generations, read before, that void it; empty
    without a cache.
    """

    settled_ms: int
    stamp: bytes


NO_GROUND = Ground(0, b"")


class Fetched(NamedTuple):
    """An answer, where it came from, and what the limiter said on the same round trip.

    ``generation``: the value of ``cache:gen:all`` it was read under, or ``None`` without a cache.
    ``warm``: this caller, and no other for a while, should have the entry filled anew.
    """

    answer: Answer
    outcome: Outcome
    ttl_s: int
    verdict: Verdict | None
    generation: bytes | None
    warm: bool = False


@cache
def reads(kind: str, outcome: Outcome) -> Count:
    """The count of reads that came about so."""
    return Count(CACHE_READS, kind, outcome.value)
