"""One replica: whether it may be read from now."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from coordination.cooldown import Cooldown
from coordination.metrics import DATABASE_REPLICA_LAG, DATABASE_REPLICA_USABLE
from coordination.settings import Settings
from models.replicas.beats import Beat, Beats
from models.replicas.servers import BriskServer, HeartbeatServer

__all__ = ["Replica", "ReplicaState"]

_SET_ASIDE_S: Final = 1.0


class ReplicaState(StrEnum):
    """How a replica stands with this process."""

    OK = "ok"
    LAGGING = "lagging"
    UNAVAILABLE = "unavailable"


class Replica:
    """Called by the name that logs, metrics and readiness give it."""

    def __init__(self, name: str, url: str, settings: Settings, beats: Beats) -> None:
        self.name = name
        self.server = BriskServer(url, settings, name=name)
        self.heartbeat = HeartbeatServer(url, settings, name=f"{name}-heartbeat")
        self._beats = beats
        self._lag_s = settings.database_replica_lag_ms / 1000
        self._beat: Beat | None = None
        self._complete_until: float | None = None
        self._rest = Cooldown(1, _SET_ASIDE_S, beats.now)

    def showed(self, beat: Beat) -> None:
        """Its heartbeat shows ``beat`` now."""
        self._beat = beat
        self._note()
        if self.server.watch.is_away:
            self.server.watch.answered()

    def lost(self) -> None:
        """It did not answer: cut off all reads there, and let go of its connections."""
        self._beat = self._complete_until = None
        self._note()
        if not self.server.watch.is_away:
            self.server.watch.leave_alone()

    def set_aside(self) -> bool:
        """A read there failed: leave it alone for a moment. Returns whether that is news."""
        news = self._rest.ready()
        self._rest.failed()
        return news

    def behind_s(self) -> float | None:
        """How old the newest data may be that is not there yet; ``None``: nobody knows.

        An upper bound, by up to three checks.
        """
        if self._beat is not None:
            # It may have become known only after it was shown: the primary is asked at its own
            # pace. Until then the moment before holds, because a replica only ever gets more.
            moment = self._beats.moment_of(self._beat)
            if moment is not None:
                self._complete_until = moment
        return None if self._complete_until is None else self._beats.now() - self._complete_until

    def state(self) -> ReplicaState:
        """Whether it may be read from now, else why not."""
        if self._beat is None or not self._rest.ready():
            return ReplicaState.UNAVAILABLE
        behind_s = self.behind_s()
        usable = behind_s is not None and behind_s < self._lag_s
        return ReplicaState.OK if usable else ReplicaState.LAGGING

    async def close(self) -> None:
        """Close all connections."""
        await self.heartbeat.close()
        await self.server.close()

    def _note(self) -> None:
        behind_s = self.behind_s()
        usable = self.state() is ReplicaState.OK
        DATABASE_REPLICA_USABLE.labels(self.name).set(usable)
        DATABASE_REPLICA_LAG.labels(self.name).set(float("nan") if behind_s is None else behind_s)
