"""The memory under keys and partners: whose time counts from before the question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from models.remembered import Remembered


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def made(clock: Clock, capacity: int = 10) -> Remembered[str, str]:
    return Remembered(
        is_negative=lambda answer: answer == "no",
        positive_s=10.0,
        negative_s=2.0,
        capacity=capacity,
        clock=clock,
    )


def giving(answer: str) -> Callable[[], Coroutine[None, None, str]]:
    async def ask() -> str:
        return answer

    return ask


async def test_an_answers_time_counts_from_before_the_question() -> None:
    """A slow answer may have been overtaken: it is as old as its question."""
    clock = Clock()
    memory = made(clock)

    async def slowly() -> str:
        clock.now_s = 9.0
        return "yes"

    assert await memory.find("a", slowly) == "yes"
    clock.now_s = 9.9
    assert memory.peek("a") == "yes"
    clock.now_s = 10.0
    assert memory.peek("a") is None


async def test_negative_answers_have_their_own_time_and_room() -> None:
    clock = Clock()
    memory = made(clock, capacity=2)
    await memory.find("good", giving("yes"))
    for name in "abcd":
        await memory.find(name, giving("no"))
    assert memory.peek("good") == "yes"
    assert [memory.peek(name) for name in "abcd"] == [None, None, "no", "no"]
    clock.now_s = 2.0
    assert memory.peek("d") is None
    assert memory.peek("good") == "yes"


async def test_a_failure_reaches_all_who_wait_and_is_not_remembered() -> None:
    memory = made(Clock())
    asked = 0

    async def failing() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise ConnectionError

    found = await asyncio.gather(
        *(memory.find("a", failing) for _ in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in found] == [ConnectionError] * 5
    assert asked == 1
    assert await memory.find("a", giving("yes")) == "yes"


async def test_the_answer_is_kept_when_everyone_who_asked_has_left() -> None:
    memory = made(Clock())
    may_answer = asyncio.Event()

    async def ask() -> str:
        await may_answer.wait()
        return "yes"

    waiting = asyncio.create_task(memory.find("a", ask))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    second = asyncio.create_task(memory.find("a", giving("another")))
    await asyncio.sleep(0)
    may_answer.set()
    assert await second == "yes"
    assert memory.peek("a") == "yes"
