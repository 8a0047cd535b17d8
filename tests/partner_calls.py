"""A partner client before a flaky partner, with its waits written down instead of waited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from coordination.breakers.breaker import Breakers
from coordination.breakers.circuit import View
from coordination.breakers.fleet import FleetCircuits
from coordination.calls.client import PartnerClient, Times, Tokens
from coordination.clients import open_breaker_client
from tests.databases import settings_for
from tests.flaky_partner import FlakyPartner, flaky_partner

__all__ = ["TODAY", "Calls", "FakeToken", "FakeTokens", "calls_to_flaky_partner"]

TODAY = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)


@dataclass(frozen=True)
class FakeToken:
    value: str
    fence: int


@dataclass
class FakeTokens:
    """Gives tokens one after the other; writes down what it was asked."""

    fence: int = 1
    error: Exception | None = None
    delay_s: float = 0.0
    given: int = 0
    rejections: list[tuple[str, int]] = field(default_factory=list)

    async def token(self, provider: str, /) -> FakeToken:
        assert provider == "oauth"
        self.given += 1
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        return FakeToken(f"secret-{self.fence}", self.fence)

    async def rejected(self, provider: str, fence: int, /) -> FakeToken:
        self.rejections.append((provider, fence))
        self.fence += 1
        return FakeToken(f"secret-{self.fence}", self.fence)


@dataclass
class Calls:
    """``slept``: every wait between attempts, which takes no time but moves the clock."""

    partner: FlakyPartner
    client: PartnerClient
    circuits: FleetCircuits
    slept: list[float]
    jitter: list[float]
    """What is drawn next; 0 when it is empty."""

    async def circuit(self) -> View:
        return await self.circuits.look("supply")

    @property
    def methods(self) -> list[str]:
        return [asked.method for asked in self.partner.asked]


@asynccontextmanager
async def calls_to_flaky_partner(
    redis_url: str,
    home: Path,
    *,
    tokens: Tokens | None = None,
    service: dict[str, object] | None = None,
    **settings: object,
) -> AsyncIterator[Calls]:
    """The service is called ``supply``; ``service`` changes its settings."""
    async with flaky_partner() as partner:
        about: dict[str, object] = {"base_url": f"{partner.url}/api", **(service or {})}
        if tokens is not None:
            about["provider"] = "oauth"
        chosen = settings_for(
            home,
            "sqlite:////nowhere",
            redis_url=redis_url,
            partner_services={"supply": about},
            # A busy machine must not be taken for a Redis that is away.
            **{"lock_timeout_ms": 5_000, "oauth_lock_ms": 30_000, **settings},
        )
        loop = asyncio.get_running_loop()
        slept: list[float] = []
        jitter: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        times = Times(
            clock=lambda: loop.time() + sum(slept),
            today=lambda: TODAY,
            sleep=sleep,
            jitter=lambda: jitter.pop(0) if jitter else 0.0,
        )
        locks = open_breaker_client(chosen)
        circuits = FleetCircuits(locks, chosen)
        client = PartnerClient(chosen, Breakers(circuits, chosen), tokens, times)
        try:
            yield Calls(partner, client, circuits, slept, jitter)
        finally:
            await client.close()
            await client.close()
            await locks.aclose()
