"""The arithmetic of growth: plain multiplication of what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.bench.sizing.arithmetic import Demand, Line, plan
from ops.bench.sizing.serving import Cost
from ops.bench.sizing.storage import Storage

_KINDS = ("list, hit", "product, hit", "list, miss", "product, miss", "product changed", "webhook")
_STORAGE = Storage(
    rows=1,
    by_index={"PRIMARY": 600, "full text": 400},
    following={"entity_watermarks": 100, "product_changes": 100, "webhook_events": 500},
)
_DEMAND = Demand(products=2**30, requests=10_000, hit_ratio=0.9, changes=100, webhooks=100)


def _cost(kind: str) -> Cost:
    missed = not kind.endswith("hit")
    cpu_ms = {"web 1": 1.0, "cache Redis": 0.1, "queue Redis": 0.0, "worker": 0.0}
    return Cost(kind, 1, 1, {**cpu_ms, "mariadb": 4.0 if missed else 0.0}, 2.0 if missed else 0, 1)


def _plan(demand: Demand = _DEMAND) -> dict[str, Line]:
    costs = {kind: _cost(kind) for kind in _KINDS}
    return {line.what: line for line in plan(demand, _STORAGE, (10_000.0, 1_000.0), costs, 1_000.0)}


@pytest.mark.parametrize(
    ("what", "result"),
    [
        ("products with all indexes", "1,000 GiB"),
        ("their watermarks", "100 GiB"),
        ("buffer pool for what is hot", "220 GiB"),
        # 10,200 requests of 1 ms are 10.2 cores, half busy.
        ("web processes (one core each, half busy)", "21"),
        ("cache nodes by processor (one core each, half busy)", "3"),
        # 200 GiB of products and some of lists, on nodes of 32 that are half full.
        ("cache nodes by memory (32 GiB each, half full)", "14"),
        # 1,000 misses and 200 writes, of two statements each.
        ("statements/s", "2,400"),
        # 1,000 misses of 4 ms: 4 cores of 16, half busy.
        ("replicas for the misses (16 cores each, half busy)", "1 and one to lose"),
        ("primary for the writes (16 cores)", "5 % busy"),
        ("the feed's one sequencer", "20 % busy"),
    ],
)
def test_each_result_is_the_product_of_its_terms(what: str, result: str) -> None:
    assert _plan()[what].result == result


def test_more_requests_take_more_of_what_serves_them_and_no_more_storage() -> None:
    """And a lower hit ratio takes more of the database."""
    more = _plan(replace(_DEMAND, requests=100_000))
    assert more["products with all indexes"] == _plan()["products with all indexes"]
    assert more["web processes (one core each, half busy)"].result == "201"
    missed = _plan(replace(_DEMAND, hit_ratio=0.0))
    assert missed["replicas for the misses (16 cores each, half busy)"].result.startswith("5 ")
