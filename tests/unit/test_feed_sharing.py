"""Followers who ask for one page: what they cost together, and what they get of a read that fails.

The page itself is read by a stand-in that waits to be let through.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from coordination.errors import DatabaseUnavailable, Unavailable
from models.database import Database
from models.feed import sharing
from models.feed.cursors import Place
from models.feed.following import Page
from models.feed.sharing import SharedPages
from tests.databases import settings_for

_POOL = 6


class Pages:
    """Stands for ``read_page``: each read ends when its door is opened, with what lies there."""

    def __init__(self) -> None:
        self.doors: list[asyncio.Future[Page]] = []

    async def __call__(self, _: Database, place: Place | None, limit: int) -> Page:
        door: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        self.doors.append(door)
        return await door


class NoDatabase:
    """Only its settings are asked for."""

    def __init__(self, home: Path) -> None:
        self.settings = settings_for(
            home, "", database_pool_size=_POOL, database_acquire_timeout_ms=50
        )


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Pages:
    read = Pages()
    monkeypatch.setattr(sharing, "read_page", read)
    return read


@pytest.fixture
def shared(tmp_path: Path) -> SharedPages:
    return SharedPages(cast("Database", NoDatabase(tmp_path)))


async def settled() -> None:
    """Everybody who can go on has gone on."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_one_read_serves_all_who_ask_for_one_page(shared: SharedPages, pages: Pages) -> None:
    asking = [asyncio.create_task(shared.read(Place(7), 100)) for _ in range(50)]
    others = [
        asyncio.create_task(shared.read(place, limit))
        for place, limit in ((Place(7), 5), (Place(8), 100))
    ]
    await settled()
    assert len(pages.doors) == 3
    for door in pages.doors:
        door.set_result(Page((), Place(9), has_more=False))
    answers = await asyncio.gather(*asking)
    assert all(answer is answers[0] for answer in answers)
    assert {answer.page.place for answer in await asyncio.gather(*others)} == {Place(9)}
    # Ended is ended: what it found may be old by now.
    late = asyncio.create_task(shared.read(Place(7), 100))
    await settled()
    assert len(pages.doors) == 4
    late.cancel()


async def test_a_read_that_fails_fails_for_all_who_share_it_and_nobody_else(
    shared: SharedPages, pages: Pages
) -> None:
    asking = [asyncio.create_task(shared.read(None, 100)) for _ in range(3)]
    await settled()
    pages.doors[0].set_exception(DatabaseUnavailable("away"))
    for outcome in await asyncio.gather(*asking, return_exceptions=True):
        assert isinstance(outcome, DatabaseUnavailable)
    again = asyncio.create_task(shared.read(None, 100))
    await settled()
    pages.doors[1].set_result(Page((), Place(1), has_more=False))
    assert (await again).page.place == Place(1)


async def test_a_reader_who_leaves_takes_nobody_along(shared: SharedPages, pages: Pages) -> None:
    leaving, staying = (asyncio.create_task(shared.read(Place(7), 100)) for _ in range(2))
    await settled()
    leaving.cancel()
    await settled()
    assert len(pages.doors) == 2
    pages.doors[1].set_result(Page((), Place(9), has_more=False))
    assert (await staying).page.place == Place(9)


async def test_readers_at_different_places_leave_half_of_the_connections(
    shared: SharedPages, pages: Pages
) -> None:
    asking = [asyncio.create_task(shared.read(Place(number), 100)) for number in range(_POOL)]
    await settled()
    assert len(pages.doors) == _POOL // 2
    # The others are told so, when their time is up: nobody left.
    for late in asking[_POOL // 2 :]:
        with pytest.raises(Unavailable, match="Too many followers"):
            await late
    for door in pages.doors:
        door.set_result(Page((), Place(9), has_more=False))
    await asyncio.gather(*asking[: _POOL // 2])
    free = asyncio.create_task(shared.read(Place(7), 100))
    await settled()
    assert len(pages.doors) == _POOL // 2 + 1
    free.cancel()
