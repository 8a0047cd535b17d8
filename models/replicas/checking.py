"""Asks the primary and each replica for the heartbeat, as long as a process runs.

Each is asked at its own pace, so that one that hangs delays no other. A replica that does not
answer is asked less and less often; the primary, which everything else asks anyway, is not spared.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Final

from tortoise.exceptions import DBConnectionError, OperationalError

from coordination.errors import DatabaseUnavailable
from models.replicas.beats import Beats
from models.replicas.replica import Replica, ReplicaState
from models.replicas.servers import HeartbeatServer

__all__ = ["Checking"]

_log = logging.getLogger(__name__)
_RAREST_S: Final = 2.0

# The others: the database or the table has not come there yet, or the account may not read it.
_NO_ANSWER: Final = (DatabaseUnavailable, DBConnectionError, OperationalError)


class Checking:
    """The tasks of one process. ``close()`` may be called twice."""

    def __init__(
        self, primary: HeartbeatServer, replicas: Sequence[Replica], beats: Beats, every_s: float
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._beats = beats
        self._every_s = every_s
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin on the running loop."""
        self._tasks = [
            asyncio.create_task(self._watch_primary()),
            *(asyncio.create_task(self._watch(replica)) for replica in self._replicas),
        ]
        for task in self._tasks:
            task.add_done_callback(_tell_defect)

    async def close(self) -> None:
        """Stop asking, and let go of the connection to the primary."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._primary.close()

    async def _watch_primary(self) -> None:
        told = False
        while True:
            try:
                await self._ask_primary()
                told = False
            except _NO_ANSWER as error:
                self._beats.lost()
                if not told:
                    _log.warning("No heartbeat on the primary", extra={"reason": str(error)})
                told = True
            await asyncio.sleep(_spread(self._every_s))

    async def _ask_primary(self) -> None:
        """Beat when no other process did since we last looked."""
        beats = self._beats
        asked_at = beats.now()
        beat = await self._primary.show()
        if not beats.seen(beat, asked_at):
            return
        began_at = beats.now()
        if await self._primary.beat(beat):
            beats.beaten(began_at)
        asked_at = beats.now()
        beats.seen(await self._primary.show(), asked_at)

    async def _watch(self, replica: Replica) -> None:
        failures, before = 0, None
        while True:
            try:
                replica.showed(await replica.heartbeat.show())
                failures = 0
            except _NO_ANSWER:
                failures += 1
                replica.lost()
            if replica.state() is not before:
                before = replica.state()
                _tell_state(replica, before)
            pause_s = min(self._every_s * 2**failures, max(_RAREST_S, self._every_s))
            await asyncio.sleep(_spread(pause_s))


def _spread(pause_s: float) -> float:
    """About ``pause_s``: processes that ask in step would all find the heart standing still."""
    return pause_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads questions


def _tell_state(replica: Replica, state: ReplicaState) -> None:
    level = logging.INFO if state is ReplicaState.OK else logging.WARNING
    _log.log(level, "Replica is %s", state.value, extra={"replica": replica.name})


def _tell_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("Replicas are no longer checked", exc_info=error)
