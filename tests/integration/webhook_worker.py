"""A process that works on webhook events until told to stop, and dies where it is told to.

``CRASH`` is ``place:sku:ms``: at that place, with an event about that sku in hand, it kills itself;
with a place that begins with ``freeze`` it stops like a frozen machine instead, once.

- ``begin``: the events are claimed, nothing is begun
- ``effect``: all effects are written, nothing is committed
- ``commit``: all is committed, nobody has been told
- ``late``: like ``begin``, but ``ms`` later
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from coordination.settings import load_settings
from models.resources import Resources, open_resources
from models.webhooks import applying, processing
from models.webhooks.claims import Claimed, Event

_REAL_APPLY = applying.apply
_REAL_WORK_OUT = applying.__dict__["work_out"]


class _Nobody:
    """A broker that loses every hint: what is due must be found all the same."""

    def enqueue(self, message: Any) -> None:
        """Lose it."""


class _Crash:
    def __init__(self, told: str) -> None:
        place, _, rest = told.partition(":")
        self.freezes = place.startswith("freeze-")
        self.place = place.removeprefix("freeze-")
        sku, _, after_ms = rest.partition(":")
        self.sku = sku.encode()
        self.after_s = int(after_ms or 0) / 1000

    def at(self, place: str, events: Sequence[Event]) -> None:
        if place == self.place and any(self.sku in (item.payload or b"") for item in events):
            if self.freezes:
                self.place = "done"
                os.kill(os.getpid(), signal.SIGSTOP)
            else:
                os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    crash = _Crash(os.environ.get("CRASH", "never"))

    async def apply(resources: Resources, claimed: Claimed) -> Any:
        crash.at("begin", claimed.events)
        if crash.place == "late":
            await asyncio.sleep(crash.after_s)
            crash.at("late", claimed.events)
        verdicts = await _REAL_APPLY(resources, claimed)
        crash.at("commit", claimed.events)
        return verdicts

    async def work_out(db: Any, conn: Any, events: Sequence[Event], *others: Any) -> Any:
        worked = await _REAL_WORK_OUT(db, conn, events, *others)
        crash.at("effect", events)
        return worked

    processing.__dict__["apply"] = apply
    applying.__dict__["work_out"] = work_out
    resources = await open_resources(load_settings(), _Nobody())
    sys.stdout.write('{"message": "ready"}\n')
    sys.stdout.flush()
    try:
        while not os.path.exists(os.environ["STOP_FILE"]):  # noqa: ASYNC240 - nothing else runs
            await processing.process(resources)
            await asyncio.sleep(0.02)
    finally:
        await resources.close()


if __name__ == "__main__":
    asyncio.run(main())
