"""Counts that are handed over in batches: none is lost, none is counted twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
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


def test_what_a_loop_left_behind_is_handed_over_by_the_next() -> None:
    registry = CollectorRegistry()
    count = Count(Counter("things", "Things.", registry=registry))

    async def add() -> None:
        count.add()

    async def add_and_wait() -> None:
        count.add()
        await eventually_async(
            lambda: registry.get_sample_value("things_total") == 2, deadline_s=20 * FLUSH_WITHIN_S
        )

    for work in (add, add_and_wait):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(work())
        loop.close()


async def test_who_flushes_in_between_leaves_no_timer_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each would set another one when it is due: with every scrape the batches became smaller."""
    loop = asyncio.get_running_loop()
    call_later, timers = loop.call_later, list[asyncio.TimerHandle]()

    def noted(*arguments: Any) -> asyncio.TimerHandle:
        timers.append(call_later(*arguments))
        return timers[-1]

    flush_counts()
    monkeypatch.setattr(loop, "call_later", noted)
    count = Count(Counter("things", "Things.", registry=CollectorRegistry()))
    for _ in range(3):
        count.add()
        flush_counts()
    assert [timer.cancelled() for timer in timers] == [True, True, True]


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
