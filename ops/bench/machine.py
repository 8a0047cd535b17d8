"""What it was measured on: the machine, and the versions of what decides the figures."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ops import embedded_redis
from ops.bench.mariadb import Account

__all__ = ["describe_machine"]

_PACKAGES = ("sanic", "uvloop", "hiredis", "asyncmy", "orjson", "dramatiq")


def describe_machine(account: Account | None = None) -> dict[str, str]:
    """Names and values, for the table's head and the JSON file."""
    described = {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "redis": _first_number([str(embedded_redis.find_binary()), "--version"]),
        "wrk": _first_number(["wrk", "-v"]),
    }
    for package in _PACKAGES:
        try:
            described[package] = version(package)
        except PackageNotFoundError:
            described[package] = "absent"
    if account is not None:
        with account.cursor() as cursor:
            cursor.execute(
                "SELECT VERSION(), @@innodb_flush_log_at_trx_commit,"
                " @@innodb_buffer_pool_size DIV 1048576"
            )
            name, flush, pool = cursor.fetchone() or ("", "", "")
        described["mariadb"] = str(name)
        described["innodb_flush_log_at_trx_commit"] = str(flush)
        described["innodb_buffer_pool_size"] = f"{pool} MiB"
    return described


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", information.read_text(), re.MULTILINE)
        if match:
            return match[1]
    return platform.processor() or platform.machine()


def _first_number(command: list[str]) -> str:
    try:
        said = subprocess.run(  # noqa: S603 - our own arguments
            command, capture_output=True, text=True, timeout=10, check=False
        )
    except OSError:
        return "absent"
    match = re.search(r"\d+\.\d[\w.]*", said.stdout + said.stderr)
    return match[0] if match else "unknown"
