"""A machine without the servers must not look like a green run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

SESSION_WITHOUT_SERVERS = """
import sys
import pytest
from tests.servers import binaries

binaries._find = lambda *names: None
binaries._redis_of_the_wheel = lambda: None
binaries.install_packages = lambda package: "nothing may be installed here"
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "tests/integration/test_servers.py"]))
"""


@pytest.mark.parametrize(("ci", "exit_code"), [("true", 1), ("", 0)])
def test_missing_servers_skip_loudly_and_fail_in_ci(ci: str, exit_code: int) -> None:
    environment = {**os.environ, "CI": ci}
    environment.pop("TEST_MYSQL_URL", None)
    session = subprocess.run(
        [sys.executable, "-c", SESSION_WITHOUT_SERVERS],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    loud = [line for line in session.stdout.splitlines() if line.startswith("!!!")]
    assert len(loud) == 1, session.stdout
    assert "NO MariaDB" in loud[0]
    assert "NO Redis" in loud[0]
    assert ("FAILS" in loud[0]) is (ci == "true")
    assert "passed" not in session.stdout
    assert session.returncode == exit_code
