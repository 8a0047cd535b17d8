"""A primary that took over is noticed once, and not forgotten by who is interrupted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coordination.redis_sentinel import SentinelClient, Sentinels
from coordination.redis_urls import Address

OLD, NEW = ("192.0.2.1", 6379), ("192.0.2.2", 6379)


class Told(Sentinels):
    """Sentinels that say what the test says."""

    primary: Address = OLD

    async def discover_master(self, service_name: str) -> Address:
        return self.primary


async def test_it_counts_although_the_one_who_met_it_had_to_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """His deadline may end while he drops his connections to the old one."""
    sentinels = Told([])
    client = SentinelClient(sentinels, "shop")
    pool: Any = client.connection_pool
    assert await pool.get_master_address() == OLD
    dropping = asyncio.Event()
    dropped = False

    async def stuck(inuse_connections: bool = True) -> None:
        dropping.set()
        await asyncio.Event().wait()

    async def prompt(inuse_connections: bool = True) -> None:
        nonlocal dropped
        dropped = dropped or inuse_connections

    sentinels.primary = NEW
    monkeypatch.setattr(pool, "disconnect", stuck)
    leaving = asyncio.create_task(pool.get_master_address())
    await dropping.wait()
    assert client.replaced == 1  # before anything can be sent there
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    monkeypatch.setattr(pool, "disconnect", prompt)
    assert await pool.get_master_address() == NEW
    assert dropped
    assert client.replaced == 1
    monkeypatch.undo()
    await client.aclose()
