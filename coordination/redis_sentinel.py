"""The primary that sentinels name: asked for at every new connection, and again every moment.

redis-py asks its sentinels one after another; one that hangs would use up the caller's whole
deadline each time, and the next one would never be asked. Here all are asked at once.

It also stays with a connection for as long as that works. But a primary that was frozen, or whose
place was taken on purpose, goes on answering for some ten seconds after another has been named:
until the sentinels make a replica of it. So commands go only to a primary that was confirmed within
the last second, as long as there are sentinels to confirm it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import redis.asyncio as aioredis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import RedisError

from coordination.redis_urls import Address

__all__ = ["SentinelClient", "Sentinels"]

_log = logging.getLogger(__name__)
_CONFIRM_EVERY_S: Final = 0.3
_CONFIRMED_WITHIN_S: Final = 1.0
_PATIENCE_S: Final = 0.05
"""Shorter than any caller's: sentinels that hang must not make the primary look away."""


class Sentinels(Sentinel):
    """Asks all at once; of what most of them say, the latest decision counts."""

    def __init__(self, clients: Sequence[aioredis.Redis]) -> None:
        # The clients come ready made, with their own timeouts, so the base has none to make.
        super().__init__([])  # type: ignore[no-untyped-call]
        self.sentinels = list(clients)
        self._leaving: set[asyncio.Task[Any]] = set()

    async def discover_master(self, service_name: str) -> Address:
        """Where the service's primary is. Raises ``MasterNotFoundError``."""
        questions = [asyncio.create_task(_primaries(one)) for one in self.sentinels]
        told: list[dict[str, Any]] = []
        try:
            for answer in asyncio.as_completed(questions):
                try:
                    state = (await answer).get(service_name)
                except (RedisError, OSError):
                    continue
                told += [state] if state else []
                if len(told) > len(questions) // 2:
                    break
        finally:
            self._leave(questions)
        latest = max((int(state["config-epoch"]) for state in told), default=0)
        for state in told:
            # "Down" may be what one sentinel alone believes.
            agreed = int(state["config-epoch"]) == latest
            if agreed and self.check_master_state(state, service_name):
                return str(state["ip"]), int(state["port"])
        raise MasterNotFoundError("no sentinel knows a healthy primary of the service")

    async def aclose(self) -> None:
        """Drop all connections."""
        for question in self._leaving:
            # Once more: redis-py loses a cancellation that comes while it connects.
            question.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await super().aclose()

    def _leave(self, questions: Iterable[asyncio.Task[Any]]) -> None:
        # Without waiting: one that hangs may take its time to notice.
        for question in questions:
            if not question.done():
                question.cancel()
                self._leaving.add(question)
                question.add_done_callback(self._leaving.discard)
            elif not question.cancelled():
                question.exception()  # retrieved here when nobody waited for it


async def _primaries(sentinel: aioredis.Redis) -> dict[str, dict[str, Any]]:
    # Its declared type allows for forms that these clients do not ask for.
    return cast("dict[str, dict[str, Any]]", await sentinel.sentinel_masters())


class _Pool(SentinelConnectionPool, aioredis.BlockingConnectionPool):
    """Waits for a free connection, as the pools of the other clients do; counts new primaries."""

    replaced = 0
    _left = 0
    """How many of the replaced ones have no connection of ours any more."""
    _primary: Address | None = None

    @property
    def master_address(self) -> Address | None:
        """Where the primary was last found, once it was."""
        return self._primary

    @master_address.setter
    def master_address(self, address: Address | None) -> None:
        # Counted before anything is sent there: what redis-py does next takes a moment, in which
        # another command may arrive there, or the caller's deadline may end it.
        if address is None:
            return  # redis-py begins anew after a fork; what was met before still counts
        if self._primary not in {None, address}:
            self.replaced += 1
            _log.warning("The primary was replaced", extra={"service": self.service_name})
        self._primary = address

    async def get_master_address(self) -> Address:
        address: Address = await super().get_master_address()  # type: ignore[no-untyped-call]
        replaced = self.replaced
        if self._left != replaced:
            await self.disconnect()  # what is under way there may be lost
            self._left = replaced
        return address


class SentinelClient(aioredis.Redis):
    """Opens nothing until its first command. ``aclose()`` may be called twice."""

    def __init__(self, sentinels: Sentinels, service: str, **connection: Any) -> None:
        """``connection``: what redis-py's ``parse_url`` gives, and what its pools take."""
        self._sentinels = sentinels
        self._confirming: asyncio.Task[None] | None = None
        self._confirmed_at = float("-inf")
        tls = connection.pop("connection_class", Connection) is SSLConnection
        for name in ("host", "port"):
            connection.pop(name, None)
        self._pool = _Pool(  # type: ignore[no-untyped-call]
            service,
            sentinels,
            connection_class=SentinelManagedSSLConnection if tls else SentinelManagedConnection,
            **connection,
        )
        super().__init__(connection_pool=self._pool)

    @property
    def replaced(self) -> int:
        """How often another server was met as the primary."""
        return self._pool.replaced

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command to the primary. Raises redis-py's errors."""
        age_s = time.monotonic() - self._confirmed_at
        if age_s > _CONFIRM_EVERY_S:
            confirming = self._confirm()
            if age_s > _CONFIRMED_WITHIN_S:
                await asyncio.shield(confirming)
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Drop all connections, to the sentinels too."""
        if self._confirming is not None:
            self._confirming.cancel()
            await asyncio.gather(self._confirming, return_exceptions=True)
        await self._pool.disconnect()
        await self._sentinels.aclose()

    def _confirm(self) -> asyncio.Task[None]:
        if self._confirming is None or self._confirming.done():
            self._confirming = asyncio.create_task(self._ask_again())
        return self._confirming

    async def _ask_again(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._pool.get_master_address()
        except (RedisError, OSError, TimeoutError):
            # Without sentinels nobody replaces the primary, so what is known goes on serving.
            pass
        self._confirmed_at = time.monotonic()
