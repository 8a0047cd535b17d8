"""A provider, and two processes' stores on one Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from coordination.settings import Settings
from coordination.tokens.store import TokenStore
from tests.oauth_provider import OAuthServer
from tests.servers import PrivateRedis
from tests.token_stores import token_settings, token_store


@pytest.fixture
def server() -> Iterator[OAuthServer]:
    with OAuthServer() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis) -> Settings:
    return token_settings(tmp_path, server, fresh_redis.url)


@pytest.fixture
async def stores(settings: Settings) -> AsyncIterator[tuple[TokenStore, TokenStore]]:
    """Two processes' stores."""
    async with token_store(settings) as one, token_store(settings) as other:
        yield one, other
