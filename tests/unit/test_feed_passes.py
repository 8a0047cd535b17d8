"""Callers of a pass: how many passes they cost, and what they get of one that fails."""

from __future__ import annotations

import asyncio

import pytest

from models.feed.passes import Passes


class Work:
    """Counts its passes; each lasts until it is let through."""

    def __init__(self) -> None:
        self.begun = 0
        self.errors: list[Exception | None] = []
        self._doors: list[asyncio.Event] = []

    async def __call__(self) -> int:
        self.begun += 1
        number, door = self.begun, asyncio.Event()
        self._doors.append(door)
        await door.wait()
        error = self.errors[number - 1] if len(self.errors) >= number else None
        if error is not None:
            raise error
        return number

    def let_through(self) -> None:
        self._doors[-1].set()


async def settled() -> None:
    """Everybody who can go on has gone on."""
    for _ in range(100):
        await asyncio.sleep(0)


async def test_one_pass_runs_and_one_more_serves_everybody_who_came_meanwhile() -> None:
    passes, work = Passes(), Work()
    first = asyncio.create_task(passes.join(work))
    await settled()
    late = [asyncio.create_task(passes.join(work)) for _ in range(50)]
    await settled()
    assert work.begun == 1
    work.let_through()
    await settled()
    assert (await first, work.begun) == (1, 2)
    # The second one has begun: it may have looked already.
    last = asyncio.create_task(passes.join(work))
    work.let_through()
    await settled()
    assert {await task for task in late} == {2}
    work.let_through()
    assert (await last, work.begun) == (3, 3)


async def test_a_failure_is_everybodys_who_took_part_and_nobody_elses() -> None:
    passes, work = Passes(), Work()
    work.errors = [None, RuntimeError("away")]
    first = asyncio.create_task(passes.join(work))
    await settled()
    late = [asyncio.create_task(passes.join(work)) for _ in range(3)]
    await settled()
    work.let_through()
    await settled()
    work.let_through()
    await settled()
    assert await first == 1
    for task in late:
        with pytest.raises(RuntimeError):
            await task
    again = asyncio.create_task(passes.join(work))
    await settled()
    work.let_through()
    assert (await again, work.begun) == (3, 3)


async def test_a_pass_that_is_cancelled_is_made_by_the_next_who_takes_part() -> None:
    """A job's time limit must not take the others' numbers with it."""
    passes, work = Passes(), Work()
    first = asyncio.create_task(passes.join(work))
    await settled()
    doomed, other = (asyncio.create_task(passes.join(work)) for _ in range(2))
    await settled()
    work.let_through()
    await settled()
    doomed.cancel()
    await settled()
    assert work.begun == 3
    work.let_through()
    assert (await first, await other) == (1, 3)
