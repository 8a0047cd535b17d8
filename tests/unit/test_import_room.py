"""When an import may use both cores: told by counts of looks and a clock of the test's."""

from __future__ import annotations

import pytest

from coordination.errors import CacheUnavailable
from models.imports.room import FEW_LOOKS_PER_S, Room

_MOST = 3


class Fleet:
    """Clock and count of looks; ``None``: nobody knows."""

    def __init__(self) -> None:
        self.now, self.asked = 1_000.0, 0
        self.counted: int | None = 50
        self.is_away = False
        self.room = Room(_MOST, self.count, lambda: self.now)

    async def count(self) -> int | None:
        self.asked += 1
        if self.is_away:
            raise CacheUnavailable("away")
        return self.counted

    async def chunks(self, for_s: float, per_s: float, chunk_s: float = 0.25) -> list[int]:
        """The places at the end of each chunk, while so many looks are counted."""
        places, due = [], 0.0
        for _ in range(round(for_s / chunk_s)):
            self.now += chunk_s
            due += per_s * chunk_s
            if self.counted is not None:
                self.counted += int(due)
                due -= int(due)
            places.append(await self.room.places())
        return places


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


async def test_further_places_come_after_some_seconds_of_quiet(fleet: Fleet) -> None:
    assert await fleet.chunks(5.0, FEW_LOOKS_PER_S) == [1] * 20
    assert await fleet.chunks(5.0, FEW_LOOKS_PER_S) == [_MOST] * 20


async def test_readers_take_them_away_within_a_second(fleet: Fleet) -> None:
    await fleet.chunks(8, 0)
    places = await fleet.chunks(4, 4 * FEW_LOOKS_PER_S)
    assert places[3:] == [1] * 13
    # They were seen last about a second after they left.
    assert (await fleet.chunks(5, 0)) == [1] * 20
    assert (await fleet.chunks(2, 0))[-1] == _MOST


async def test_a_crowd_takes_them_away_at_once(fleet: Fleet) -> None:
    await fleet.chunks(8, 0)
    assert await fleet.chunks(0.25, 100) == [1]


async def test_one_read_is_no_crowd(fleet: Fleet) -> None:
    await fleet.chunks(8, 0)
    fleet.now += 0.1
    fleet.counted = (fleet.counted or 0) + 1
    assert await fleet.room.places() == _MOST


@pytest.mark.parametrize("requests", [0, None])
async def test_who_cannot_know_has_one(fleet: Fleet, requests: int | None) -> None:
    """Figures that were reset, or another server's; and a cluster."""
    await fleet.chunks(8, 0)
    fleet.counted = requests
    assert await fleet.chunks(1, 0) == [1] * 4


async def test_a_cache_that_is_away_leaves_one_and_is_left_alone(fleet: Fleet) -> None:
    await fleet.chunks(8, 0)
    fleet.is_away, asked = True, fleet.asked
    assert await fleet.chunks(9, 0) == [1] * 36
    assert fleet.asked == asked + 1
    fleet.is_away = False
    assert (await fleet.chunks(8, 0))[-1] == _MOST


async def test_after_a_pause_nothing_is_known(fleet: Fleet) -> None:
    await fleet.chunks(8, 0)
    fleet.now += 60
    fleet.counted = (fleet.counted or 0) + 100  # few a second, but all of them may be new
    assert await fleet.room.places() == 1


async def test_with_one_place_nobody_is_asked(fleet: Fleet) -> None:
    room = Room(1, fleet.count, lambda: fleet.now)
    assert await room.places() == 1
    assert fleet.asked == 0
