"""Token stores for tests: a provider of ours, and a Redis and a clock of choice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from coordination.settings import Settings, load_settings
from coordination.tokens.obtaining import Clocks
from coordination.tokens.store import TokenStore, open_token_store
from tests.oauth_provider import CLIENT_ID, CLIENT_SECRET, OAuthServer

__all__ = ["PROVIDER", "MovedClock", "provider_json", "token_settings", "token_store"]

PROVIDER = "supply"


class MovedClock:
    """Time that stands still until it is moved; the stand-in for our clocks and the server's."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at

    def ms(self) -> int:
        """As Redis tells it."""
        return round(self.at * 1000)

    def clocks(self) -> Clocks:
        return Clocks(now=self, wall=self)


def provider_json(server: OAuthServer, **others: object) -> str:
    """What `OAUTH_PROVIDERS` holds for this server."""
    return json.dumps(
        {
            PROVIDER: {
                "token_url": server.url,
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                **others,
            }
        }
    )


def token_settings(home: Path, server: OAuthServer, redis_url: str, **others: object) -> Settings:
    """Settings of a process that knows this provider alone.

    ``lock_timeout_ms``: long enough that a busy machine is not taken for a Redis that is away.
    """
    given: dict[str, object] = {
        "oauth_providers": provider_json(server),
        "lock_timeout_ms": 1_000,
        **others,
    }
    return load_settings(environment="test", farmlokal_home=home, redis_url=redis_url, **given)


@asynccontextmanager
async def token_store(
    settings: Settings, clock: MovedClock | None = None
) -> AsyncIterator[TokenStore]:
    """One process's store, open."""
    if clock is None:
        store = open_token_store(settings)
    else:
        store = open_token_store(settings, clock.clocks(), clock.ms)
    try:
        yield store
    finally:
        await store.close()
