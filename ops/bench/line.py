"""One kept-alive connection that asks and waits: the latency of a request that has the machine
to itself. Plain sockets, because a client with a pool takes longer than the answer."""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from ops.bench.tape import Ask, as_bytes

__all__ = ["Line"]

_TIMEOUT_S: Final = 30
_PIECE: Final = 1 << 16


class Line:
    """A context manager. Understands answers with a Content-Length, which all of ours have."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._socket = socket.create_connection((parts.hostname, parts.port), _TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def ask(self, ask: Ask) -> tuple[int, float]:
        """The answer's status, and the milliseconds until it had arrived."""
        raw = as_bytes(ask)
        began_at = time.perf_counter()
        self._socket.sendall(raw)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._receive()
        head, _, body = got.partition(b"\r\n\r\n")
        missing = _length(head) - len(body)
        while missing > 0:
            missing -= len(self._receive())
        return int(head[9:12]), (time.perf_counter() - began_at) * 1000

    def _receive(self) -> bytes:
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise RuntimeError("the connection was closed in the middle of an answer")
        return piece


def _length(head: bytes) -> int:
    _, found, after = head.lower().partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0]) if found else 0
