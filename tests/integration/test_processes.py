"""The process harness, on a stub: what journeys and drills lean on must itself be true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.polling import eventually
from tests.processes import ApiProcess, WorkerProcess, environment_for
from tests.service import NotReadyError, Service

STUB = "tests.integration.stub_service"
REPOSITORY = Path(__file__).resolve().parents[2]


def child_of(service: Service) -> int:
    return int(service.wait_for_log(lambda line: line["message"] == "booting")["child"])


def is_gone(pid: int) -> bool:
    # A killed orphan may stay a zombie where nobody reaps for init.
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_terminated_process_leaves_its_exit_code_and_its_logs(tmp_path: Path) -> None:
    with WorkerProcess(environment_for(tmp_path), module=STUB) as worker:
        assert worker.terminate(5) == 3
        assert not worker.alive
    booting, *_, last = worker.logs()
    assert booting["home"] == str(tmp_path)
    assert booting["cwd"] == str(worker.directory)
    assert last["message"] == "stopped"
    assert worker.stray_lines() == ["not JSON"]


def test_an_api_is_ready_when_it_says_so_over_http(tmp_path: Path) -> None:
    with ApiProcess(environment_for(tmp_path), module=STUB) as api:
        assert httpx.get(f"{api.url}/health/ready", timeout=2).status_code == 200
        api.freeze()
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{api.url}/health/ready", timeout=0.2)
        api.resume()
        assert httpx.get(f"{api.url}/health/ready", timeout=2).status_code == 200


def test_a_kill_reaches_what_the_process_started(tmp_path: Path) -> None:
    with WorkerProcess(environment_for(tmp_path), module=STUB) as worker:
        child = child_of(worker)
        worker.kill()
        eventually(lambda: is_gone(child))
        worker.restart()
        assert [line["message"] for line in worker.logs()].count("Stub ready") == 2


def test_a_process_that_fails_to_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    worker = WorkerProcess(environment_for(tmp_path, FAIL="1"), module=STUB)
    with pytest.raises(NotReadyError, match=r"ended with 1[\s\S]*told to fail"):
        worker.start()
    assert not worker.alive


def test_nothing_outlives_a_session_that_is_killed(tmp_path: Path) -> None:
    session = f"""
import time
from pathlib import Path
from tests.leash import session_leash
from tests.processes import WorkerProcess, environment_for

worker = WorkerProcess(environment_for(Path({str(tmp_path)!r})), module={STUB!r})
session_leash().remove(worker.directory)
worker.start()
worker.freeze()
print(worker.pid, worker.logs()[0]["child"], worker.directory, flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", session], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        leader, child, directory = killed.stdout.readline().split()
        assert psutil.pid_exists(int(leader))
        killed.kill()
    eventually(lambda: is_gone(int(leader)))
    eventually(lambda: is_gone(int(child)))
    eventually(lambda: not Path(directory).exists())
