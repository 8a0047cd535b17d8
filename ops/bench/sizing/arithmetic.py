"""From the cost of one to the size of many: plain multiplication, each line with its terms.

Nothing here is measured. A server is planned to be half busy at the most, so that one of two may
fail; memory is planned at the same share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ops.bench.sizing.serving import Cost
from ops.bench.sizing.storage import Storage

__all__ = ["Demand", "Line", "plan"]

_GIB: Final = 2**30
_BUSY: Final = 0.5
_DATABASE_CORES: Final = 16
_CACHE_NODE_GIB: Final = 32


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be served. Rates a second."""

    products: int = 100_000_000
    requests: float = 50_000
    hit_ratio: float = 0.95
    list_share: float = 0.6
    """Of the requests; the others ask for one product."""
    changes: float = 200
    webhooks: float = 500
    hot_share: float = 0.2
    """Of the products: read often enough to be wanted in memory."""
    cached_lists: int = 2_000_000
    changes_kept_days: int = 7
    webhooks_kept_days: int = 90


@dataclass(frozen=True, slots=True)
class Line:
    """One result and how it comes about."""

    what: str
    terms: str
    result: str


def plan(
    demand: Demand,
    storage: Storage,
    cached: tuple[float, float],
    costs: Mapping[str, Cost],
    numbered_per_s: float,
) -> list[Line]:
    """What ``demand`` takes. ``cached``: bytes of a cached list and of a cached product."""
    return [
        *_table(demand, storage),
        *_cache(demand, cached, costs),
        *_processes(demand, costs),
        *_database(demand, costs),
        Line(
            "the feed's one sequencer",
            f"{demand.changes + demand.webhooks:,.0f} changes/s of {numbered_per_s:,.0f}/s",
            f"{_percent((demand.changes + demand.webhooks) / numbered_per_s)} busy",
        ),
    ]


def _table(demand: Demand, storage: Storage) -> list[Line]:
    whole = demand.products * storage.product / _GIB
    marks = demand.products * storage.following["entity_watermarks"] / _GIB
    changes = _kept(demand.changes + demand.webhooks, demand.changes_kept_days)
    events = _kept(demand.webhooks, demand.webhooks_kept_days)
    change, event = storage.following["product_changes"], storage.following["webhook_events"]
    return [
        Line(
            "products with all indexes",
            f"{demand.products:,} x {storage.product:,.0f} B",
            f"{whole:,.0f} GiB",
        ),
        Line(
            "their watermarks",
            f"{demand.products:,} x {storage.following['entity_watermarks']:,.0f} B",
            f"{marks:,.0f} GiB",
        ),
        Line(
            "buffer pool for what is hot",
            f"{_percent(demand.hot_share)} of both",
            f"{(whole + marks) * demand.hot_share:,.0f} GiB",
        ),
        Line(
            f"changes of {demand.changes_kept_days} days",
            f"{changes:,.0f} x {change:,.0f} B",
            f"{changes * change / _GIB:,.0f} GiB",
        ),
        Line(
            f"webhook events of {demand.webhooks_kept_days} days",
            f"{events:,.0f} x {event:,.0f} B",
            f"{events * event / _GIB:,.0f} GiB",
        ),
    ]


def _cache(demand: Demand, cached: tuple[float, float], costs: Mapping[str, Cost]) -> list[Line]:
    hot = demand.products * demand.hot_share
    lists, products = demand.cached_lists * cached[0] / _GIB, hot * cached[1] / _GIB
    cores = _cores(demand, costs, "cache Redis")
    by_memory = math.ceil((lists + products) / (_CACHE_NODE_GIB * _BUSY))
    by_processor = math.ceil(cores / _BUSY)
    return [
        Line(
            "cached lists",
            f"{demand.cached_lists:,} x {cached[0]:,.0f} B",
            f"{lists:,.1f} GiB",
        ),
        Line("cached products", f"{hot:,.0f} x {cached[1]:,.0f} B", f"{products:,.1f} GiB"),
        Line(
            f"cache nodes by memory ({_CACHE_NODE_GIB} GiB each, half full)",
            f"{lists + products:,.1f} GiB / {_CACHE_NODE_GIB * _BUSY:,.0f}",
            f"{by_memory}",
        ),
        Line(
            "cache nodes by processor (one core each, half busy)",
            f"{_sum(demand, costs, 'cache Redis')} = {cores:,.1f} cores / {_BUSY}",
            f"{by_processor}",
        ),
    ]


