"""Several things of imports worked on at once: what one of them comes to, and the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from coordination.errors import DatabaseUnavailable
from models.imports import processing
from models.resources import Resources


class _Places:
    """Always two."""

    async def places(self) -> int:
        return 2


_RESOURCES = cast(Resources, SimpleNamespace(import_room=_Places()))


def _later() -> float:
    return asyncio.get_running_loop().time() + 60


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Have each look come to the next of these; returns what became of them."""

    def given(*outcomes: bool | Exception | asyncio.Event) -> list[str]:
        rest, ends = list(outcomes), list[str]()

        async def one(_: Resources) -> bool:
            outcome = rest.pop(0) if rest else False
            try:
                await (outcome.wait() if isinstance(outcome, asyncio.Event) else asyncio.sleep(0))
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise
            if isinstance(outcome, Exception):
                ends.append("failed")
                raise outcome
            ends.append("done" if outcome else "nothing")
            return bool(outcome)

        monkeypatch.setattr(processing, "_one", one)
        return ends

    return given


async def test_all_that_is_due_is_dealt_with(works: Callable[..., list[str]]) -> None:
    ends = works(True, True, True)
    assert await processing._work_until(_RESOURCES, _later()) == (3, True)
    assert ends.count("done") == 3


async def test_one_that_fails_lets_the_other_finish(works: Callable[..., list[str]]) -> None:
    slow = asyncio.Event()
    ends = works(slow, DatabaseUnavailable("away"), True)
    working = asyncio.create_task(processing._work_until(_RESOURCES, _later()))
    while not ends:  # noqa: ASYNC110 - the loop's turns, and no time
        await asyncio.sleep(0)
    slow.set()
    with pytest.raises(DatabaseUnavailable):
        await working
    assert ends == ["failed", "done"], "nothing new was begun, and nothing was thrown away"


async def test_who_is_cancelled_takes_all_of_them_along(works: Callable[..., list[str]]) -> None:
    ends = works(asyncio.Event(), asyncio.Event())
    working = asyncio.create_task(processing._work_until(_RESOURCES, _later()))
    for _ in range(10):
        await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert ends == ["cancelled", "cancelled"]


async def test_a_time_that_is_up_between_two_looks_at_the_clock_begins_nothing(
    works: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = works(True)
    loop, looks = asyncio.get_running_loop(), iter([0.0])
    monkeypatch.setattr(loop, "time", lambda: next(looks, 100.0), raising=False)
    result = await processing._work_until(_RESOURCES, 50.0)
    monkeypatch.undo()
    assert result == (0, False)
    assert not ends
