"""Batches share a process, a suspect has it alone: else a neighbour's crash would condemn it."""

from __future__ import annotations

import asyncio
import random

import pytest

from models.webhooks.gate import Gate


async def test_a_suspect_is_alone_and_everybody_gets_in() -> None:
    """Many come and go at random; at no moment is anybody in there with a suspect."""
    gate = Gate(most_batches=3)
    rng = random.Random(7)
    inside: list[str] = []
    seen: list[tuple[str, ...]] = []

    async def stay(name: str) -> None:
        inside.append(name)
        for _ in range(rng.randrange(4)):
            seen.append(tuple(inside))
            await asyncio.sleep(0)
        inside.remove(name)

    async def batch() -> None:
        async with gate.shared():
            await stay("batch")

    async def suspect() -> None:
        while gate.is_taken:  # noqa: ASYNC110 - a worker goes elsewhere meanwhile
            await asyncio.sleep(0)
        async with gate.alone():
            await stay("suspect")

    async with asyncio.timeout(20):
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(suspect() if number % 9 == 0 else batch())
    assert all(names == ("suspect",) or "suspect" not in names for names in seen)
    assert max(map(len, seen)) == 3
    assert any("suspect" in names for names in seen)


async def test_who_waits_to_be_alone_is_not_overtaken() -> None:
    """A busy process has always some batch inside; its suspects must run all the same."""
    gate = Gate()
    order: list[str] = []
    leave = asyncio.Event()

    async def first() -> None:
        async with gate.shared():
            await leave.wait()

    async def alone() -> None:
        async with gate.alone():
            order.append("suspect")

    async def later() -> None:
        async with gate.shared():
            order.append("batch")

    tasks = [asyncio.create_task(each()) for each in (first, alone, later)]
    await asyncio.sleep(0)
    leave.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 20)
    assert order == ["suspect", "batch"]


async def test_who_is_cancelled_leaves_no_door_shut() -> None:
    """Jobs are cancelled when their time is up, inside the gate or before it."""
    gate = Gate(most_batches=1)
    async with gate.shared():
        waiting = [asyncio.create_task(_be_alone(gate)), asyncio.create_task(_pass(gate))]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert not gate.is_taken
    await asyncio.wait_for(_pass(gate), 20)
    async with gate.alone():
        assert gate.is_taken
        with pytest.raises(RuntimeError):
            await _be_alone(gate)


async def _pass(gate: Gate) -> None:
    async with gate.shared():
        await asyncio.sleep(0)


async def _be_alone(gate: Gate) -> None:
    async with gate.alone():
        await asyncio.sleep(0)
