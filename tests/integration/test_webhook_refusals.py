"""What is kept of refused deliveries: enough to explain them, bounded, and never at their cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.errors import CacheUnavailable
from coordination.metrics import CACHE_FAULTS
from models.webhooks.refusals import Refusal, note, recent
from tests.databases import settings_for
from tests.polling import eventually_async
from tests.servers import PrivateRedis

REFUSAL = Refusal(
    reason="mismatch",
    received_at_s=1_700_000_000.25,
    request_id="r-1",
    headers={"webhook-id": ["msg_1"], "webhook-signature": ["v1,AAAA", "v1,BBBB"]},
    body=b'{"a":\xff}',
    body_bytes=7,
)


@pytest.fixture
async def plane(tmp_path: Path, fresh_cache_redis: PrivateRedis) -> AsyncIterator[CachePlane]:
    settings = settings_for(tmp_path, "sqlite:///unused.db", redis_url=fresh_cache_redis.url)
    opened = CachePlane(open_cache_client(settings), settings)
    try:
        yield opened
    finally:
        await opened.close()


async def noted(plane: CachePlane, *refusals: Refusal, partner: str = "acme") -> list[Refusal]:
    """Note them one after the other; what is kept then."""
    for refusal in refusals:
        await note(plane, partner, refusal)

        async def is_first(expected: Refusal = refusal) -> list[Refusal] | None:
            found = await recent(plane, partner)
            return found if found and found[0].request_id == expected.request_id else None

        kept = await eventually_async(is_first)
    return kept


def faults(reason: str) -> float:
    """How often noting a refusal failed for this reason."""
    return float(CACHE_FAULTS.labels("push", reason)._value.get())


async def test_a_refusal_is_kept_as_it_was(plane: CachePlane) -> None:
    assert await recent(plane, "acme") == []
    assert await noted(plane, REFUSAL) == [REFUSAL]
    assert await recent(plane, "other") == []
    assert not REFUSAL.is_cut


async def test_the_last_twenty_are_kept_for_a_day(plane: CachePlane) -> None:
    """Whoever sends rubbish under a partner's name must not fill the cache with it."""
    kept = await noted(plane, *(replace(REFUSAL, request_id=f"r-{n}") for n in range(23)))
    assert [refusal.request_id for refusal in kept] == [f"r-{n}" for n in range(22, 2, -1)]
    ttl_s = await plane.client.ttl(keys.webhook_refused("acme"))
    assert 86_000 < ttl_s <= 86_400


async def test_only_headers_that_signing_involves_are_kept(plane: CachePlane) -> None:
    """Operators read these; credentials of others are none of their business."""
    headers = {
        **REFUSAL.headers,
        "authorization": ["Bearer secret-1"],
        "cookie": ["secret-2"],
        "x-api-key": ["secret-3"],
        "content-type": ["application/json"],
        "x-hub-signature": ["sha1=é\udcff"],
    }
    (kept,) = await noted(plane, replace(REFUSAL, headers=headers))
    assert set(kept.headers) == {*REFUSAL.headers, "content-type", "x-hub-signature"}
    assert kept.headers["x-hub-signature"] == ["sha1=é\udcff"], "even what is no text"
    (stored,) = await plane.pushed(keys.webhook_refused("acme"))
    assert b"secret-" not in stored


async def test_long_bodies_and_headers_are_cut(plane: CachePlane) -> None:
    body = b"x" * 65_537
    (kept,) = await noted(plane, replace(REFUSAL, body=body, body_bytes=len(body)))
    assert (kept.body, kept.body_bytes, kept.is_cut) == (body[:65_536], 65_537, True)
    (kept, _) = await noted(
        plane,
        replace(REFUSAL, request_id="r-2", headers={"webhook-id": ["y" * 9_000] * 9}),
    )
    assert kept.headers == {"webhook-id": ["y" * 2_048] * 4}


async def test_what_another_release_stored_is_passed_over(plane: CachePlane) -> None:
    key = keys.webhook_refused("acme")
    for foreign in (b"", b"{", b"[]", b"{}", b'{"reason":1,"headers":[]}', b"\xff"):
        await plane.push(key, foreign, most=20, ttl_s=60)
    assert await noted(plane, REFUSAL) == [REFUSAL]


async def test_the_cache_away_costs_the_request_nothing(
    plane: CachePlane, fresh_cache_redis: PrivateRedis
) -> None:
    """The answer to a stranger must neither fail nor wait; the operator's question may."""
    fresh_cache_redis.freeze()
    before = sum(faults(reason) for reason in ("TimeoutError", "paused"))
    began_at = time.monotonic()
    for _ in range(5):
        await note(plane, "acme", REFUSAL)
    assert time.monotonic() - began_at < 0.05

    async def counted() -> bool:
        return sum(faults(reason) for reason in ("TimeoutError", "paused")) >= before + 5

    await eventually_async(counted)
    with pytest.raises(CacheUnavailable):
        await recent(plane, "acme")


async def test_a_flood_is_dropped_and_counted(plane: CachePlane) -> None:
    """Each holds a body in memory until it is stored."""
    before = faults("flooded")
    for number in range(30):
        await note(plane, "acme", replace(REFUSAL, request_id=f"r-{number}"))
    assert faults("flooded") == before + 22

    async def settled() -> bool:
        return len(await recent(plane, "acme")) == 8

    await eventually_async(settled)


async def test_noting_at_once_keeps_the_bounds(plane: CachePlane) -> None:
    await asyncio.gather(
        *(plane.push(keys.webhook_refused("acme"), b"x", most=20, ttl_s=60) for _ in range(100)),
        return_exceptions=True,
    )
    assert len(await plane.pushed(keys.webhook_refused("acme"))) == 20
    assert 0 < await plane.client.ttl(keys.webhook_refused("acme")) <= 60
