"""The statements of one search, which share one allowance of time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Final

from coordination.errors import QueryTooExpensive
from models.database import Connection, Row
from models.server import Server

__all__ = ["Asking"]

_STEPS: Final = 10


class Asking:
    """Begins when it is made; SEARCH_TIMEOUT_MS is for all its statements together."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._total_ms = server.settings.search_timeout_ms
        self._ends_at = time.monotonic() + self._total_ms / 1000

    async def fetch_often(
        self, sql: str, params: Sequence[object], *, purpose: str
    ) -> Sequence[Sequence[Any]]:
        """See ``Server.fetch_often``. Raises ``QueryTooExpensive`` also when no time is left."""
        return await self.server.fetch_often(
            sql, params, purpose=purpose, timeout_ms=self._left_ms()
        )

    async def fetch_values(
        self, sql: str, params: Sequence[object], *, purpose: str
    ) -> Sequence[Sequence[Any]]:
        """See ``Server.fetch_values``; as ``fetch_often``."""
        return await self.server.fetch_values(
            sql, params, purpose=purpose, timeout_ms=self._left_ms()
        )

    async def fetch(
        self,
        sql: str,
        params: Sequence[object],
        *,
        purpose: str = "search",
        conn: Connection | None = None,
    ) -> list[Row]:
        """See ``Server.fetch``; as ``fetch_often``."""
        return await self.server.fetch(
            sql, params, purpose=purpose, timeout_ms=self._left_ms(), conn=conn
        )

    async def fetch_dear(self, sql: str, params: Sequence[object], *, purpose: str) -> list[Row]:
        """The same of what takes one of the few places for expensive reads."""
        async with self.server.heavy_slot() as conn:
            return await self.fetch(sql, params, purpose=purpose, conn=conn)

    def _left_ms(self) -> int:
        left_ms = (self._ends_at - time.monotonic()) * 1000
        if left_ms <= 0:
            raise QueryTooExpensive("The search took too long.")
        # A whole number of steps: the limit is a part of the statement's words, and the server
        # keeps each wording ready.
        steps = min(_STEPS, math.ceil(left_ms * _STEPS / self._total_ms))
        return max(1, self._total_ms * steps // _STEPS)
