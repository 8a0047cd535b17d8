"""Servers as the heartbeat and the replicas' readers reach them: given up soon, replaced easily."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from coordination.errors import DatabaseUnavailable, QueryTooExpensive
from coordination.patience import Patience
from coordination.settings import Settings
from models.database_config import mysql_credentials
from models.dialects import MARIADB
from models.mysql_engine import ReleasingMySQLClient
from models.replicas.beats import Beat
from models.server import Server
from models.server_watch import ServerWatch
from models.timing import timed

__all__ = ["BriskServer", "HeartbeatServer"]

_READ_PATIENCE_S: Final = 0.75
_CHECK_PATIENCE_S: Final = 0.5
_CLOSE_WITHIN_S: Final = 1.0


class BriskServer(Server):
    """A server that another can stand in for: nobody waits for it as long as for the primary."""

    def __init__(
        self, url: str, settings: Settings, *, name: str, connections: int | None = None
    ) -> None:
        credentials = mysql_credentials(urlsplit(url), settings, connections=connections)
        self._pooled = ReleasingMySQLClient(**credentials, connection_name=name)
        dialect = MARIADB.lacking(settings.database_without)
        # Its heartbeat decides when it is left alone, not what fails here.
        watch = ServerWatch(name, settings, None, self._pooled.drop_idle)
        super().__init__(self._pooled, dialect, settings, watch)

    async def close(self) -> None:
        """Close all connections, without waiting for a server that does not answer. Repeatable."""
        if self._closed:
            return
        self._closed = True
        await self.watch.close()
        pool = self._pooled._pool
        try:
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await self._pooled.close()
        except TimeoutError:
            if pool is not None:
                pool.terminate()

    @asynccontextmanager
    async def _patience(self, timeout_ms: int | None) -> AsyncIterator[None]:
        try:
            async with self.watch.patience(_READ_PATIENCE_S + (timeout_ms or 0) / 1000):
                yield
        except TimeoutError:
            if timeout_ms is None or self.dialect.has("statement_timeout") or self.watch.is_away:
                raise
            raise QueryTooExpensive("The query was given up after its time limit.") from None


class HeartbeatServer(BriskServer):
    """A server's heartbeat, over a connection of its own that no other read can keep busy."""

    def __init__(self, url: str, settings: Settings, *, name: str) -> None:
        super().__init__(url, settings, name=name, connections=1)
        self._asked_over: object | None = None

    async def show(self) -> Beat:
        """The last beat that has come here.

        Raises ``DatabaseUnavailable``, also once when the connection of the last look is gone: the
        pool replaces it without a word, perhaps by one to a server that took this one's place.
        """
        before, self._asked_over = self._asked_over, None
        rows = await self.fetch(
            "SELECT beaten_at FROM replica_heartbeat WHERE id = 1", purpose="heartbeat"
        )
        over = self._pooled.idle()
        if before is not None and before not in over:
            raise DatabaseUnavailable("The connection broke; another server may answer now.")
        self._asked_over = next(iter(over), None)
        if not rows:
            raise DatabaseUnavailable("The heartbeat's row is missing.")
        return rows[0]["beaten_at"]

    async def beat(self, after: Beat) -> bool:
        """Beat, unless another process did so after ``after``. Returns whether it was us."""
        with timed("heartbeat"), self.translated():
            async with self._patience(None):
                changed, _ = await self.client.execute_query(
                    "UPDATE replica_heartbeat SET beaten_at = UTC_TIMESTAMP(6)"
                    " WHERE id = 1 AND beaten_at = %s",
                    [after],
                )
                return bool(changed)

    @asynccontextmanager
    async def _patience(self, timeout_ms: int | None) -> AsyncIterator[None]:
        # A moment in which this very process did not run must not count against the server.
        async with Patience(_CHECK_PATIENCE_S):
            yield
