"""A steady load of reads: requests leave at fixed moments, however long answers take.

So a slow answer delays no later request, and the wait behind it is measured, not hidden. By plain
connections: a client with a pool and hooks takes longer to send a request than the API to answer.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress

from tests.ports import LOOPBACK

__all__ = ["Latencies", "percentile", "steady_load"]

Latencies = dict[str, list[float]]
"""Of each kind of request, in ms."""
_ANSWER_WITHIN_S = 20


async def steady_load(
    port: int,
    requests: Iterator[tuple[str, str]],
    *,
    per_s: float,
    for_s: float,
) -> Latencies:
    """Send (kind, path) after (kind, path); every answer must be 200."""
    loop = asyncio.get_running_loop()
    latencies: Latencies = defaultdict(list)
    connections = _Connections(port)

    async def send(kind: str, path: str, due: float) -> None:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            status = await connections.get(path)
        # From the moment it was due, not from the moment it was sent.
        latencies[kind].append((loop.time() - due) * 1000)
        assert status == b"200", f"{path}: {status!r}"

    began_at = loop.time()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(int(per_s * for_s)):
                due = began_at + number / per_s
                await asyncio.sleep(max(0.0, due - loop.time()))
                group.create_task(send(*next(requests), due))
    finally:
        await connections.close()
    return dict(latencies)


class _Connections:
    """Kept alive, as many as there ever were requests under way at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._all: list[asyncio.StreamWriter] = []

    async def get(self, path: str) -> bytes:
        """Ask for ``path`` and read the whole answer; returns its status."""
        if self._idle:
            incoming, outgoing = self._idle.pop()
        else:
            incoming, outgoing = await asyncio.open_connection(LOOPBACK, self._port)
            self._all.append(outgoing)
        outgoing.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode())
        head = (await incoming.readuntil(b"\r\n\r\n")).lower()
        _, _, after = head.partition(b"\r\ncontent-length:")
        await incoming.readexactly(int(after.partition(b"\r\n")[0]))
        self._idle.append((incoming, outgoing))
        return head.split(b" ", 2)[1]

    async def close(self) -> None:
        for outgoing in self._all:
            outgoing.close()
        for outgoing in self._all:
            with suppress(OSError):
                await outgoing.wait_closed()


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
