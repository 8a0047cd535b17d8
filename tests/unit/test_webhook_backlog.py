"""What one process means to claim next: every id once, none lost, few lanes."""

from __future__ import annotations

import asyncio

from models.webhooks import backlog
from models.webhooks.backlog import Backlog


def test_each_id_waits_once_and_is_taken_in_the_order_told() -> None:
    """What is in hand is not taken a second time; afterwards it may be told again."""
    waiting = Backlog()
    assert waiting.add([5, 3, 5]) == 2
    assert waiting.add([3, 9]) == 1
    with waiting.taken(2) as ids:
        assert ids == [5, 3]
        assert waiting.add([3, 5]) == 0
        assert len(waiting) == 1
    assert waiting.add([3]) == 1
    with waiting.taken(10) as ids:
        assert ids == [9, 3]
    assert not waiting


def test_it_does_not_grow_without_end() -> None:
    """What finds no place is found by the sweep."""
    waiting = Backlog()
    waiting.add(range(backlog._MOST))
    assert waiting.add([-1]) == 0


async def test_lanes_end_only_when_nothing_waits() -> None:
    """Whoever leaves ids because all lanes run may go: a lane takes them before it ends."""
    waiting, taken, came = Backlog(lanes=2), list[int](), 0

    async def job(first: int) -> None:
        nonlocal came
        came += 1
        waiting.add(range(first, first + 7))
        if waiting.is_full:
            return
        with waiting.lane():
            while waiting:
                with waiting.taken(4) as ids:
                    await asyncio.sleep(0)
                    taken.extend(ids)
                await asyncio.sleep(0)

    await asyncio.gather(*(job(100 * number) for number in range(50)))
    assert came == 50
    assert sorted(taken) == [100 * number + n for number in range(50) for n in range(7)]
    assert not waiting.is_full
