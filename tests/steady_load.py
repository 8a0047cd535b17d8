"""A steady load of reads: requests leave at fixed moments, however long answers take.

So a slow answer delays no later request, and the wait behind it is measured, not hidden. By plain
connections: a client with a pool and hooks takes longer to send a request than the API to answer.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from tests.connections import Connections
from tests.herd import request

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
    connections = Connections()

    async def send(kind: str, path: str, due: float) -> None:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            reply = await connections.ask(port, request(path, {}), repeatable=False)
        # From the moment it was due, not from the moment it was sent.
        latencies[kind].append((loop.time() - due) * 1000)
        assert reply.status == HTTPStatus.OK, f"{path}: {reply.status}"

    began_at = loop.time()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(int(per_s * for_s)):
                due = began_at + number / per_s
                await asyncio.sleep(max(0.0, due - loop.time()))
                group.create_task(send(*next(requests), due))
    finally:
        connections.close()
    return dict(latencies)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
