"""Installing servers: what apt-get is asked, and that no service starts. No package is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.servers.binaries import install_packages

FAKE_APT_GET = """#!/bin/sh
echo "$DEBIAN_FRONTEND $*" >> {directory}/calls
{directory}/policy-rc.d mariadb start
echo "a service may start: $?" >> {directory}/calls
case "$*" in *install*) echo "E: Unable to locate package" >&2; exit {exit_code};; esac
"""


def use_fake_apt_get(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, exit_code: int = 0
) -> None:
    program = directory / "apt-get"
    program.write_text(FAKE_APT_GET.format(directory=directory, exit_code=exit_code))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
    monkeypatch.setattr("os.geteuid", lambda: 0)


def test_packages_are_installed_unattended_and_their_services_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fake_apt_get(tmp_path, monkeypatch)
    policy = tmp_path / "policy-rc.d"
    assert install_packages("mariadb-server", policy=policy) == ""
    update, held_back, install, still_held_back = (tmp_path / "calls").read_text().splitlines()
    assert update.startswith("noninteractive")
    assert update.endswith("update")
    assert install.endswith("install --no-install-recommends mariadb-server")
    assert held_back == still_held_back == "a service may start: 101"
    assert not policy.exists()


def test_a_failed_installation_says_why_and_leaves_no_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fake_apt_get(tmp_path, monkeypatch, exit_code=100)
    policy = tmp_path / "policy-rc.d"
    assert "Unable to locate package" in install_packages("mariadb-server", policy=policy)
    assert not policy.exists()


def test_a_machine_whose_policy_starts_services_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fake_apt_get(tmp_path, monkeypatch)
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    policy.chmod(0o755)
    assert "would let packages start services" in install_packages("redis-server", policy=policy)
    assert not (tmp_path / "calls").exists()
    assert policy.exists()


def test_without_root_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing may be run"))
    assert "root" in install_packages("mariadb-server")
