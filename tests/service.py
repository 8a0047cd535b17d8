"""A Python module run as a process: started, waited for, killed, frozen, started again.

It runs in a process group of its own, in a scratch directory, in an environment that holds only
what the test gave. It asserts nothing about what the process does, beyond becoming ready in time.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.child import Child
from tests.logs import LogFile, LogLine
from tests.polling import DeadlinePassedError, eventually

__all__ = ["READY_DEADLINE_S", "NotReadyError", "Service", "inherited_environment"]

# A bound for a machine that is busy with other tests, not an expectation.
READY_DEADLINE_S = 60.0

_REPOSITORY = Path(__file__).resolve().parent.parent
_STOP_DEADLINE_S = 40.0

# Of the developer's shell only what finding programs, files and messages takes.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


class NotReadyError(AssertionError):
    """A process ended or hung before it was ready; the text ends with its last words."""


class Service:
    """A process that starts with its `with` block and never outlives it.

    Inside the block it may be killed, frozen and started again as often as the test likes; its logs
    go on in the same files. Its environment must name FARMLOKAL_HOME.
    """

    module: str
    """What `python -m` runs."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        arguments: Sequence[str] = (),
        module: str | None = None,
        ready_deadline_s: float = READY_DEADLINE_S,
    ) -> None:
        self.module = module or self.module
        self._arguments = tuple(arguments)
        self._ready_deadline_s = ready_deadline_s
        self._child: Child | None = None
        self._started_at_byte = 0
        # Not the checkout: a developer's .env must not be read, and nothing be left behind.
        self.directory = _scratch(Path(environment["FARMLOKAL_HOME"]), self.module)
        self.output = LogFile(self.directory / "stdout.jsonl")
        self.errors = LogFile(self.directory / "stderr.txt")
        self.environment = {
            **inherited_environment(),
            "PYTHONPATH": str(_REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",
            **environment,
        }

    @property
    def child(self) -> Child:
        """The running process, for its bare signals."""
        if self._child is None:
            raise AssertionError(f"{self.module} is not running")
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    def is_ready(self) -> bool:
        """Whether a log line since its last start says "ready"."""
        return any(
            "ready" in str(line.get("message", "")).lower()
            for line in self.output.objects(self._started_at_byte)
        )

    def start(self) -> None:
        """Start it and return once it is ready; raise NotReadyError."""
        self.launch()
        child = self.child
        with contextlib.suppress(DeadlinePassedError):
            eventually(
                lambda: self.is_ready() or not child.alive,
                deadline_s=self._ready_deadline_s,
                interval_s=0.05,
            )
            if child.alive:
                return
        fate = "hung" if child.alive else f"ended with {child.exit_code}"
        self.close()
        raise NotReadyError(f"{self.module} {fate} before it was ready\n{self.last_words()}")

    def launch(self) -> None:
        """Start it and wait for nothing, for tests about what happens before readiness."""
        if self._child is not None:
            raise AssertionError(f"{self.module} was started already")
        self._started_at_byte = self.output.size
        self._child = Child(
            [sys.executable, "-m", self.module, *self._arguments],
            output=self.output.path,
            errors=self.errors.path,
            environment=self.environment,
            directory=self.directory,
        )

    def terminate(self, deadline_s: float = _STOP_DEADLINE_S) -> int:
        """SIGTERM, wait for the graceful end, return the exit code; raise past the deadline."""
        try:
            code = self.child.terminate(deadline_s)
        except DeadlinePassedError as error:
            raise DeadlinePassedError(f"{self.module}: {error}\n{self.last_words()}") from error
        self.close()
        return code

    def kill(self) -> None:
        """SIGKILL it together with everything it started."""
        self.child.kill()
        self.close()

    def freeze(self) -> None:
        """SIGSTOP it together with its workers."""
        self.child.freeze()

    def resume(self) -> None:
        self.child.resume()

    def restart(self) -> None:
        """Start it anew, after ending it without grace if it runs."""
        self.close()
        self.start()

    def logs(self) -> list[LogLine]:
        """The JSON lines of its stdout so far, of all its starts."""
        return list(self.output.objects())

    def stray_lines(self) -> list[str]:
        """The lines of its stdout that are no JSON object: there should be none."""
        return self.output.strays()

    def wait_for_log(
        self, matches: Callable[[LogLine], bool], *, deadline_s: float = 10.0
    ) -> LogLine:
        """Return the first log line that matches, waiting for it if need be."""
        return eventually(
            lambda: next(filter(matches, self.output.objects()), None),
            deadline_s=deadline_s,
            describe=self.last_words,
        )

    def last_words(self) -> str:
        """The tails of its stdout and its stderr."""
        return f"--- stdout\n{self.output.tail()}\n--- stderr\n{self.errors.tail()}"

    def close(self) -> None:
        """End it, if it runs, without grace. May be called twice."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def inherited_environment() -> dict[str, str]:
    """What a process started by a test sees of the developer's shell."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _scratch(home: Path, name: str) -> Path:
    # Two processes of one kind in one home get a directory each.
    for number in range(1, 1000):
        directory = home / "processes" / f"{name}-{number}"
        with contextlib.suppress(FileExistsError):
            directory.mkdir(parents=True)
            return directory
    raise AssertionError(f"a thousand processes of {name} in one home")
