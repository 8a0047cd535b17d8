"""Ends background tasks for sure.

One cancellation may not be enough: on Python 3.11 ``asyncio.wait_for`` swallows one that comes just
as what it waits for is done (CPython gh-86296; 3.12 mended it), and redis-py sends every command
through it. A task that loops around Redis would then loop on. This can go with Python 3.11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["end"]

_AGAIN_AFTER_S: Final = 0.5


async def end(tasks: Iterable[asyncio.Task[Any]], within_s: float) -> bool:
    """Cancel until all have ended, or the time is up. Returns whether they have.

    What they raise is not raised here. Between two cancellations they have half a second to tidy.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + within_s
    waited_for = set(tasks)
    pending = {task for task in waited_for if not task.done()}
    while pending and (left_s := ends_at - loop.time()) > 0:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=min(_AGAIN_AFTER_S, left_s))
    for task in waited_for - pending:
        if not task.cancelled():
            task.exception()  # seen: nobody else will look
    return not pending
