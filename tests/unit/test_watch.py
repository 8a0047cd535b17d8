"""What a supervisor makes of the messages of sd_notify(3), by a clock of the test's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from coordination.watchdog import SOCKET, WATCHDOG_USEC
from ops.watch import START_WITHIN_S, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="by the senders' pids")


class Clock:
    """Moved by hand, in steps that no stalled supervisor would take."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Listened:
    """A watch with two seconds of patience that is looked at every half second."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.watch = Watch(2.0, 5.0, clock=self.clock)

    def complaint_after(self, seconds: float) -> str | None:
        for _ in range(int(seconds * 2)):
            self.clock.now += 0.5
            complaint = self.watch.complaint()
            if complaint is not None:
                return complaint
        return None

    def tell(self, message: str) -> None:
        """As this very process."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            address = self.watch.environment[SOCKET]
            assert address.startswith("@")
            sender.sendto(message.encode(), "\0" + address[1:])

    def tell_as_another(self, message: str) -> subprocess.Popen[bytes]:
        """As a process that says it and lives on."""
        code = (
            "import os, socket, time\n"
            "with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:\n"
            f" s.sendto({message!r}.encode(), chr(0) + os.environ['{SOCKET}'][1:])\n"
            "print('said', flush=True); time.sleep(60)"
        )
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", code],
            env={**os.environ, **self.watch.environment},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        return process


@pytest.fixture
def listened() -> Iterator[Listened]:
    listened = Listened()
    yield listened
    listened.watch.close()
    listened.watch.close()


def test_the_interval_is_told_in_microseconds(listened: Listened) -> None:
    assert listened.watch.environment[WATCHDOG_USEC] == "2000000"


def test_nobody_is_awaited_before_it_is_ready_except_for_very_long(listened: Listened) -> None:
    listened.tell("WATCHDOG=1")
    assert listened.complaint_after(START_WITHIN_S) is None
    assert listened.complaint_after(1) == "was not ready within 600 s"


def test_a_ready_process_may_be_silent_for_the_interval_and_no_longer(listened: Listened) -> None:
    listened.tell("READY=1\nSTATUS=up")
    assert listened.complaint_after(2) is None
    listened.tell("WATCHDOG=1")
    assert listened.complaint_after(2) is None
    complaint = listened.complaint_after(3)
    assert complaint == f"has not answered for 2 s (process {os.getpid()})"


def test_one_silent_process_is_not_covered_by_the_pings_of_another(listened: Listened) -> None:
    """A worker's processes are one group, of which each must answer."""
    other = listened.tell_as_another("READY=1")
    try:
        listened.tell("READY=1")
        for _ in range(3):
            assert listened.complaint_after(0.5) is None
            listened.tell("WATCHDOG=1")
        assert f"(process {other.pid})" in str(listened.complaint_after(2))
    finally:
        other.kill()
        other.wait()


def test_who_stops_has_its_own_deadline_and_is_forgotten_once_gone(listened: Listened) -> None:
    other = listened.tell_as_another("READY=1\nSTOPPING=1")
    try:
        listened.complaint_after(1)
        assert listened.complaint_after(4) is None
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert listened.complaint_after(60) is None
    finally:
        other.kill()
        other.wait()


def test_who_says_that_it_stops_and_does_not_is_complained_of(listened: Listened) -> None:
    listened.tell("READY=1\nSTOPPING=1")
    for _ in range(4):
        assert listened.complaint_after(1) is None
        listened.tell("WATCHDOG=1")
    assert listened.complaint_after(2) == "said that it stops, but did not within 5 s"


def test_a_supervisor_that_stood_still_blames_nobody_for_its_own_silence(
    listened: Listened,
) -> None:
    """After a machine was suspended, nobody had been able to answer."""
    listened.tell("READY=1")
    assert listened.complaint_after(1) is None
    listened.clock.now += 3_600
    assert listened.watch.complaint() is None
    assert listened.complaint_after(2) is not None
