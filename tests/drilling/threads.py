"""Coroutines for drills, which are plain functions: run to their end, or on in the background."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.proxy import Road

__all__ = ["DrillRoad", "drill_road", "in_a_thread"]

T = TypeVar("T")
_DEADLINE_S = 10.0


def in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end on a loop of its own: in the caller's thread there may be one already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class DrillRoad:
    """A ``Road`` that carries while its drill does other things; mended by ``mend``."""

    def __init__(self, road: Road, loop: asyncio.AbstractEventLoop) -> None:
        self._road = road
        self._loop = loop

    @property
    def url(self) -> str:
        """Of the server at its end, by this road."""
        return self._road.url

    @property
    def port(self) -> int:
        return self._road.port

    def delay(self, answers_s: float) -> None:
        """Hold back each piece of an answer for so long."""
        self._road.delay_s = answers_s

    def hang_up(self) -> None:
        """From now on drop the connection instead of passing an answer on."""
        self._road.hangs_up = True

    def mend(self) -> None:
        """Open again, at full speed; connections that suffered are dropped."""
        self._road.delay_s, self._road.hangs_up, self._road.blind = 0.0, False, False
        self._loop.call_soon_threadsafe(self._road.forget_connections)


@contextmanager
def drill_road(port: int) -> Iterator[DrillRoad]:
    """An open road to a loopback port, on a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="road", daemon=True)
    thread.start()
    road = Road(port)
    try:
        asyncio.run_coroutine_threadsafe(road.open(), loop).result(_DEADLINE_S)
        yield DrillRoad(road, loop)
    finally:
        asyncio.run_coroutine_threadsafe(road.cut(), loop).result(_DEADLINE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_DEADLINE_S)
        loop.close()
