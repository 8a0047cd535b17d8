"""Many equal requests at once, each on a connection of its own, written to the socket by hand.

A client library's pool spends milliseconds on each of hundreds of connections, and a herd would
arrive as a queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.ports import LOOPBACK

__all__ = ["HerdAnswer", "herd", "request"]

_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class HerdAnswer:
    """``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def herd(
    ports: Sequence[int], times: int, path: str, headers: Mapping[str, str] | None = None
) -> list[HerdAnswer]:
    """Connect ``times`` times, over the ports in turn; then send everything at once."""
    lines = request(path, {**(headers or {}), "connection": "close"})
    async with asyncio.timeout(_DEADLINE_S):
        roads = await asyncio.gather(
            *(asyncio.open_connection(LOOPBACK, ports[n % len(ports)]) for n in range(times))
        )
        for _, writer in roads:
            writer.write(lines)
        return list(await asyncio.gather(*(_answer(*road) for road in roads)))


def request(path: str, headers: Mapping[str, str]) -> bytes:
    """The bytes of a GET."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nhost: {LOOPBACK}\r\n{fields}\r\n".encode()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HerdAnswer:
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    first, *fields = head.decode().split("\r\n")
    pairs = (field.partition(": ") for field in fields)
    return HerdAnswer(int(first.split()[1]), {k.lower(): v for k, _, v in pairs}, body)
