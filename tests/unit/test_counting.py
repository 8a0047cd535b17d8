"""Counts that are handed over in batches: none is lost, none is counted twice."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from coordination.counting import FLUSH_WITHIN_S, Count, Durations, flush_counts
from tests.polling import eventually_async


async def test_counts_arrive_by_themselves_and_again_after_that() -> None:
    registry = CollectorRegistry()
    count = Count(Counter("things", "Things.", ["kind"], registry=registry), "good")

    def counted() -> float | None:
        return registry.get_sample_value("things_total", {"kind": "good"})

    async def add_three(before: int) -> None:
        for _ in range(3):
            count.add()
        assert counted() == before
        await eventually_async(lambda: counted() == before + 3, deadline_s=20 * FLUSH_WITHIN_S)

    await add_three(before=0)
    await add_three(before=3)
    count.add()
    flush_counts()
    flush_counts()
    assert counted() == 7


async def test_durations_fall_into_the_buckets_that_prometheus_would_choose() -> None:
    registry = CollectorRegistry()
    bounds = (0.1, 0.2, 0.5)
    batched = Histogram("batched", "Ours.", buckets=bounds, registry=registry)
    direct = Histogram("direct", "Theirs.", buckets=bounds, registry=registry)
    durations = Durations(batched)
    for duration_s in (0.0, 0.1, 0.15, 0.2, 0.21, 0.5, 0.6, 9.0):
        durations.add(duration_s)
        direct.observe(duration_s)
    flush_counts()
    found = {
        name: {
            (sample.name.removeprefix(name), *sample.labels.items()): sample.value
            for metric in registry.collect()
            if metric.name == name
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }
        for name in ("batched", "direct")
    }
    assert found["batched"] == found["direct"]
    assert found["direct"]
