"""One request over the wire: httpx with every timeout explicit, and an end that always comes.

httpx's own timeouts start anew with each byte, so one deadline is put over the whole exchange. It
runs as a task of its own, which is cancelled once and then left to tidy up: the caller never waits
for that, and a second cancellation, which leaks a connection of httpx's pool (encode/httpx issue
3782), cannot reach it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from coordination.calls.answers import Answer, read_answer
from coordination.calls.requests import Call
from coordination.calls.services import PartnerService
from coordination.errors import Misconfigured, PartnerFailed, PartnerGarbled, PartnerUnavailable
from coordination.metrics import PARTNER_ATTEMPTS
from coordination.settings import Settings

__all__ = ["TIMED_OUT", "Wire"]

TIMED_OUT: Final = "it did not answer in time"
_UNREACHABLE: Final = "it cannot be reached"
_BROKEN: Final = "the connection broke or its answer is no HTTP"
_KEPT_S: Final = 30.0
_CLOSE_DEADLINE_S: Final = 1.0


class Wire:
    """One service's connections. ``close()`` may be called twice."""

    def __init__(self, name: str, service: PartnerService, settings: Settings) -> None:
        self._name = name
        self._most_bytes = settings.partner_max_bytes
        attempt_s = service.attempt_ms / 1000
        self._http = httpx.AsyncClient(
            base_url=service.base_url,
            headers={
                "accept": "application/json",
                "accept-encoding": "identity",
                "user-agent": "FarmLokal",
            },
            # A partner's cookie would tie calls together that have nothing to do with each other.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx.Timeout(
                connect=settings.partner_connect_timeout_ms / 1000,
                read=attempt_s,
                write=attempt_s,
                pool=attempt_s,
            ),
            # The bulkhead bounds calls; connections being closed may come on top of them.
            limits=httpx.Limits(
                max_connections=2 * service.concurrency,
                max_keepalive_connections=service.concurrency,
                keepalive_expiry=_KEPT_S,
            ),
            trust_env=False,
            follow_redirects=False,
        )
        self._leftovers: set[asyncio.Task[Answer]] = set()

    async def exchange(self, call: Call, headers: Mapping[str, str], patience_s: float) -> Answer:
        """Send one request, read its answer to the end, any status. Raises ``PartnerFailed``,
        ``PartnerGarbled``, and ``PartnerUnavailable`` when the fault is ours.
        """
        try:
            answer = await self._in_time(call, headers, patience_s)
        except PartnerGarbled:
            self._count("garbled")
            raise
        except (TimeoutError, httpx.TimeoutException) as error:
            if isinstance(error, httpx.PoolTimeout):
                self._count("pool")
                raise PartnerUnavailable(self._name, "no connection is free") from None
            self._count("timeout")
            raise PartnerFailed(self._name, TIMED_OUT) from None
        except httpx.LocalProtocolError:
            # Its text may repeat a header's value, our token for one.
            self._count("unsendable")
            raise Misconfigured(f"A header for {self._name} cannot be sent.") from None
        except httpx.ConnectError:
            self._count("connect")
            raise PartnerFailed(self._name, _UNREACHABLE) from None
        except httpx.TransportError:
            self._count("broken")
            raise PartnerFailed(self._name, _BROKEN) from None
        self._count(f"{answer.status // 100}xx")
        return answer

    async def close(self) -> None:
        """Drop all connections, within a deadline."""
        if self._leftovers:
            await asyncio.wait(self._leftovers, timeout=_CLOSE_DEADLINE_S)
        await self._http.aclose()

    async def _in_time(self, call: Call, headers: Mapping[str, str], patience_s: float) -> Answer:
        exchange = asyncio.create_task(self._exchange(call, headers))
        try:
            await asyncio.wait({exchange}, timeout=patience_s)
        except asyncio.CancelledError:
            self._give_up(exchange)
            raise
        if not exchange.done():
            self._give_up(exchange)
            raise TimeoutError
        return exchange.result()

    async def _exchange(self, call: Call, headers: Mapping[str, str]) -> Answer:
        async with self._http.stream(
            call.method,
            call.path,
            params=call.params or None,
            content=call.content,
            headers=headers,
        ) as response:
            return await read_answer(self._name, response, self._most_bytes)

    def _give_up(self, exchange: asyncio.Task[Answer]) -> None:
        self._leftovers.add(exchange)
        exchange.add_done_callback(self._forget)
        exchange.cancel()

    def _forget(self, exchange: asyncio.Task[Answer]) -> None:
        self._leftovers.discard(exchange)
        # Whatever it came to was answered for: the caller was told, or is gone.
        if not exchange.cancelled():
            exchange.exception()

    def _count(self, outcome: str) -> None:
        PARTNER_ATTEMPTS.labels(self._name, outcome).inc()
