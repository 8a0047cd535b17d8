"""Load at a fixed rate: requests are due at fixed moments, however long answers take.

``python -m ops.bench.open_loop PLAN`` is a process of its own, so that nothing else of the
benchmark makes it late. Latency counts from the moment a request was due: a slow answer makes the
requests behind it slow, and that is measured, not hidden. It prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter, deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import uvloop

from ops.bench.percentiles import percentile
from ops.bench.tape import Tape

__all__ = ["Sent", "send"]

_TICK_S: Final = 0.0005
_ANSWERS_WITHIN_S: Final = 30
_LEAST_PER_S: Final = 200
"""Of what is still due when everything has been sent."""


@dataclass(frozen=True, slots=True)
class _Plan:
    data: str
    lengths: str
    bases: list[str]
    count: int
    per_s: float
    """0: all are due at once."""
    connections: int


@dataclass(frozen=True, slots=True)
class Sent:
    """One run. ``statuses`` by number; 0 is a connection that broke or said nothing in time."""

    count: int
    duration_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    late_p99_ms: float
    """How late the sender itself was."""
    statuses: dict[int, int]


def send(tape: Tape, bases: tuple[str, ...], *, count: int, per_s: float, connections: int) -> Sent:
    """Send the first ``count`` requests of the tape. Raises ``RuntimeError`` if that fails."""
    plan = _Plan(str(tape.data), str(tape.lengths), list(bases), count, per_s, connections)
    file = tape.data.with_suffix(".plan")
    file.write_text(json.dumps(asdict(plan)))
    within_s = (count / per_s if per_s else count / _LEAST_PER_S) + 3 * _ANSWERS_WITHIN_S
    result = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "ops.bench.open_loop", str(file)],
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    if result.returncode:
        said_last = (result.stderr.strip().splitlines() or ["nothing"])[-1]
        raise RuntimeError(f"the sender of the open loop broke off, saying: {said_last}")
    said = json.loads(result.stdout)
    return Sent(**{**said, "statuses": {int(k): n for k, n in said["statuses"].items()}})


class _Load:
    """Requests that are due, connections that are idle, and what came of it."""

    def __init__(self, requests: list[bytes], plan: _Plan) -> None:
        self._requests = requests
        self._interval_s = 1 / plan.per_s if plan.per_s else 0.0
        self._loop = asyncio.get_running_loop()
        self._idle: deque[_Connection] = deque()
        self._due: deque[tuple[bytes, float]] = deque()
        self.latencies_ms: list[float] = []
        self.late_ms: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.is_over = asyncio.Event()
        self._connecting: set[asyncio.Task[None]] = set()

    async def run(self) -> float:
        """Returns how long it took, in seconds."""
        began_at = self._loop.time()
        sent = 0
        while sent < len(self._requests):
            now = self._loop.time()
            while sent < len(self._requests):
                due = began_at + sent * self._interval_s
                if due > now:
                    break
                self._due.append((self._requests[sent], due))
                self.late_ms.append((now - due) * 1000)
                sent += 1
            self._hand_out()
            await asyncio.sleep(_TICK_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWERS_WITHIN_S + len(self._due) / _LEAST_PER_S):
                await self.is_over.wait()
        if missing := len(self._requests) - len(self.latencies_ms):
            self.statuses[0] += missing
        return self._loop.time() - began_at

    async def connect(self, port: int) -> None:
        """Open one more connection; whoever asks in vain finds out by the statuses."""
        with suppress(OSError):
            await self._loop.create_connection(lambda: _Connection(self, port), "127.0.0.1", port)

    def is_free(self, connection: _Connection) -> None:
        self._idle.append(connection)
        self._hand_out()

    def answered(self, status: int, due: float) -> None:
        self.statuses[status] += 1
        self.latencies_ms.append((self._loop.time() - due) * 1000)
        if len(self.latencies_ms) == len(self._requests):
            self.is_over.set()

    def lost(self, connection: _Connection, port: int) -> None:
        """Another takes its place."""
        with suppress(ValueError):
            self._idle.remove(connection)
        task = self._loop.create_task(self.connect(port))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _hand_out(self) -> None:
        while self._due and self._idle:
            self._idle.popleft().send(*self._due.popleft())


class _Connection(asyncio.Protocol):
    """One request at a time; understands answers with a Content-Length, or without a body."""

    def __init__(self, load: _Load, port: int) -> None:
        self._load = load
        self._port = port
        self._transport: asyncio.Transport | None = None
        self._due: float | None = None
        self._got = bytearray()
        self._missing = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._load.is_free(self)

    def send(self, raw: bytes, due: float) -> None:
        self._due = due
        self._got.clear()
        self._missing = -1
        if self._transport is not None:
            self._transport.write(raw)

    def data_received(self, data: bytes) -> None:
        if self._missing >= 0:
            self._missing -= len(data)
        else:
            self._got += data
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _length(self._got[:end])
            self._missing = length - (len(self._got) - end - 4)
        if self._missing <= 0 and self._due is not None:
            due, self._due = self._due, None
            self._load.answered(int(self._got[9:12]), due)
            self._load.is_free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._due is not None:
            due, self._due = self._due, None
            self._load.answered(0, due)
        self._load.lost(self, self._port)


def _length(head: bytearray) -> int:
    _, found, after = head.lower().partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0]) if found else 0


async def _run(plan: _Plan) -> Sent:
    requests = _requests(plan)
    load = _Load(requests, plan)
    for number in range(plan.connections):
        await load.connect(urlsplit(plan.bases[number % len(plan.bases)]).port or 80)
    took_s = await load.run()
    times = sorted(load.latencies_ms) or [0.0]
    return Sent(
        len(requests),
        took_s,
        percentile(times, 0.50),
        percentile(times, 0.95),
        percentile(times, 0.99),
        percentile(sorted(load.late_ms), 0.99),
        dict(load.statuses),
    )


def _requests(plan: _Plan) -> list[bytes]:
    data = Path(plan.data).read_bytes()
    lengths = [int(line) for line in Path(plan.lengths).read_text().split()]
    if plan.count > len(lengths):
        raise ValueError(f"{plan.count} requests were wanted, {len(lengths)} are ready")
    requests, at = [], 0
    for length in lengths[: plan.count]:
        requests.append(data[at : at + length])
        at += length
    return requests


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(_run(_Plan(**json.loads(Path(sys.argv[1]).read_text())))))))
