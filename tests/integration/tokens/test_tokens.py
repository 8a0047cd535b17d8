"""Tokens on a real Redis and a real provider: one request for all, kept, and sealed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coordination import keys
from coordination.errors import Misconfigured
from coordination.settings import Settings
from coordination.tokens.store import TokenStore
from tests.oauth_provider import OAuthServer
from tests.polling import eventually_async
from tests.servers import PrivateRedis
from tests.token_stores import PROVIDER, token_settings, token_store

TOKEN_KEY = keys.oauth_token(PROVIDER)
LOCK_KEY = keys.oauth_lock(PROVIDER)


async def test_the_first_caller_fetches_and_all_others_share(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer, fresh_redis: PrivateRedis
) -> None:
    """The flow of the architecture description, with its key and its lifetime."""
    one, other = stores
    first = await one.token(PROVIDER)
    second = await other.token(PROVIDER)
    assert (first.value, first.fence) == (second.value, second.fence)
    assert server.accepts(first.value)
    assert len(server.asked) == 1
    with fresh_redis.client() as client:
        ttl_ms = client.pttl("oauth:token:{supply}")
        assert 3_530_000 < ttl_ms <= 3_540_000
        assert client.exists("lock:oauth:{supply}") == 0
        assert client.get("oauth:fence:{supply}") == str(first.fence).encode()


async def test_a_herd_in_one_process_is_one_request(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer
) -> None:
    """The seed's thundering herd."""
    tokens = await asyncio.gather(*(store.token(PROVIDER) for store in stores for _ in range(50)))
    assert len({token.fence for token in tokens}) == 1
    assert len(server.asked) == 1


async def test_a_caller_who_leaves_takes_the_token_from_nobody(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer
) -> None:
    """A cancelled call must not end the fetch that others wait for."""
    server.hold()
    leaving = asyncio.create_task(stores[0].token(PROVIDER))
    staying = asyncio.create_task(stores[0].token(PROVIDER))
    await eventually_async(lambda: server.asked)
    leaving.cancel()
    server.release()
    assert server.accepts((await staying).value)
    assert len(server.asked) == 1


async def test_nothing_in_redis_shows_a_token(
    stores: tuple[TokenStore, TokenStore], fresh_redis: PrivateRedis
) -> None:
    """Dumps, MONITOR and the slow log of Redis are read by more people than may use tokens."""
    with fresh_redis.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.slowlog_reset()
        token = await stores[0].token(PROVIDER)
        seen = repr(client.slowlog_get(1000)) + repr([client.get(key) for key in client.keys("*")])
        client.config_set("slowlog-log-slower-than", 10_000)
    assert "oauth:token:{supply}" in seen
    assert token.value not in seen
    assert token.value not in repr(token)


async def test_a_value_moved_to_another_provider_is_not_used(
    tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis, settings: Settings
) -> None:
    """Whoever can write to Redis must not make us send one partner's token to another."""
    entry = settings.oauth_providers[PROVIDER]
    both = settings.model_copy(update={"oauth_providers": {PROVIDER: entry, "other": entry}})
    async with token_store(both) as store:
        first = await store.token(PROVIDER)
    with fresh_redis.client() as client:
        client.restore(keys.oauth_token("other"), 0, client.dump(TOKEN_KEY) or b"")
    async with token_store(both) as store:
        assert (await store.token("other")).value != first.value


async def test_a_token_sealed_by_strangers_is_replaced_once(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer, settings: Settings
) -> None:
    """After a change of SEALING_SECRET calls go on, and two secrets at once do not fight."""
    strangers = settings.model_copy(update={"sealing_secret": ("another-secret-" + "x" * 32,)})
    async with token_store(strangers) as stranger:
        await stranger.token(PROVIDER)
        ours = await stores[0].token(PROVIDER)
        assert server.accepts(ours.value)
        assert len(server.asked) == 2
        for _ in range(5):
            await stranger.token(PROVIDER)
            await stores[0].token(PROVIDER)
        assert len(server.asked) == 2


async def test_an_unknown_provider_is_a_mistake_in_the_settings(
    stores: tuple[TokenStore, TokenStore],
) -> None:
    """Not an outage: no retry can help."""
    with pytest.raises(Misconfigured, match="does not name nobody"):
        await stores[0].token("nobody")


@pytest.mark.parametrize(
    ("expires_in", "kept"), [(30, False), (60, False), (61, True), (None, True)]
)
async def test_what_is_not_worth_keeping_is_used_once(
    stores: tuple[TokenStore, TokenStore],
    server: OAuthServer,
    fresh_redis: PrivateRedis,
    expires_in: int | None,
    kept: bool,
) -> None:
    """Shared for `expires_in` − 60 s; a token without a told life counts as one of 300 s."""
    server.expires_in = expires_in
    server.hold()
    waiting = [asyncio.create_task(stores[0].token(PROVIDER)) for _ in range(5)]
    await eventually_async(lambda: server.asked)
    server.release()
    tokens = await asyncio.gather(*waiting)
    assert len({token.fence for token in tokens}) == 1  # whoever waited for it has it
    with fresh_redis.client() as client:
        ttl_ms = client.pttl(TOKEN_KEY)
        assert (ttl_ms > 0) is kept
        assert client.exists(LOCK_KEY) == 0
    if expires_in is None:
        assert 230_000 < ttl_ms <= 240_000
    again = await stores[0].token(PROVIDER)
    assert (again.fence == tokens[0].fence) is kept
    assert server.accepts(again.value)


@pytest.mark.parametrize("client_auth", ["basic", "form"])
async def test_credentials_go_where_the_provider_wants_them(
    tmp_path: Path, server: OAuthServer, fresh_redis: PrivateRedis, client_auth: str
) -> None:
    """In one place only (RFC 6749, 2.3), form-encoded in the header, without a proxy's help."""
    entry = token_settings(tmp_path, server, fresh_redis.url).oauth_providers[PROVIDER]
    changed = entry.model_copy(update={"client_auth": client_auth, "scope": "a b", "audience": "x"})
    settings = token_settings(
        tmp_path, server, fresh_redis.url, oauth_providers={PROVIDER: changed}
    )
    async with token_store(settings) as store:
        assert server.accepts((await store.token(PROVIDER)).value)
    (asked,) = server.asked
    assert ("authorization" in asked.headers) is (client_auth == "basic")
    assert ("client_secret" in asked.form) is (client_auth == "form")
    assert (asked.form["scope"], asked.form["audience"]) == ("a b", "x")


async def test_a_proxy_of_the_environment_is_not_used(
    stores: tuple[TokenStore, TokenStore],
    server: OAuthServer,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    """A variable set for something else must not show our credentials to a proxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with token_store(settings) as store:
        assert server.accepts((await store.token(PROVIDER)).value)


async def test_two_refreshers_at_once_ask_once(
    stores: tuple[TokenStore, TokenStore], server: OAuthServer
) -> None:
    """A leader that does not know yet that it leads no more costs no second token."""
    server.hold()
    both = [asyncio.create_task(store.refresh_if_due(PROVIDER)) for store in stores]
    await eventually_async(lambda: any(task.done() for task in both))
    server.release()
    outcomes = sorted([(await task).outcome for task in both])
    assert outcomes == ["busy", "stored"]
    assert len(server.asked) == 1
