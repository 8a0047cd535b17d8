"""The cases of the benchmark, by the names that ``--only`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ops.bench.bench import Bench
from ops.bench.cases import (
    depth,
    footprint,
    hits,
    importing,
    intake,
    misses,
    mix,
    open_loop,
    processing,
    scaling,
    searches,
)
from ops.bench.results import Row

__all__ = ["CASES"]

CASES: Final[Mapping[str, Callable[[Bench], list[Row]]]] = {
    "list-hit": hits.list_hit,
    "product-hit": hits.product_hit,
    "not-modified": hits.not_modified,
    "list-miss": misses.list_miss,
    "depth": depth.depth,
    "search": searches.search,
    "webhook-intake": intake.intake,
    "webhook-processing": processing.processing,
    "two-processes": scaling.two_processes,
    "zipf": mix.zipf_mix,
    "open-loop": open_loop.open_loop,
    "memory": footprint.memory,
    "start": footprint.start,
    "import": importing.importing,
}
