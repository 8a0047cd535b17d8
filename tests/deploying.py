"""A deployment to drill: HAProxy, two colours on free ports, and `farmlokal deploy` from a release.

A release is a directory with our packages. Whatever a command has started ends with the block.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coordination.settings import load_settings
from ops.deploy.colour import Colour, Status, places
from tests.child import Child
from tests.leash import end_tree, session_leash
from tests.logs import LogFile
from tests.polling import eventually
from tests.ports import free_ports_in_a_row
from tests.servers import PrivateHAProxy
from tests.service import inherited_environment

__all__ = ["REPOSITORY", "Deploys", "deploys"]

REPOSITORY = Path(__file__).resolve().parents[1]
_COMMAND_DEADLINE_S = 90
_KNOBS = {
    "DEPLOY_WEB": "2",
    "DEPLOY_WORKERS": "1",
    "DEPLOY_SHIFT_WATCH_S": "1",
    "DEPLOY_SMOKE": "/v1/products?limit=1",
}


class Deploys:
    """The proxy, and the commands of whichever release."""

    def __init__(self, proxy: PrivateHAProxy, environment: Mapping[str, str]) -> None:
        self.proxy = proxy
        self._given = environment
        self._home = Path(environment["FARMLOKAL_HOME"])
        self._held: set[int] = set()

    @property
    def url(self) -> str:
        """Where clients send to."""
        return self.proxy.url

    def run(self, *arguments: str, release: Path = REPOSITORY, **environment: str) -> list[Any]:
        """`farmlokal ARGUMENTS --json` from this release; its JSON lines. Fails if it does."""
        code, lines = self.outcome(*arguments, release=release, **environment)
        assert code == 0, f"{arguments} ended with {code}: {lines}\n{self.last_words()}"
        return lines

    def outcome(
        self, *arguments: str, release: Path = REPOSITORY, **environment: str
    ) -> tuple[int, list[Any]]:
        """As ``run``, with the exit code, whatever it is."""
        ended = subprocess.run(
            self._command(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_DEADLINE_S,
            env=self._environment(release, environment),
            cwd=self._home,
        )
        self._hold()
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]

    def launch(self, *arguments: str, release: Path = REPOSITORY, **environment: str) -> Child:
        """The command as a process that can be killed in the middle."""
        return Child(
            self._command(*arguments),
            output=self._home / "command.txt",
            environment=self._environment(release, environment),
            directory=self._home,
        )

    def serving(self) -> set[str]:
        """The colours that get new requests."""
        return {name.rstrip("1234") for name in self.proxy.serving()}

    def running(self) -> dict[str, str]:
        """Each colour that runs, and the directory of its release."""
        return {colour: status.release for colour, status in self.statuses().items()}

    def statuses(self) -> dict[Colour, Status]:
        """Of who runs now: a number in a file that was left behind may be another process's."""
        found = places(load_settings(farmlokal_home=self._home))
        statuses = {colour: place.read() for colour, place in found.items()}
        return {colour: status for colour, status in statuses.items() if status}

    def jobs_done(self, worker: str) -> Counter[str]:
        """How many of which job this worker's log says it has done."""
        lines = LogFile(self._home / "logs" / f"{worker}.log").objects()
        return Counter(str(line["job"]) for line in lines if line["message"] == "Job done")

    def last_words(self) -> str:
        """The ends of all logs."""
        files = sorted([*self._home.glob("deploy/*.log"), *self._home.glob("logs/*.log")])
        return "\n".join(f"=== {file.name}\n{_tail(file)}" for file in files)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "ops.cli.app", *arguments, "--json"]

    def _environment(self, release: Path, more: Mapping[str, str]) -> dict[str, str]:
        return {**self._given, "PYTHONPATH": str(release), **more}

    def _hold(self) -> None:
        """They outlive their command on purpose, but never this session."""
        alive = {status.pid for status in self.statuses().values()}
        for pid in alive - self._held:
            session_leash().hold(pid)
        for pid in self._held - alive:
            session_leash().release(pid)
        self._held = alive

    def close(self) -> None:
        """End both colours, without grace."""
        self._hold()
        for pid in self._held:
            end_tree(pid)
        eventually(lambda: not self.statuses())
        self._hold()


@contextmanager
def deploys(program: Path, environment: Mapping[str, str], **more: str) -> Iterator[Deploys]:
    """Start the proxy before two colours that do not run yet.

    ``environment``, with ``more``: of FarmLokal's own processes and commands.
    """
    first = free_ports_in_a_row(4)
    ports = list(range(first, first + 4))
    with PrivateHAProxy(program, blue=ports[:2], green=ports[2:]) as proxy:
        given = {**inherited_environment(), **environment, **proxy.environment(), **_KNOBS, **more}
        running = Deploys(proxy, given)
        try:
            yield running
        finally:
            running.close()


def _tail(file: Path) -> str:
    return file.read_text(errors="replace")[-3000:]
