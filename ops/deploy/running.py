"""`farmlokal deploy run COLOUR`: keeps one colour's processes running, until SIGTERM.

Web processes on the addresses of the colour's slots, workers, a scheduler. It tells nobody to send
requests: that is the proxy's affair. SIGUSR1 has the scheduler stand down, so that the other
colour's leads and asks for the jobs of its release; SIGUSR2 has it back.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Final

import orjson

from coordination.errors import Misconfigured
from coordination.metrics_directory import ENVIRONMENT_VARIABLE
from coordination.settings import Settings
from ops.child import Program
from ops.child_log import ChildLog
from ops.deploy.colour import Place, Status
from ops.deploy.proxy import Admission, Slot
from ops.deploy.settings import DeploySettings
from ops.home import create_private_directory
from ops.processes import Counts, programs_of
from ops.supervisor import Supervisor

__all__ = ["OWN_CODE", "STAND_BY", "STAND_DOWN", "own_release", "run_colour", "stop_within_s"]

STAND_DOWN: Final = signal.SIGUSR1
"""Do without a scheduler."""
STAND_BY: Final = signal.SIGUSR2
"""Have a scheduler again."""

_POLL_S: Final = 0.05
# More than the proxy needs to notice: its check interval, as often as it takes, and one to spare.
_DRAIN_DELAY_MS: Final = 2_000
OWN_CODE: Final[Mapping[str, str]] = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
"""Not what lies in the directory in which the command was run, which may be another release."""
# What the processes log once they do their work.
_READY: Final = frozenset({"Web ready", "Worker ready", "Scheduler ready"})


def own_release() -> str:
    """Where the code is that runs now."""
    return str(Path(__file__).resolve().parents[2])


def stop_within_s(settings: Settings, deploying: DeploySettings) -> float:
    """The longest that a colour may take to end after SIGTERM: one process after the other."""
    settings = _with_drain_delay(settings)
    counts = Counts(deploying.web, deploying.workers, 1)
    return sum(program.stop_within_s for program in programs_of(settings, {}, counts))


def run_colour(
    place: Place,
    slots: Sequence[Slot],
    settings: Settings,
    deploying: DeploySettings,
    metrics_directory: str | None = None,
) -> None:
    """Run and tend it until SIGTERM, SIGINT or SIGHUP, then stop all of it in order.

    ``metrics_directory``: where its processes share their figures, if not where the settings say.
    Raises ``Busy`` when it runs already, ``Misconfigured`` when the proxy has too few slots.
    """
    mine = place.colour.of(slots)[: deploying.web]
    if len(mine) < deploying.web:
        raise Misconfigured(
            f"DEPLOY_WEB is {deploying.web}, but the proxy has {len(mine)} slots of {place.colour}."
        )
    shared = {ENVIRONMENT_VARIABLE: metrics_directory} if metrics_directory else {}
    environment = {**OWN_CODE, **shared}
    settings = _with_drain_delay(settings)
    scheduler, *workers = (
        replace(program, name=f"{place.colour}-{program.name}")
        for program in reversed(programs_of(settings, environment, Counts(0, deploying.workers, 1)))
    )
    # Last to start and first to stop, as in `farmlokal up`.
    web = (
        replace(_web(slot, settings, environment), name=f"{place.colour}-web.{number}")
        for number, slot in enumerate(mine, 1)
    )
    others = [*workers, *web]
    logs = create_private_directory(settings.farmlokal_home.absolute() / "logs")
    with place.held() as left:
        running = _Running(place, mine, scheduler, others, ChildLog(logs, verbose=False))
        running.follow(left)
        running.until_told()


class _Running:
    """One run of one colour."""

    def __init__(
        self,
        place: Place,
        slots: Sequence[Slot],
        scheduler: Program,
        others: Sequence[Program],
        log: ChildLog,
    ) -> None:
        self._place = place
        self._slots = [slot.name for slot in slots]
        # Of a colour that was kept for a way back when its holder was killed: not before it serves.
        self._schedules = all(slot.admission is not Admission.DRAIN for slot in slots)
        self._scheduler = scheduler
        self._others = others
        self._log = log
        self._supervisor = Supervisor(on_line=self._hear, say=_say)
        self._started_at = time.time()
        self._ready: set[str] = set()
        self._pids: dict[str, int] = {}
        self._restarts = 0
        self._said: Status | None = None
        self._is_stopping = False

    def follow(self, left: Status | None) -> None:
        """Be as old as whom this one replaces: which colour is the newer one has not changed."""
        if left is not None and left.release == own_release():
            self._started_at = left.started_at

    def until_told(self) -> None:
        """Start, tend, stop."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, STAND_DOWN, STAND_BY):
            signal.signal(number, self._note)
        try:
            for program in (*([self._scheduler] if self._schedules else []), *self._others):
                self._supervisor.start(program)
            while not self._is_stopping:
                self._supervisor.tend()
                self._follow_orders()
                self._report()
                time.sleep(_POLL_S)
        finally:
            _say("stopping")
            self._supervisor.stop()
            _say("stopped")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number in (STAND_DOWN, STAND_BY):
            self._schedules = number == STAND_BY
        else:
            self._is_stopping = True

    def _follow_orders(self) -> None:
        name = self._scheduler.name
        if self._schedules and name not in self._supervisor.names:
            self._supervisor.start(self._scheduler)
            _say(f"{name} stands by again")
        elif not self._schedules and name in self._supervisor.names:
            self._supervisor.dismiss(name)
            _say(f"{name} stood down")

    def _hear(self, name: str, line: bytes) -> None:
        self._log.write(name, line)
        if _says_ready(line):
            self._ready.add(name)

    def _report(self) -> None:
        pids = self._supervisor.pids
        for name in self._pids.keys() | pids.keys():
            if pids.get(name) != self._pids.get(name):
                self._ready.discard(name)
                self._restarts += name in self._pids and name in self._supervisor.names
        self._pids = pids
        names = self._supervisor.names
        status = Status(
            pid=os.getpid(),
            release=own_release(),
            started_at=self._started_at,
            slots=self._slots,
            ready=sorted(self._ready.intersection(names)),
            waiting=sorted(set(names) - self._ready),
            restarts=self._restarts,
        )
        if status != self._said:
            self._place.write(status)
            self._said = status


def _web(slot: Slot, settings: Settings, environment: Mapping[str, str]) -> Program:
    environment = {
        **environment,
        "HOST": slot.host,
        "DRAIN_DELAY_MS": str(settings.drain_delay_ms),
    }
    if not settings.trusted_proxies and ip_address(slot.host).is_loopback:
        # Only this machine's proxy gets there; without it all clients would share one limit.
        environment["TRUSTED_PROXIES"] = slot.host
    there = settings.model_copy(update={"port": slot.port})
    (program,) = programs_of(there, environment, Counts(1, 0, 0))
    return program


def _with_drain_delay(settings: Settings) -> Settings:
    if "drain_delay_ms" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"drain_delay_ms": _DRAIN_DELAY_MS})


def _says_ready(line: bytes) -> bool:
    if b"ready" not in line:
        return False
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(entry, dict) and entry.get("message") in _READY


def _say(text: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n")
    sys.stdout.flush()
