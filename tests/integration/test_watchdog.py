"""Processes that stand still are ended by their supervisor and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from coordination.watchdog import SOCKET, WATCHDOG_PID, WATCHDOG_USEC, Watchdog
from models.migrate import migrate
from tests.databases import settings_for
from tests.polling import eventually, eventually_async
from tests.processes import SchedulerProcess, WorkerProcess, environment_for
from tests.servers import PrivateRedis
from tests.supervising import Watched

REPOSITORY = Path(__file__).resolve().parents[2]
# Ready, then alive for as long as its loop runs, which SIGUSR1 blocks.
READY = f"""
import asyncio, signal, sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from coordination.watchdog import Watchdog

async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, time.sleep, 60)
    dog = Watchdog.from_environment()
    dog.ready()
    print("up", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
NEVER_READY = "import time; print('up', flush=True); time.sleep(60)"


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.supervisor.stop(lambda: True)


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGUSR1], ids=["frozen", "blocked"])
def test_a_process_that_stands_still_is_killed_and_started_again(
    watched: Watched, fault: signal.Signals
) -> None:
    pid = watched.start("web", READY, watchdog_s=1.0)
    watched.start("redis", NEVER_READY)
    os.kill(pid, fault)
    watched.tended_until(lambda: watched.supervisor.pids.get("web", pid) != pid)
    assert watched.said == [
        f"web has not answered for 1 s (process {pid}); killing it",
        "web was killed by signal 9; starting it again in 0.01 s",
        "web started again",
    ]


def test_processes_that_answer_or_were_never_ready_are_left_alone(watched: Watched) -> None:
    pids = {
        watched.start("web", READY, watchdog_s=0.5),
        watched.start("slow", NEVER_READY, watchdog_s=0.5),
    }
    looks = iter(range(60))  # of 20 ms each, and so more than twice the interval
    watched.tended_until(lambda: next(looks, None) is None)
    assert set(watched.supervisor.pids.values()) == pids
    assert watched.said == []


def listener(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind("\0" + address[1:] if address.startswith("@") else address)
    listening.setblocking(False)
    return listening


@pytest.mark.parametrize("kind", ["path", "abstract"])
async def test_it_pings_at_less_than_half_the_interval(kind: str, tmp_path: Path) -> None:
    address = str(tmp_path / "notify") if kind == "path" else f"@farmlokal-test-{os.getpid()}"
    with listener(address) as listening:
        environment = {SOCKET: address, WATCHDOG_USEC: "300000"}
        watchdog = Watchdog.from_environment(environment)
        loop = asyncio.get_running_loop()
        watchdog.ready()
        began = loop.time()
        told = [await loop.sock_recv(listening, 100) for _ in range(5)]
        assert told == [b"READY=1", *[b"WATCHDOG=1"] * 4]
        assert 0.29 < loop.time() - began < 0.6
        watchdog.stopping()
        assert b"STOPPING=1" in [await loop.sock_recv(listening, 100) for _ in range(2)]
        watchdog.close()
        watchdog.close()
    # Nobody listens, or nobody asked: neither hurts.
    for nobody in (environment, {}, {SOCKET: address, WATCHDOG_USEC: "soon"}):
        silent = Watchdog.from_environment(nobody)
        silent.ready()
        silent.stopping()
        silent.close()


async def test_whom_the_watchdog_does_not_mean_says_ready_but_does_not_ping() -> None:
    address = f"@farmlokal-meant-{os.getpid()}"
    environment = {SOCKET: address, WATCHDOG_USEC: "30000", WATCHDOG_PID: str(os.getppid())}
    loop = asyncio.get_running_loop()
    with listener(address) as listening:
        stranger = Watchdog.from_environment(environment)
        stranger.ready()
        assert await loop.sock_recv(listening, 100) == b"READY=1"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await loop.sock_recv(listening, 100)
        worker = Watchdog.from_environment(environment, pids=(os.getppid(),))
        worker.ready()
        told = [await loop.sock_recv(listening, 100) for _ in range(3)]
        assert told == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        stranger.close()
        worker.close()


async def test_each_worker_process_and_the_scheduler_speak_for_themselves(
    fresh_redis: PrivateRedis, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    await migrate(settings_for(tmp_path, url))
    address = f"@farmlokal-fleet-{os.getpid()}"
    environment = environment_for(
        tmp_path,
        database_url=url,
        redis_url=fresh_redis.url,
        WORKER_PROCESSES="2",
        WORKER_THREADS="2",
        **{SOCKET: address, WATCHDOG_USEC: "60000000"},
    )
    heard: dict[int, set[bytes]] = {}

    def listen() -> dict[int, set[bytes]]:
        while True:
            try:
                message, extra, _, _ = listening.recvmsg(100, 100)
            except BlockingIOError:
                return heard
            pid = int.from_bytes(extra[0][2][:4], "little")
            heard.setdefault(pid, set()).add(message)

    with listener(address) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with WorkerProcess(environment) as worker, SchedulerProcess(environment) as scheduler:
            workers = {child.pid for child in psutil.Process(worker.pid).children()}
            speakers = workers | {scheduler.pid}
            alive = {b"READY=1", b"WATCHDOG=1"}
            await eventually_async(lambda: list(listen().values()).count(alive) == 3)
            assert set(heard) == speakers
            heard.clear()
            assert (worker.terminate(20), scheduler.terminate(5)) == (0, 0)
            assert {pid for pid, told in listen().items() if b"STOPPING=1" in told} == speakers
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in workers))
