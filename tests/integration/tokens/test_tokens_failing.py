"""Providers that refuse, fail, hang or talk nonsense, and APIs that reject tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coordination import keys
from coordination.errors import BadCredentials, ProviderUnavailable
from coordination.settings import Settings
from coordination.tokens.store import TokenStore
from coordination.tokens.token import Token
from tests.oauth_provider import OAuthServer
from tests.polling import eventually_async
from tests.servers import PrivateRedis
from tests.token_stores import PROVIDER, token_settings, token_store

LOCK_KEY = keys.oauth_lock(PROVIDER)


async def test_a_token_that_is_over_when_it_comes_is_no_token(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer
) -> None:
    """An expired token is never returned, whoever issued it."""
    server.expires_in = 0
    with pytest.raises(ProviderUnavailable, match="expires_in"):
        await stores[0].token(PROVIDER)


async def test_refused_credentials_are_loud_once_and_ask_no_more(
    stores: tuple[TokenStore, TokenStore],
    server: OAuthServer,
    settings: Settings,
    fresh_redis: PrivateRedis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Providers lock clients out that go on guessing; every process must know at once."""
    server.body, server.status = b'{"error": "invalid_client", "error_description": "no"}', 401
    answers = await asyncio.gather(
        *(store.token(PROVIDER) for store in stores for _ in range(20)), return_exceptions=True
    )
    assert all(isinstance(answer, BadCredentials) for answer in answers)
    async with token_store(settings) as third:
        with pytest.raises(BadCredentials, match="invalid_client") as caught:
            await third.token(PROVIDER)
    assert caught.value.retry_after_s is not None
    assert 25 < caught.value.retry_after_s <= 30
    assert len(server.asked) == 1
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    with fresh_redis.client() as client:
        assert 25_000 < client.pttl(keys.oauth_failure(PROVIDER)) <= 30_000


async def test_an_absent_provider_is_asked_again_after_a_moment(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer
) -> None:
    """Nobody asks during the pause, in no process; then it is tried again by itself."""
    server.status = 503
    with pytest.raises(ProviderUnavailable, match="status 503"):
        await stores[0].token(PROVIDER)
    for store in stores:
        with pytest.raises(ProviderUnavailable):
            await store.token(PROVIDER)
    assert len(server.asked) == 1
    server.status = 200
    token = await eventually_async(
        lambda: stores[1].token(PROVIDER), deadline_s=5, retry_on=ProviderUnavailable
    )
    assert server.accepts(token.value)
    assert server.asked[1].at - server.asked[0].at >= 0.9


async def test_retry_after_is_obeyed(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """Asking earlier than told earns a longer ban."""
    server.status, server.headers = 429, {"Retry-After": "17"}
    with pytest.raises(ProviderUnavailable):
        await stores[0].token(PROVIDER)
    with fresh_redis.client() as client:
        assert 15_000 < client.pttl(keys.oauth_failure(PROVIDER)) <= 17_000


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * 100_000, {}),
        (b"\x1f\x8b", {"Content-Encoding": "gzip"}),
        (b'{"access_token": "a", "token_type": "mac"}', {}),
    ],
    ids=["too long", "compressed", "not bearer"],
)
async def test_answers_that_cannot_be_used(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer, body: bytes, headers: dict[str, str]
) -> None:
    """A provider's answer fills no memory and reaches no header of ours."""
    server.body, server.headers = body, headers
    with pytest.raises(ProviderUnavailable, match="its answer"):
        await stores[0].token(PROVIDER)


async def test_a_redirect_gets_no_credentials(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer
) -> None:
    """Whoever can answer once could else collect the secret elsewhere."""
    with OAuthServer() as elsewhere:
        server.status, server.headers = 307, {"Location": elsewhere.url}
        server.body = b""
        with pytest.raises(ProviderUnavailable, match="status 307"):
            await stores[0].token(PROVIDER)
        assert elsewhere.asked == []


async def test_a_hanging_provider_is_left_before_the_lock_ends(
    tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """Else a slow answer would always come after another process has begun to ask."""
    hurried = token_settings(tmp_path, server, fresh_redis.url, oauth_fetch_timeout_ms=300)
    server.hold()
    async with token_store(hurried) as store:
        with pytest.raises(ProviderUnavailable, match="no answer in time"):
            await store.token(PROVIDER)
    with fresh_redis.client() as client:
        assert client.exists(LOCK_KEY) == 0  # given back, not left to run out


async def test_a_rejected_token_is_replaced_by_one_request_for_all(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer
) -> None:
    """All who met the 401 ask at once; only while the stored fence is still the rejected one."""
    first = await stores[0].token(PROVIDER)
    await stores[1].token(PROVIDER)
    tokens = await asyncio.gather(
        *(store.rejected(PROVIDER, first.fence) for store in stores for _ in range(20))
    )
    assert len(server.asked) == 2
    (fence,) = {token.fence for token in tokens}
    assert fence > first.fence
    late = await stores[1].rejected(PROVIDER, first.fence)
    assert late.fence == fence
    assert (await stores[0].token(PROVIDER)).fence == fence
    assert len(server.asked) == 2


async def test_an_api_that_rejects_everything_wears_no_provider_out(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer
) -> None:
    """A partner whose API is misconfigured answers 401 to each new token as well."""
    token = await stores[0].token(PROVIDER)
    token = await stores[0].rejected(PROVIDER, token.fence)
    for _ in range(10):
        with pytest.raises(ProviderUnavailable, match="rejected"):
            # As a caller would: with the token it was given last.
            await _rejected_anew(stores[0], token)
    assert len(server.asked) <= 3


async def _rejected_anew(store: TokenStore, token: Token) -> None:
    latest = await store.rejected(PROVIDER, token.fence)
    await store.rejected(PROVIDER, latest.fence)


async def test_a_fence_that_was_never_given_keeps_no_token_out(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer
) -> None:
    """A caller's mistake must not have every later token refused."""
    first = await stores[0].token(PROVIDER)
    second = await stores[0].rejected(PROVIDER, first.fence + 10**12)
    assert (await stores[0].token(PROVIDER)).fence == second.fence
    assert len(server.asked) == 2
