"""API keys in the database, and how long a process may remember them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coordination.errors import Conflict, InvalidInput
from models import api_keys
from models.api_key_cache import VerifiedKeys
from models.database import Database
from models.resources import Resources


@pytest.fixture
def db(db_resources: Resources) -> Database:
    return db_resources.db


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the database by `api_keys.find`."""
    asked: list[str] = []
    plain = api_keys.find

    async def counted(db: Database, presented: str) -> Any:
        asked.append(presented)
        return await plain(db, presented)

    monkeypatch.setattr(api_keys, "find", counted)
    return asked


async def test_a_key_is_found_until_it_is_revoked_and_is_nowhere_kept(db: Database) -> None:
    key, info = await api_keys.create(db, "shop", ["catalog:write", "ops:read", "ops:read"])
    assert key.startswith("fl_")
    assert len(key) >= 35
    assert info.prefix == key[:10]
    assert info.scopes == {"catalog:write", "ops:read"}
    assert await api_keys.find(db, key) == info
    assert await api_keys.list_keys(db) == [info]
    (row,) = await db.fetch("SELECT * FROM api_keys", purpose="test")
    assert key not in {str(value) for value in row.values()}
    assert bytes(row["digest"]) == api_keys.digest_of(key)

    assert await api_keys.revoke(db, info.prefix)
    assert await api_keys.find(db, key) is None
    assert not await api_keys.revoke(db, info.id)
    (listed,) = await api_keys.list_keys(db)
    assert listed.revoked_at is not None
    assert listed.revoked_at >= listed.created_at


async def test_a_shared_prefix_revokes_nothing(db: Database) -> None:
    for _ in range(2):
        await api_keys.create(db, "twin", ["ops:read"])
    await db.execute("UPDATE api_keys SET prefix = 'fl_AAAAAAA'", purpose="test")
    with pytest.raises(Conflict):
        await api_keys.revoke(db, "fl_AAAAAAA")
    assert [k.revoked_at for k in await api_keys.list_keys(db)] == [None, None]
    (first, second) = await api_keys.list_keys(db)
    assert await api_keys.revoke(db, str(second.id))
    assert await api_keys.revoke(db, first.prefix)


@pytest.mark.parametrize(
    ("name", "scopes", "pointers"),
    [
        ("a", [], ["/scopes"]),
        ("a", ["catalog:read", "all"], ["/scopes", "/scopes"]),
        ("", ["ops:read"], ["/name"]),
        ("a\nb", [], ["/scopes", "/name"]),
        ("x" * 101, ["ops:read"], ["/name"]),
    ],
)
async def test_bad_input_is_named(
    db: Database, name: str, scopes: list[str], pointers: list[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await api_keys.create(db, name, scopes)
    assert [error.name for error in caught.value.errors] == pointers


@pytest.mark.parametrize("presented", ["", "fl_", "fl_" + "a" * 31, "fl_" + "é" * 40, "x" * 9999])
async def test_a_malformed_key_costs_no_query(db: Database, presented: str) -> None:
    await db.close()
    assert await api_keys.find(db, presented) is None
    verified = VerifiedKeys(db)
    assert await verified.find(presented) is None
    known = verified.peek(presented)
    assert known is not None
    assert known.info is None


async def test_answers_are_remembered_for_their_time_and_no_longer(
    db: Database, queries: list[str]
) -> None:
    clock = Clock()
    verified = VerifiedKeys(db, clock=clock)
    key, info = await api_keys.create(db, "shop", ["ops:read"])
    unknown = "fl_" + "u" * 40
    assert verified.peek(key) is None
    for _ in range(3):
        assert await verified.find(key) == info
        assert await verified.find(unknown) is None
    assert queries == [key, unknown]
    known = verified.peek(key)
    assert known is not None
    assert known.info == info

    await api_keys.revoke(db, info.id)
    clock.now_s = 5.0
    assert verified.peek(unknown) is None
    clock.now_s = 29.9
    assert await verified.find(key) == info
    clock.now_s = 30.0
    assert verified.peek(key) is None
    assert await verified.find(key) is None


async def test_equal_keys_at_once_share_a_query_and_one_leaving_harms_none(
    db: Database, queries: list[str]
) -> None:
    verified = VerifiedKeys(db)
    key, info = await api_keys.create(db, "shop", ["ops:read"])
    first, *others = [asyncio.create_task(verified.find(key)) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [info] * 19
    assert queries == [key]


async def test_forged_keys_drive_out_no_valid_one(db: Database, queries: list[str]) -> None:
    verified = VerifiedKeys(db, capacity=3)
    key, info = await api_keys.create(db, "shop", ["ops:read"])
    await verified.find(key)
    forged = [f"fl_{number:040d}" for number in range(8)]
    for presented in forged:
        assert await verified.find(presented) is None
    assert await verified.find(key) == info
    assert queries == [key, *forged]
    assert [k for k in forged if verified.peek(k)] == forged[-3:]
