"""Keeps a few processes running, and stops them all in order.

It owns starting, restarting with exponential back-off, ending what stands still, and stopping: it
knows nothing of what the programs do. One instance, used from one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from ops.child import Child, Program
from ops.watch import Watch

__all__ = ["Backoff", "Supervisor"]

_POLL_S: Final = 0.05
_KILL_WITHIN_S: Final = 5.0


@dataclass(slots=True)
class Backoff:
    """How long to wait before a restart: doubling while it keeps dying young."""

    first_s: float = 0.5
    longest_s: float = 30.0
    stable_after_s: float = 30.0
    _deaths: int = 0

    def delay_s(self, lived_s: float) -> float:
        """The wait after a life of ``lived_s``."""
        self._deaths = 1 if lived_s >= self.stable_after_s else self._deaths + 1
        return min(self.longest_s, self.first_s * 2.0 ** min(self._deaths - 1, 16))


@dataclass(slots=True)
class _Place:
    """One program's place: a running child, or the time of its next start."""

    program: Program
    backoff: Backoff
    child: Child | None = None
    watch: Watch | None = None
    started_at: float = 0.0
    start_at: float = field(default=float("-inf"))


class Supervisor:
    """``on_line(name, line)`` gets the output, on other threads; ``say`` gets what happens here."""

    def __init__(
        self,
        *,
        on_line: Callable[[str, bytes], None],
        say: Callable[[str], None],
        backoff: Callable[[], Backoff] = Backoff,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._on_line = on_line
        self._say = say
        self._backoff = backoff
        self._clock = clock
        self._sleep = sleep
        self._places: list[_Place] = []

    @property
    def names(self) -> list[str]:
        """What is kept running, also what waits for its next start."""
        return [place.program.name for place in self._places]

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs now, by name."""
        return {place.program.name: place.child.pid for place in self._places if place.child}

    def start(self, program: Program) -> None:
        """Start it now and keep it running from here on."""
        place = _Place(program, self._backoff())
        self._places.append(place)
        self._launch(place)

    def tend(self) -> None:
        """Look at every process once: end those that stand still, plan a restart of the dead, do
        those that are due.
        """
        for place in self._places:
            if place.child is None:
                if self._clock() >= place.start_at:
                    self._launch(place)
                    self._say(f"{place.program.name} started again")
            elif (code := place.child.exit_code()) is not None:
                delay_s = place.backoff.delay_s(self._clock() - place.started_at)
                place.child = None
                self._watch_no_more(place)
                place.start_at = self._clock() + delay_s
                ending = _describe(code)
                self._say(f"{place.program.name} {ending}; starting it again in {delay_s:g} s")
            elif place.watch is not None and (complaint := place.watch.complaint()) is not None:
                self._say(f"{place.program.name} {complaint}; killing it")
                # A process that stands still obeys nothing less. The next look finds it dead.
                place.child.kill()
                self._watch_no_more(place)

    def run(self, stopping: Callable[[], bool], until: Callable[[], bool] = lambda: False) -> bool:
        """Tend until told to stop (``False``) or ``until`` holds (``True``)."""
        while not stopping():
            self.tend()
            if until():
                return True
            self._sleep(_POLL_S)
        return False

    def dismiss(self, name: str) -> None:
        """End one program as ``stop`` does, and keep it no longer; nothing if it is not kept."""
        for place in [place for place in self._places if place.program.name == name]:
            self._places.remove(place)
            self._watch_no_more(place)
            if place.child is not None:
                place.child.terminate()
                patience_ends = self._clock() + place.program.stop_within_s
                self._end(place.child, patience_ends, lambda: False)

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """End everything, last started first; ``hurry`` cuts the waiting short.

        Those of one kind, ``web.1`` and ``web.2``, end together. Each gets SIGTERM, its own
        deadline, then SIGKILL to its group. May be called twice.
        """
        for _, places in groupby(reversed(self._places), key=_kind):
            ending = []
            for place in places:
                self._watch_no_more(place)
                child, place.child = place.child, None
                if child is not None:
                    child.terminate()
                    ending.append(child)
            began_at = self._clock()
            for child in ending:
                self._end(child, began_at + child.program.stop_within_s, hurry)
        self._places.clear()

    def _launch(self, place: _Place) -> None:
        program, watched_by = place.program, None
        if program.watchdog_s:
            place.watch = Watch(program.watchdog_s, program.stop_within_s, clock=self._clock)
            watched_by = place.watch.environment
        place.child = Child(program, lambda line: self._on_line(program.name, line), watched_by)
        place.started_at = self._clock()

    def _watch_no_more(self, place: _Place) -> None:
        watch, place.watch = place.watch, None
        if watch is not None:
            watch.close()

    def _end(self, child: Child, patience_ends: float, hurry: Callable[[], bool]) -> None:
        while child.exit_code() is None and not hurry():
            if self._clock() >= patience_ends:
                self._say(f"{child.program.name} did not stop in time; killing it")
                break
            self._sleep(_POLL_S)
        child.kill()
        gives_up_at = self._clock() + _KILL_WITHIN_S
        while child.exit_code() is None and self._clock() < gives_up_at:
            self._sleep(_POLL_S)


def _kind(place: _Place) -> str:
    return place.program.name.partition(".")[0]


def _describe(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
