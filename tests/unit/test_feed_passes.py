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


async def test_one_pass_runs_one_waits_and_nobody_else_stays() -> None:
    passes, work = Passes(), Work()
    first, second = (asyncio.create_task(passes.join(work)) for _ in range(2))
    await settled()
    assert await asyncio.gather(*(passes.join(work) for _ in range(50))) == [0] * 50
    assert work.begun == 1
    work.let_through()
    await settled()
    assert (await first, work.begun) == (1, 2)
    # The second one has begun: it may have looked already.
    last = asyncio.create_task(passes.join(work))
    await settled()
    assert not last.done()
    work.let_through()
    await settled()
    assert (await second, work.begun) == (2, 3)
    work.let_through()
    assert await last == 3


async def test_a_failure_is_that_of_its_own_caller() -> None:
    passes, work = Passes(), Work()
    work.errors = [RuntimeError("away")]
    first, second = (asyncio.create_task(passes.join(work)) for _ in range(2))
    await settled()
    work.let_through()
    with pytest.raises(RuntimeError):
        await first
    await settled()
    work.let_through()
    assert (await second, work.begun) == (2, 2)


@pytest.mark.parametrize("doomed", [0, 1])
async def test_a_caller_who_is_cancelled_keeps_no_place(doomed: int) -> None:
    """A job's time limit must not keep the others from numbering for ever."""
    passes, work = Passes(), Work()
    callers = [asyncio.create_task(passes.join(work)) for _ in range(2)]
    await settled()
    callers[doomed].cancel()
    await settled()
    third = asyncio.create_task(passes.join(work))
    await settled()
    served = [task for task in (*callers, third) if not task.done()]
    # The first runs and the third waits; or the second runs, having waited, and the third waits.
    assert len(served) == 2
    for task in served:
        work.let_through()
        await task
        await settled()
    assert work.begun == 2 + (doomed == 0)
