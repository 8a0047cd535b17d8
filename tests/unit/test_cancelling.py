"""Ending tasks that do not end at the first cancellation."""

from __future__ import annotations

import asyncio

from coordination.cancelling import end


async def swallow(times: int) -> None:
    """Go on after so many cancellations, as a loop around `asyncio.wait_for` may on Python 3.11."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not times:
                raise
            times -= 1


async def started(times: int) -> asyncio.Task[None]:
    task = asyncio.create_task(swallow(times))
    await asyncio.sleep(0)
    return task


async def test_a_swallowed_cancellation_is_repeated() -> None:
    """A scheduler hung at its stop, once in many, because its renewals went on."""
    task = await started(1)
    assert await end([task], within_s=5)
    assert task.cancelled()


async def test_a_task_that_will_not_end_is_left_at_the_deadline() -> None:
    """A stop has a deadline, whatever a task does."""
    task = await started(2)
    assert not await end([task], within_s=0.1)
    task.cancel()
    task.cancel()
    assert await end([task], within_s=5)


async def test_nothing_and_what_has_ended_or_failed_is_no_trouble() -> None:
    """Closing twice, and closing after a defect, must work."""

    async def broken() -> None:
        raise ZeroDivisionError

    failed = asyncio.create_task(broken())
    await asyncio.wait({failed})
    assert await end([failed], within_s=1)
    assert await end([], within_s=1)
