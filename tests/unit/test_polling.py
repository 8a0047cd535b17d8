"""`eventually`: its value, its deadline, and the errors it lets through."""

from __future__ import annotations

import asyncio

import pytest

from tests.polling import DeadlinePassedError, eventually, eventually_async


def test_the_first_truthy_value_is_returned() -> None:
    values = iter([None, 0, 7, 8])
    assert eventually(lambda: next(values), interval_s=0) == 7


def test_a_passed_deadline_tells_the_last_value_and_the_details() -> None:
    with pytest.raises(DeadlinePassedError, match=r"was 0\nthe log"):
        eventually(lambda: 0, deadline_s=0, describe=lambda: "the log")


def test_named_errors_mean_not_yet_and_others_escape() -> None:
    outcomes = iter([ConnectionError("down"), None])

    def connects() -> bool:
        outcome = next(outcomes)
        if outcome:
            raise outcome
        return True

    assert eventually(connects, interval_s=0, retry_on=ConnectionError)
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0, retry_on=ConnectionError)


def test_a_passed_deadline_keeps_the_last_error_as_its_cause() -> None:
    with pytest.raises(DeadlinePassedError) as caught:
        eventually(lambda: 1 / 0, deadline_s=0, retry_on=ZeroDivisionError)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_the_async_form_takes_plain_and_coroutine_functions() -> None:
    values = iter([None, "plain"])
    assert await eventually_async(lambda: next(values), interval_s=0) == "plain"

    async def answer() -> str:
        return "coroutine"

    assert await eventually_async(answer) == "coroutine"


async def test_the_async_form_ends_a_hung_attempt() -> None:
    with pytest.raises(DeadlinePassedError):
        await eventually_async(lambda: asyncio.sleep(60, True), deadline_s=0.01)


async def test_a_timeout_of_the_predicates_own_is_not_taken_for_the_deadline() -> None:
    async def times_out() -> bool:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await eventually_async(times_out)
