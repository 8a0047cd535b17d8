"""What every private server shares: a directory, a port, signals, a start that tries again."""

from __future__ import annotations

import abc
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.child import Child
from tests.leash import session_leash
from tests.polling import DeadlinePassedError, eventually
from tests.ports import free_port

__all__ = ["PrivateServer", "ServerFailedError", "UsedByWith"]

_ATTEMPTS = 5
_START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 20.0


class ServerFailedError(Exception):
    """A server did not start; the text ends with its log."""


class UsedByWith(abc.ABC):
    """Started where its `with` block begins; gone where it ends, or when the start fails."""

    @abc.abstractmethod
    def start(self) -> None:
        """Return once it serves."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it and delete its data. May be called twice."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class PrivateServer(UsedByWith):
    """A server of this session alone, used by `with`. Gone, data and all, at its exit."""

    _name: str

    def __init__(self) -> None:
        self.port = 0
        # In /tmp where possible: a Unix socket's path holds only about 100 characters.
        short = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes it private
        self.directory = Path(tempfile.mkdtemp(prefix=f"farmlokal-{self._name}-", dir=short))
        session_leash().remove(self.directory)
        self.log = self.directory / "log"
        self._child: Child | None = None

    @abc.abstractmethod
    def _command(self) -> list[str | Path]:
        """The command line for the present port."""

    @abc.abstractmethod
    def _answers(self) -> bool:
        """Whether this server, and no other one on its port, serves."""

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    @property
    def frozen(self) -> bool:
        return self._child is not None and self._child.frozen

    def start(self) -> None:
        """Start on a free port, which it keeps from then on; raise ServerFailedError."""
        for _ in range(_ATTEMPTS):
            self.port = free_port()
            if self._start_here():
                return
        raise ServerFailedError(f"{self._name}: no port was free\n{self._log_tail()}")

    def stop(self) -> None:
        """Shut it down in order, or by force after a deadline; without effect when it is not up."""
        if self._child is None:
            return
        self._child.resume()
        try:
            self._child.terminate(_STOP_DEADLINE_S)
        except DeadlinePassedError:
            self._child.kill()
        self._forget()

    def kill(self) -> None:
        """SIGKILL: what a power cut leaves, as far as a process can see."""
        self._running().kill()
        self._forget()

    def freeze(self) -> None:
        """SIGSTOP: the port accepts connections, nobody answers. Returns once it stands still."""
        self._running().freeze()

    def resume(self) -> None:
        """Let a frozen server run on."""
        self._running().resume()

    def restart(self) -> None:
        """Start it again with its data and on its port, after stopping it if it is up."""
        self.stop()
        if not self._start_here():
            raise ServerFailedError(f"{self._name}: port {self.port} was taken\n{self._log_tail()}")

    def revive(self) -> None:
        """Undo whatever a test did to it: resumed if frozen, started if down."""
        if self.frozen:
            self.resume()
        if not self.alive:
            self.restart()

    def close(self) -> None:
        """End it and delete its data. May be called twice."""
        self._forget()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start_here(self) -> bool:
        """Start on the present port. False when another process has it."""
        logged = self.log.stat().st_size if self.log.exists() else 0
        self._child = child = Child(self._command(), output=self.log, directory=self.directory)
        try:
            eventually(
                lambda: not child.alive or self._answers(),
                deadline_s=_START_DEADLINE_S,
                interval_s=0.05,
            )
        except DeadlinePassedError as error:
            self._forget()
            raise ServerFailedError(f"{self._name}: no answer\n{self._log_tail()}") from error
        if child.alive:
            return True
        self._forget()
        if b"ddress already in use" in self.log.read_bytes()[logged:]:
            return False
        raise ServerFailedError(f"{self._name}: ended at its start\n{self._log_tail()}")

    def _running(self) -> Child:
        if self._child is None:
            raise ServerFailedError(f"{self._name} is not running")
        return self._child

    def _forget(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""
