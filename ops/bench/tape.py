"""Requests made beforehand, byte for byte, so that to send one costs the sender next to nothing.

Each has a client address and an id of its own: what varies in life varies here, and the varying is
paid for before the clock runs. Clients come by ``X-Forwarded-For``, which our processes believe
because TRUSTED_PROXIES names the loopback address.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ops.bench.zipf import Zipf

__all__ = ["Ask", "Clients", "Tape", "as_bytes"]

_CLIENTS: Final = 20_000
_BATCH: Final = 4_096


@dataclass(frozen=True, slots=True)
class Ask:
    """One request without what varies from one sending to the next."""

    target: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Clients:
    """Addresses of visitors, of whom a few ask often; and request ids, each once."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"clients {seed}")  # noqa: S311 - reproducible, not secret
        self._zipf = Zipf(_CLIENTS)
        self._prefix = f"{self._rng.getrandbits(64):016x}"
        self._drawn: list[int] = []
        self._number = 0

    def headers(self) -> str:
        """The two header lines of the next request."""
        if not self._drawn:
            self._drawn = self._zipf.draws(self._rng, _BATCH)
        client = self._drawn.pop()
        self._number += 1
        return (
            f"X-Forwarded-For: 10.{client >> 16}.{client >> 8 & 255}.{client & 255}\r\n"
            f"X-Request-ID: {self._prefix}{self._number:016x}\r\n"
        )


@dataclass(frozen=True, slots=True)
class Tape:
    """``count`` requests in ``data``; ``lengths`` tells where each ends.

    ``once``: to play one a second time would measure something else.
    """

    data: Path
    lengths: Path
    count: int
    once: bool
    asks: Sequence[Ask] = field(repr=False)
    """A few of them, to look at their answers."""

    @classmethod
    def write(cls, path: Path, asks: Iterable[Ask], clients: Clients, *, once: bool) -> Tape:
        """Write the files beside ``path``."""
        data, lengths = path.with_suffix(".requests"), path.with_suffix(".lengths")
        sizes: list[int] = []
        kept: list[Ask] = []
        with data.open("wb") as file:
            for number, ask in enumerate(asks):
                raw = as_bytes(ask, clients.headers())
                file.write(raw)
                sizes.append(len(raw))
                if number < _BATCH:
                    kept.append(ask)
        if not sizes:
            raise RuntimeError(f"there is nothing to ask for on {path.name}")
        lengths.write_text("\n".join(map(str, sizes)))
        return cls(data, lengths, len(sizes), once, kept)

    def samples(self, count: int) -> list[Ask]:
        """Spread over the first few thousand."""
        return list(self.asks[:: max(1, len(self.asks) // count)])[:count]


def as_bytes(ask: Ask, varying: str = "") -> bytes:
    """The request as it goes over a kept-alive connection."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in ask.headers)
    if ask.body or ask.method != "GET":
        fields += f"Content-Length: {len(ask.body)}\r\n"
    head = f"{ask.method} {ask.target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{varying}{fields}\r\n"
    return head.encode("ascii") + ask.body
