"""Up to which moment a replica has everything, told by the heartbeat's last change that it shows.

The heartbeat is one row that is changed again and again on the primary, after the idea of Percona's
pt-heartbeat: it needs no privilege, and works with every engine and every kind of replication that
keeps the primary's order of commits. But no clocks are compared, neither of two hosts nor of one
host at two times: a beat is an opaque value, compared for equality, and the moments are this
process's own, by its monotonic clock. So no clock that is set can make a replica look fresh.

Pure: no I/O.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Beat", "Beats"]

Beat = object
"""What the heartbeat's row holds."""


class Beats:
    """The primary's beats that this process has seen, each with a moment in seconds.

    Whatever had committed before that moment had so before the beat; therefore a server that shows
    the beat has it.
    """

    def __init__(self, kept_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock
        self._kept_s = kept_s
        self._moments: dict[Beat, float] = {}
        self._newest: Beat | None = None
        # No beat that is not known yet was made before this.
        self._since: float | None = None

    def seen(self, beat: Beat, asked_at: float) -> bool:
        """The primary showed ``beat``, asked at ``asked_at``. Returns whether it did so last time.

        Whoever finds the heart standing still should beat it.
        """
        still = beat == self._newest
        if not still and self._since is not None:
            self._moments.setdefault(beat, self._since)
            self._forget_old()
        self._newest, self._since = beat, asked_at
        return still

    def beaten(self, began_at: float) -> None:
        """This process changed the heartbeat that it saw last, in a statement begun then."""
        self._since = began_at

    def lost(self) -> None:
        """The primary did not answer, and it may be another server that answers next.

        What that one shows may be older than anything we know of: it is trusted once it has beaten.
        """
        self._newest = self._since = None

    def moment_of(self, beat: Beat) -> float | None:
        """Up to when a server that shows ``beat`` has everything; ``None`` for an unknown one."""
        return self._moments.get(beat)

    def _forget_old(self) -> None:
        oldest = self.now() - self._kept_s
        # They come in the order of their moments.
        while self._moments and self._moments[first := next(iter(self._moments))] < oldest:
            del self._moments[first]
