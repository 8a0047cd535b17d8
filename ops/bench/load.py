"""Load by ``wrk``: bounded in time, loopback only, and every answer's status is checked."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from coordination.errors import Misconfigured

__all__ = ["Measured", "measure", "require_wrk"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run's rate and 99th percentile."""

    requests_per_s: float
    p99_ms: float


def require_wrk() -> str:
    """The path of ``wrk``. Raises ``Misconfigured`` telling how to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise Misconfigured("`wrk` is needed for benchmarks: install your system's package wrk.")
    return found


def measure(url: str, *, connections: int, seconds: int, script: Path | None = None) -> Measured:
    """Ask ``url`` for ``seconds``. Raises ``RuntimeError`` when an answer failed.

    ``script``: in Lua, tells wrk what to ask for instead.
    """
    command = [require_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command += [url] if script is None else ["-s", str(script), url]
    result = subprocess.run(  # noqa: S603 - our own arguments
        command, capture_output=True, text=True, timeout=seconds + 30, check=True
    )
    if "Non-2xx" in result.stdout or "Socket errors" in result.stdout:
        raise RuntimeError(f"answers failed during the measurement:\n{result.stdout}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", result.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", result.stdout)
    if rate is None or p99 is None:
        raise RuntimeError(f"wrk said something unexpected:\n{result.stdout}")
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99.group(2)]
    return Measured(float(rate.group(1)), float(p99.group(1)) * scale)
