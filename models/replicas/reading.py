"""The choice between the primary and the replicas, made once for each fill of the cache."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tortoise.exceptions import DBConnectionError, OperationalError

from coordination.counting import Count
from coordination.errors import DatabaseUnavailable, InvalidInput, Misconfigured, QueryTooExpensive
from coordination.metrics import DATABASE_READS, DATABASE_REPLICA_FAULTS
from coordination.settings import Settings
from models.database import Database
from models.replicas.beats import Beats
from models.replicas.checking import Checking
from models.replicas.replica import Replica, ReplicaState
from models.replicas.servers import HeartbeatServer
from models.server import Server

__all__ = ["Reading", "open_reading"]

_log = logging.getLogger(__name__)
T = TypeVar("T")

_MARGIN_MS: Final = 1_000
"""For Redis's clock, by which voidings are dated: how far it may jump ahead unnoticed."""
_BEATS_KEPT_S: Final = 60.0
"""For how far behind a replica can be told to be; past that, for how long at least."""
_BY_PRIMARY: Final = Count(DATABASE_READS, "primary")
_BY_REPLICA: Final = Count(DATABASE_READS, "replica")


class Reading:
    """Of one process. ``close()`` may be called twice."""

    def __init__(
        self,
        primary: Database,
        replicas: tuple[Replica, ...] = (),
        checking: Checking | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._checking = checking
        self._settled_ms = primary.settings.database_replica_lag_ms + _MARGIN_MS
        settings = primary.settings
        self._soonest_stop_s = min(settings.list_timeout_ms, settings.search_timeout_ms) / 2_000
        self._now = clock
        self._turn = 0

    async def run(self, settled_ms: int, work: Callable[[Server], Awaitable[T]]) -> T:
        """What ``work`` reads, all of it from the one server it is given.

        ``settled_ms``: see ``coordination.cache.Ground``. ``work`` is done again on the primary
        when a replica fails or is lost meanwhile, and when it knows less than ``work`` asked for,
        which ``InvalidInput`` tells: what was just made voids nothing that never showed it.
        """
        replica = self._chosen(settled_ms) if self._replicas else None
        if replica is not None:
            began_at = self._now()
            try:
                answer = await work(replica.server)
            except DatabaseUnavailable as error:
                self._failed(replica, "away", error)
            except (DBConnectionError, OperationalError, Misconfigured) as error:
                self._failed(replica, "unfit", error)
            except QueryTooExpensive as error:
                if self._now() - began_at >= self._soonest_stop_s:
                    raise
                # Stopped before its time: the replica is shutting down.
                self._failed(replica, "away", error)
            except InvalidInput:
                pass
            else:
                _BY_REPLICA.add()
                return answer
        _BY_PRIMARY.add()
        return await work(self._primary)

    def states(self) -> dict[str, ReplicaState]:
        """How each replica stands with this process."""
        return {replica.name: replica.state() for replica in self._replicas}

    async def close(self) -> None:
        """Stop checking, close the replicas' connections."""
        if self._checking is not None:
            await self._checking.close()
        for replica in self._replicas:
            await replica.close()

    def _chosen(self, settled_ms: int) -> Replica | None:
        if settled_ms <= self._settled_ms:
            return None
        for _ in self._replicas:
            self._turn = (self._turn + 1) % len(self._replicas)
            replica = self._replicas[self._turn]
            if replica.state() is ReplicaState.OK:
                return replica
        return None

    @staticmethod
    def _failed(replica: Replica, reason: str, error: Exception) -> None:
        DATABASE_REPLICA_FAULTS.labels(replica.name, reason).inc()
        if replica.set_aside():
            _log.warning(
                "Reads go to the primary instead",
                extra={"replica": replica.name, "reason": reason, "error": type(error).__name__},
            )


def open_reading(
    settings: Settings, primary: Database, clock: Callable[[], float] = time.monotonic
) -> Reading:
    """Begin to check the replicas on the running loop. One that is away stops nothing."""
    urls = settings.database_replica_urls
    if not urls:
        return Reading(primary)
    lag_s = settings.database_replica_lag_ms / 1000
    beats = Beats(max(_BEATS_KEPT_S, 2 * lag_s), clock)
    replicas = tuple(
        Replica(f"replica-{number}", url, settings, beats) for number, url in enumerate(urls, 1)
    )
    heartbeat = HeartbeatServer(settings.effective_database_url, settings, name="primary-heartbeat")
    every_s = settings.database_replica_check_ms / 1000
    checking = Checking(heartbeat, replicas, beats, every_s)
    checking.start()
    return Reading(primary, replicas, checking, clock)
