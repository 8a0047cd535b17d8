"""Waiting for a condition with a deadline: the only way these tests wait. Never a bare sleep."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

__all__ = ["DeadlinePassedError", "eventually", "eventually_async"]

T = TypeVar("T")
Failures = type[Exception] | tuple[type[Exception], ...]


class DeadlinePassedError(AssertionError):
    """The condition did not come true before its deadline."""


def eventually(
    predicate: Callable[[], T | None],
    *,
    deadline_s: float = 10.0,
    interval_s: float = 0.02,
    retry_on: Failures = (),
    describe: Callable[[], str] = str,
) -> T:
    """Return the first truthy value of `predicate`; raise DeadlinePassedError when none came.

    Exceptions named by `retry_on` count as "not yet"; any other escapes at once. The predicate runs
    at least once and bounds its own calls: here a blocked one cannot be interrupted. `describe`
    adds what a reader of the failure needs, a log's tail for example.
    """
    ends_at = time.monotonic() + deadline_s
    while True:
        value: T | None = None
        failure: Exception | None = None
        try:
            value = predicate()
        except retry_on as error:
            failure = error
        if value:
            return value
        if time.monotonic() >= ends_at:
            raise DeadlinePassedError(_story(deadline_s, value, failure, describe())) from failure
        time.sleep(interval_s)


@overload
async def eventually_async(
    predicate: Callable[[], Awaitable[T | None]],
    *,
    deadline_s: float = ...,
    interval_s: float = ...,
    retry_on: Failures = ...,
    describe: Callable[[], str] = ...,
) -> T: ...
@overload
async def eventually_async(
    predicate: Callable[[], T | None],
    *,
    deadline_s: float = ...,
    interval_s: float = ...,
    retry_on: Failures = ...,
    describe: Callable[[], str] = ...,
) -> T: ...
async def eventually_async(
    predicate: Callable[[], Awaitable[T | None]] | Callable[[], T | None],
    *,
    deadline_s: float = 10.0,
    interval_s: float = 0.02,
    retry_on: Failures = (),
    describe: Callable[[], str] = str,
) -> T:
    """As `eventually`, for plain and coroutine functions; the deadline also ends a hung attempt."""
    last: tuple[T | None, Exception | None] = (None, None)
    try:
        async with asyncio.timeout(deadline_s) as deadline:
            while True:
                try:
                    outcome = predicate()
                    value = await outcome if inspect.isawaitable(outcome) else outcome
                except retry_on as error:
                    last = (None, error)
                else:
                    if value:
                        return value
                    last = (value, None)
                await asyncio.sleep(interval_s)
    except TimeoutError as error:
        # A TimeoutError of the predicate's own is a failure of the test, not our deadline.
        if not deadline.expired():
            raise
        raise DeadlinePassedError(_story(deadline_s, *last, describe())) from (last[1] or error)


def _story(deadline_s: float, value: object, failure: Exception | None, details: str) -> str:
    saw = f"raised {failure!r}" if failure else f"was {value!r}"
    return f"not true within {deadline_s} s; the last attempt {saw}\n{details}".rstrip()
