"""Plays a tape with ``wrk``: closed loop, so many connections, each asking again once answered."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ops.bench.load import require_wrk
from ops.bench.tape import Tape

__all__ = ["NO_ANSWER", "Played", "play"]

_PLAYER: Final = Path(__file__).with_name("player.lua")
_GRACE_S: Final = 60
NO_ANSWER: Final = "no answer at all"


@dataclass(frozen=True, slots=True)
class Played:
    """One run. ``failures``: what was wrong with it, in words."""

    requests: int
    duration_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failures: tuple[str, ...] = ()

    @property
    def per_s(self) -> float:
        return self.requests / self.duration_s


def play(tape: Tape, bases: Sequence[str], *, connections: int, seconds: int) -> Played:
    """Ask ``bases`` for ``seconds``, a thread for each. Raises ``RuntimeError`` if wrk fails."""
    ports = [str(urlsplit(base).port) for base in bases]
    result = subprocess.run(  # noqa: S603 - our own arguments
        [
            *(require_wrk(), f"-t{len(bases)}", f"-c{connections}", f"-d{seconds}s"),
            *("--timeout", "10s", "-s", str(_PLAYER), bases[0]),
        ],
        env={
            **os.environ,
            "BENCH_TAPE": str(tape.data),
            "BENCH_LENGTHS": str(tape.lengths),
            "BENCH_PORTS": ",".join(ports),
        },
        capture_output=True,
        text=True,
        timeout=seconds + _GRACE_S,
        check=False,
    )
    for line in result.stdout.splitlines():
        if line.startswith("BENCH "):
            return _read(json.loads(line.removeprefix("BENCH ")), tape)
    raise RuntimeError(f"wrk said something unexpected:\n{result.stdout}{result.stderr}")


def _read(said: dict[str, float], tape: Tape) -> Played:
    failures = [
        f"{said[kind]:.0f} {words}"
        for kind, words in (
            ("status", "answers of status 400 or more"),
            ("connect", "connections refused"),
            ("read", "connections broken"),
            ("write", "connections broken while sending"),
            ("timeout", "answers not within 10 s"),
        )
        if said[kind]
    ]
    requests = int(said["requests"])
    if tape.once and requests > tape.count:
        failures.append(f"only {tape.count} requests were ready, {requests} were played")
    if not requests:
        failures.append(NO_ANSWER)
    return Played(
        requests,
        said["duration_s"],
        said["p50_ms"],
        said["p95_ms"],
        said["p99_ms"],
        tuple(failures),
    )
