"""When jobs run, whatever becomes of the clock on the wall."""

from __future__ import annotations

import asyncio

import redis.asyncio as aioredis

from scheduler.leader import Leader
from scheduler.timetable import Entry, Timetable


class NoLease:
    """Never held: jobs of the timetable's own stand by."""

    async def hold(self) -> int | None:
        return None

    async def release(self) -> None:
        pass


async def _away() -> bool:
    return False


async def test_a_clock_that_is_set_back_holds_up_no_job() -> None:
    """Two minutes back, and a job due in one minute would be due in three."""
    ran = asyncio.Event()
    ahead_s = [5.0]

    async def work() -> str:
        ran.set()
        return "sent"

    timetable = Timetable(
        [Entry("sweep", every_s=600, work=work, first_in_s=60)],
        [],
        Leader(NoLease(), _away, 1_000),
        aioredis.Redis(),
        clock_ahead_s=lambda: ahead_s[0],
    )
    timetable.start()
    try:
        await asyncio.sleep(0)  # its first look at the clock
        ahead_s[0] -= 120
        async with asyncio.timeout(5):
            await ran.wait()
    finally:
        await timetable.stop()