def _processes(demand: Demand, costs: Mapping[str, Cost]) -> list[Line]:
    web = _cores(demand, costs, "web 1")
    worker = _cores(demand, costs, "worker")
    return [
        Line(
            "web processes (one core each, half busy)",
            f"{_sum(demand, costs, 'web 1')} = {web:,.1f} cores / {_BUSY}",
            f"{math.ceil(web / _BUSY)}",
        ),
        Line(
            "worker processes (one core each, half busy)",
            f"{_sum(demand, costs, 'worker')} = {worker:,.1f} cores / {_BUSY}",
            f"{math.ceil(worker / _BUSY)}",
        ),
    ]


def _database(demand: Demand, costs: Mapping[str, Cost]) -> list[Line]:
    reads, writes = _rates(demand, ("miss",)), _rates(demand, ("changed", "webhook"))
    read_cores = sum(rate * costs[kind].cpu_ms["mariadb"] / 1000 for kind, rate in reads.items())
    write_cores = sum(rate * costs[kind].cpu_ms["mariadb"] / 1000 for kind, rate in writes.items())
    statements = sum(rate * costs[kind].statements for kind, rate in {**reads, **writes}.items())
    replicas = math.ceil(read_cores / (_DATABASE_CORES * _BUSY))
    return [
        Line(
            "statements/s",
            " + ".join(
                f"{rate:,.0f} x {costs[kind].statements:.1f}"
                for kind, rate in {**reads, **writes}.items()
            ),
            f"{statements:,.0f}",
        ),
        Line(
            f"replicas for the misses ({_DATABASE_CORES} cores each, half busy)",
            f"{_sum(demand, costs, 'mariadb', reads)} = {read_cores:,.1f} cores",
            f"{replicas} and one to lose",
        ),
        Line(
            f"primary for the writes ({_DATABASE_CORES} cores)",
            f"{_sum(demand, costs, 'mariadb', writes)} = {write_cores:,.1f} cores",
            f"{_percent(write_cores / _DATABASE_CORES)} busy",
        ),
    ]


def _rates(demand: Demand, words: tuple[str, ...] = ()) -> dict[str, float]:
    """Requests a second by kind; those only whose kind has one of these words."""
    lists, products = demand.list_share, 1 - demand.list_share
    hit, miss = demand.requests * demand.hit_ratio, demand.requests * (1 - demand.hit_ratio)
    every = {
        "list, hit": hit * lists,
        "product, hit": hit * products,
        "list, miss": miss * lists,
        "product, miss": miss * products,
        "product changed": demand.changes,
        "webhook": demand.webhooks,
    }
    return {
        kind: rate
        for kind, rate in every.items()
        if not words or any(word in kind for word in words)
    }


def _cores(demand: Demand, costs: Mapping[str, Cost], who: str) -> float:
    return sum(rate * costs[kind].cpu_ms[who] / 1000 for kind, rate in _rates(demand).items())


def _sum(
    demand: Demand,
    costs: Mapping[str, Cost],
    who: str,
    rates: Mapping[str, float] | None = None,
) -> str:
    """The terms of ``_cores``; what costs nothing is left out."""
    chosen = _rates(demand) if rates is None else rates
    terms = [
        f"{rate:,.0f} x {costs[kind].cpu_ms[who]:.3f} ms"
        for kind, rate in chosen.items()
        if costs[kind].cpu_ms[who] >= 0.0005
    ]
    return " + ".join(terms) or "0"


def _kept(per_s: float, days: int) -> float:
    return per_s * 86_400 * days


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"
