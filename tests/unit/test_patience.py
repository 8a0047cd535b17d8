"""A deadline for others that our own lateness does not use up."""

from __future__ import annotations

import asyncio
import time

import pytest

from coordination.patience import Patience


async def test_an_answer_in_time_passes_and_a_late_one_does_not() -> None:
    async with Patience(1):
        await asyncio.sleep(0)
    began_at = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Patience(0.05):
            await asyncio.sleep(10)
    assert 0.05 <= time.monotonic() - began_at < 1
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_loop_that_is_always_late_gives_up_in_the_end() -> None:
    async def keep_busy() -> None:
        while True:
            time.sleep(0.02)  # noqa: ASYNC251 - as above
            await asyncio.sleep(0)

    busy = asyncio.create_task(keep_busy())
    began_at = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Patience(0.05):
            await asyncio.sleep(10)
    assert time.monotonic() - began_at < 3 * 0.05 + 0.5
    busy.cancel()


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def wait() -> None:
        async with Patience(0.02):
            await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_body_s_own_errors_pass_through() -> None:
    with pytest.raises(KeyError):
        async with Patience(1):
            raise KeyError
