"""A colour's processes as files in ``FARMLOKAL_HOME/deploy`` show them: who runs, since when, what.

The lock tells the truth about who runs, because it ends with its holder; the status beside it is
what the holder last wrote. Which colour serves is in the proxy, and nowhere else.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import orjson

from coordination.errors import Conflict, FarmLokalError
from coordination.settings import Settings
from ops.deploy.proxy import Slot
from ops.home import create_private_directory

__all__ = ["Busy", "Colour", "Place", "Status", "only_command", "only_release", "places"]

_POLL_S: Final = 0.05
_LOOK_S: Final = 0.5


class Colour(StrEnum):
    """One of the two sets of processes; names of slots begin with it."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Colour:
        """The one beside it."""
        return Colour.GREEN if self is Colour.BLUE else Colour.BLUE

    def of(self, slots: Sequence[Slot]) -> list[Slot]:
        """Its slots, in order."""
        return [slot for slot in slots if slot.name.startswith(self)]


class Busy(FarmLokalError):
    """Another command works on this deployment, or another one runs this colour."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the process that keeps a colour running last said of itself."""

    pid: int
    release: str
    """Where its code is."""
    started_at: float
    """Unix time; tells which colour is the newer one. Kept over a restart of who was killed."""
    slots: list[str]
    """Which of its slots its web processes serve."""
    ready: list[str]
    """Processes that said so."""
    waiting: list[str]
    """Processes that have not said so since they last started."""
    restarts: int


class Place:
    """The files of one colour."""

    def __init__(self, directory: Path, colour: Colour) -> None:
        self.colour = colour
        self.log = directory / f"{colour}.log"
        self._lock = directory / f"{colour}.lock"
        self._status = directory / f"{colour}.json"

    @contextmanager
    def held(self) -> Iterator[Status | None]:
        """Be the one that runs this colour. Gives what a killed holder left. Raises ``Busy``."""
        with _locked(self._lock, f"{self.colour} is running already"):
            left = self._said()
            self._status.unlink(missing_ok=True)
            try:
                yield left
            finally:
                self._status.unlink(missing_ok=True)

    def forget(self) -> None:
        """Drop what a killed holder left: who comes next does not replace it. Raises ``Busy``."""
        with self.held():
            pass

    def write(self, status: Status) -> None:
        """For whoever holds it: replace what it says of itself."""
        draft = self._status.with_suffix(".new")
        draft.write_bytes(orjson.dumps(asdict(status)))
        draft.replace(self._status)

    def read(self) -> Status | None:
        """What its holder says; ``None`` when nobody runs it, or has not said anything yet."""
        return self._said() if self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether a process keeps this colour running now."""
        return _is_locked(self._lock)

    def signal(self, number: signal.Signals) -> None:
        """Send it to the process that keeps this colour running, if there is one."""
        holder = _named(self._lock) if self.is_running else ""
        if holder.isdecimal():
            with suppress(ProcessLookupError):
                os.kill(int(holder), number)

    def ends_within(self, deadline_s: float) -> bool:
        """Wait for its end; whether it came in time."""
        ends_at = time.monotonic() + deadline_s
        while self.is_running:
            if time.monotonic() > ends_at:
                return False
            time.sleep(_POLL_S)
        return True

    def _said(self) -> Status | None:
        try:
            return Status(**orjson.loads(self._status.read_bytes()))
        except FileNotFoundError:
            return None

    def last_words(self, lines: int = 20) -> str:
        """The end of what it wrote."""
        try:
            kept = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(kept[-lines:])


def _directory(settings: Settings) -> Path:
    return create_private_directory(settings.farmlokal_home.absolute() / "deploy")


def places(settings: Settings) -> Mapping[Colour, Place]:
    """Both colours' files."""
    directory = _directory(settings)
    return {colour: Place(directory, colour) for colour in Colour}


@contextmanager
def only_command(settings: Settings) -> Iterator[None]:
    """One deploying command at a time. Raises ``Busy``; a lock ends with its holder."""
    with _locked(_directory(settings) / "command.lock", "Another deployment is under way"):
        yield


@contextmanager
def only_release(settings: Settings, release: str) -> Iterator[None]:
    """For what no other release on this host would survive; none is deployed meanwhile.

    Raises ``Conflict`` while a colour runs another one, ``Busy``.
    """
    if not (settings.farmlokal_home / "deploy").exists():
        yield
        return
    with only_command(settings):
        for colour, place in places(settings).items():
            status = place.read()
            if place.is_running and (status is None or status.release != release):
                other = status.release if status else "unknown"
                raise Conflict(f"{colour} runs another release ({other}): it may need what goes.")
        yield


@contextmanager
def _locked(path: Path, complaint: str) -> Iterator[None]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        ends_at = time.monotonic() + _LOOK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Whoever looks whether it is held holds it for that moment.
                if time.monotonic() > ends_at:
                    raise Busy(f"{complaint} (process {_named(path) or 'unknown'}).") from None
                time.sleep(_POLL_S)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(lock)


def _is_locked(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _named(path: Path) -> str:
    return path.read_text().strip()
