"""How long a process may remember partners, and its notes of which secret matched."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coordination.errors import DatabaseUnavailable, Misconfigured
from coordination.sealing import Sealer
from models.database import Database
from models.partners import directory as directory_module
from models.partners import partners
from models.partners.directory import PartnerDirectory
from models.partners.partners import Partner
from models.resources import Resources
from models.webhooks.schemes import Scheme

KEPT_S = 5.0


@pytest.fixture
def db(db_resources: Resources) -> Database:
    return db_resources.db


@pytest.fixture
def sealer(db: Database) -> Sealer:
    return Sealer(db.settings.sealing_secret)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(db: Database, sealer: Sealer, clock: Clock) -> PartnerDirectory:
    assert db.settings.webhook_partner_cache_s == KEPT_S
    return PartnerDirectory(db, sealer, clock=clock, capacity=3)


@pytest.fixture
def queries(db: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The purposes of the reads that reached the database."""
    asked: list[str] = []
    plain = db.fetch

    async def counted(*args: Any, **named: Any) -> Any:
        asked.append(named["purpose"])
        return await plain(*args, **named)

    monkeypatch.setattr(db, "fetch", counted)
    return asked


async def added(db: Database, sealer: Sealer, name: str = "acme") -> Partner:
    partner, _ = await partners.add(db, sealer, name=name, scheme=Scheme.HMAC, farms=None)
    return partner


async def test_fifty_at_once_ask_once_and_one_leaving_harms_none(
    db: Database, sealer: Sealer, directory: PartnerDirectory, queries: list[str]
) -> None:
    """A burst of webhooks meets an empty memory after every deploy."""
    partner = await added(db, sealer)
    queries.clear()
    first, *others = [asyncio.create_task(directory.find("acme")) for _ in range(50)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [partner] * 49
    assert queries == ["partner"]


async def test_a_disabled_partner_is_seen_within_the_cache_time(
    db: Database, sealer: Sealer, directory: PartnerDirectory, clock: Clock
) -> None:
    """Disabling is what an operator does in need: it must work everywhere within seconds."""
    partner = await added(db, sealer)
    assert await directory.find("acme") == partner
    await partners.set_active(db, "acme", False)
    clock.now_s = KEPT_S - 0.1
    assert await directory.find("acme") == partner
    clock.now_s = KEPT_S
    found = await directory.find("acme")
    assert found is not None
    assert not found.is_active


async def test_a_new_partner_and_a_new_secret_are_seen_within_the_cache_time(
    db: Database, sealer: Sealer, directory: PartnerDirectory, clock: Clock
) -> None:
    assert await directory.find("acme") is None
    await added(db, sealer)
    assert await directory.find("acme") is None
    clock.now_s = KEPT_S
    found = await directory.find("acme")
    assert found is not None
    rotated, _ = await partners.rotate(db, sealer, "acme", overlap_s=60)
    clock.now_s = 2 * KEPT_S
    assert await directory.find("acme") == rotated


async def test_made_up_names_drive_out_no_partner_and_malformed_ones_ask_nothing(
    db: Database, sealer: Sealer, directory: PartnerDirectory, queries: list[str]
) -> None:
    """The name comes from anyone's request path, before any signature."""
    partner = await added(db, sealer)
    await directory.find("acme")
    queries.clear()
    for number in range(20):
        assert await directory.find(f"nobody-{number}") is None
    assert len(queries) == 20
    assert await directory.find("acme") == partner
    for name in ("events", "No Name", "", "x" * 10_000, "\udcff"):
        assert await directory.find(name) is None
    assert len(queries) == 20


async def test_a_remembered_secret_ends_at_its_time(
    db: Database, sealer: Sealer, clock: Clock, queries: list[str]
) -> None:
    """Remembered or not, an old secret verifies nothing past its end."""
    await added(db, sealer)
    rotated, _ = await partners.rotate(db, sealer, "acme", overlap_s=60)
    newest, oldest = rotated.secrets
    ends_at = oldest.expires_at
    assert ends_at is not None
    now = datetime.now(UTC)
    directory = PartnerDirectory(db, sealer, clock=clock, now=lambda: now)
    assert await directory.find("acme") == rotated
    queries.clear()
    now = ends_at - timedelta(microseconds=1)
    assert await directory.find("acme") == rotated
    now = ends_at
    found = await directory.find("acme")
    assert found is not None
    assert found.secrets == (newest,)
    assert queries == []


async def test_without_the_database_only_what_is_at_hand_is_vouched_for(
    db: Database,
    sealer: Sealer,
    directory: PartnerDirectory,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It fails closed: a partner nobody can look up now may have been disabled a moment ago."""
    partner = await added(db, sealer)
    await directory.find("acme")

    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(db, "fetch", away)
        assert await directory.find("acme") == partner
        with pytest.raises(DatabaseUnavailable):
            await directory.find("other")
        clock.now_s = KEPT_S
        with pytest.raises(DatabaseUnavailable):
            await directory.find("acme")
    assert await directory.find("acme") == partner


async def test_a_wrong_sealing_secret_vouches_for_nobody(db: Database, sealer: Sealer) -> None:
    await added(db, sealer)
    with pytest.raises(Misconfigured):
        await PartnerDirectory(db, Sealer(["w" * 32])).find("acme")


async def test_matches_are_written_once_a_minute_for_each_secret(
    db: Database,
    sealer: Sealer,
    directory: PartnerDirectory,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands of webhooks a second must not become as many writes to one row."""
    first = (await added(db, sealer)).secrets[0].id
    second = (await added(db, sealer, "other")).secrets[0].id
    noted: list[int] = []
    plain = partners.note_match

    async def counted(db: Database, secret_id: int) -> None:
        noted.append(secret_id)
        await plain(db, secret_id)

    monkeypatch.setattr(partners, "note_match", counted)
    for _ in range(100):
        directory.matched(first)
        directory.matched(second)
    clock.now_s = 59.9
    directory.matched(first)
    clock.now_s = 60.0
    directory.matched(first)
    await directory.close()
    assert sorted(noted) == [first, first, second]
    for partner in await partners.list_partners(db, sealer):
        assert partner.secrets[0].last_matched_at is not None
    await directory.close()
    clock.now_s = 200.0
    directory.matched(first)
    await directory.close()
    assert len(noted) == 3


@pytest.mark.parametrize("fault", [DatabaseUnavailable("away"), ValueError("a defect")])
async def test_a_note_that_fails_harms_nobody_and_is_logged(
    directory: PartnerDirectory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
) -> None:
    async def failing(*_: object) -> None:
        raise fault

    monkeypatch.setattr(partners, "note_match", failing)
    directory.matched(1)
    await directory.close()
    assert [record.levelno for record in caplog.records] == [
        logging.WARNING if isinstance(fault, DatabaseUnavailable) else logging.ERROR
    ]


async def test_closing_gives_up_notes_that_hang(
    directory: PartnerDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A database that hangs must not keep a process from stopping."""
    ended: list[str] = []

    async def hanging(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    monkeypatch.setattr(partners, "note_match", hanging)
    monkeypatch.setattr(directory_module, "_CLOSE_WITHIN_S", 0.05)
    directory.matched(1)
    directory.matched(2)
    async with asyncio.timeout(5):
        await directory.close()
        await directory.close()
    assert ended == ["cancelled"] * 2
    assert "given up" in caplog.text
