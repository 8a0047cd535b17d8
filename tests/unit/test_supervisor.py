"""The supervisor on tiny dummy processes: restarts, back-off, stopping, leaving nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ops.child import Program
from ops.supervisor import Backoff
from tests.polling import eventually
from tests.supervising import Watched

REPOSITORY = Path(__file__).resolve().parents[2]
SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
# Starts a process of its own, as Dramatiq's master does, and tells its pid.
PARENT = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print(child.pid, flush=True); time.sleep(60)"
)


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.supervisor.stop(lambda: True)


def is_gone(pid: int) -> bool:
    # A killed orphan may stay a zombie where nobody reaps for init.
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_killed_process_is_started_again(watched: Watched) -> None:
    first = watched.start("web", SLEEP)
    os.kill(first, signal.SIGKILL)
    watched.tended_until(lambda: watched.supervisor.pids.get("web", first) != first)
    assert watched.said == [
        "web was killed by signal 9; starting it again in 0.01 s",
        "web started again",
    ]
    watched.tended_until(lambda: watched.lines == [("web", "up")] * 2)


def test_one_that_keeps_dying_is_started_ever_more_slowly(watched: Watched) -> None:
    watched.supervisor.start(Program("web", (sys.executable, "-S", "-c", "raise SystemExit(3)")))
    watched.tended_until(lambda: len(watched.said) >= 7)
    delays = [line.rpartition(" in ")[2] for line in watched.said if " in " in line]
    assert delays == ["0.01 s", "0.02 s", "0.04 s", "0.05 s"]
    assert watched.said[0].startswith("web ended with 3;")


def test_backoff_doubles_to_its_limit_and_forgets_after_a_long_life() -> None:
    backoff = Backoff(first_s=0.5, longest_s=30, stable_after_s=30)
    assert [backoff.delay_s(1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.delay_s(31) == 0.5
    assert [backoff.delay_s(0) for _ in range(200)][-1] == 30


def test_what_a_dead_process_had_started_is_killed_before_it_is_started_again(
    watched: Watched,
) -> None:
    leader = watched.start("worker", PARENT)
    grandchild = int(watched.lines[0][1])
    assert not is_gone(grandchild)
    os.kill(leader, signal.SIGKILL)
    watched.tended_until(lambda: bool(watched.said))
    eventually(lambda: is_gone(grandchild))


def test_one_can_be_dismissed_and_the_others_stay(watched: Watched) -> None:
    """It is not started again, and may be taken back later."""
    dismissed, kept = watched.start("scheduler", SLEEP), watched.start("web", SLEEP)
    watched.supervisor.dismiss("scheduler")
    assert is_gone(dismissed)
    assert watched.supervisor.names == ["web"]
    assert watched.supervisor.pids == {"web": kept}
    watched.supervisor.dismiss("scheduler")
    watched.start("scheduler", SLEEP)
    assert watched.supervisor.names == ["web", "scheduler"]


def test_stopping_goes_from_the_last_started_to_the_first(watched: Watched, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name in ("redis", "worker", "web"):
        watched.start(
            name,
            "import signal, sys, time\n"
            f"def end(*_):\n open({str(order)!r}, 'a').write({name!r} + ' '); sys.exit(0)\n"
            "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(60)",
        )
    pids = list(watched.supervisor.pids.values())
    watched.supervisor.stop()
    assert order.read_text().split() == ["web", "worker", "redis"]
    assert all(is_gone(pid) for pid in pids)
    watched.supervisor.stop()
    assert watched.said == []


def test_one_that_ignores_the_request_is_killed_with_its_group(watched: Watched) -> None:
    leader = watched.start(
        "worker", f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {PARENT}", 0.1
    )
    grandchild = int(watched.lines[0][1])
    watched.supervisor.stop()
    assert watched.said == ["worker did not stop in time; killing it"]
    assert is_gone(leader)
    eventually(lambda: is_gone(grandchild))


def test_a_second_request_does_not_wait(watched: Watched) -> None:
    pid = watched.start("web", STUBBORN, stop_within_s=60)
    watched.supervisor.stop(lambda: True)
    assert is_gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_processes_end_when_their_supervisor_is_killed() -> None:
    code = (
        "import sys, time; from functools import partial; from ops.child import Child, Program;"
        "say = partial(print, flush=True);"
        f"child = Child(Program('web', (sys.executable, '-c', {SLEEP!r})), say);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        assert not is_gone(pid)
        # Once it has spoken it is the command itself, with the kernel's promise in place.
        assert supervisor.stdout.readline().strip() == b"b'up\\n'"
        supervisor.kill()
    eventually(lambda: is_gone(pid))
