"""The worker's consumers repeat themselves while Redis is away; its log does not."""

from __future__ import annotations

import logging

import redis

from actors.observing import QuietConsumers

_CONSUMER = "dramatiq.worker.ConsumerThread(a)"


def record(
    logger: str,
    message: str = "Consumer encountered a connection error: x",
    error: Exception | None = None,
) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, None)
    return logging.LogRecord(logger, logging.CRITICAL, "", 0, message, (), exc_info)


def test_one_line_for_all_consumers_and_every_line_of_others() -> None:
    quiet = QuietConsumers()
    consumers = [record(f"dramatiq.worker.ConsumerThread({queue})") for queue in ("a", "b", "a.DQ")]
    assert [quiet.filter(line) for line in consumers] == [True, False, False]
    assert consumers[0].getMessage() == "The queue's Redis does not answer"
    assert quiet.filter(record("dramatiq.MainProcess"))


def test_it_speaks_again_after_the_pause() -> None:
    quiet = QuietConsumers(pause_s=0)
    assert quiet.filter(record("dramatiq.worker.ConsumerThread(a)"))
    assert quiet.filter(record("dramatiq.worker.ConsumerThread(a)"))


def test_a_hung_redis_is_a_redis_that_does_not_answer() -> None:
    quiet = QuietConsumers()
    unexpected = "Consumer encountered an unexpected error."
    hung = [record(_CONSUMER, unexpected, redis.TimeoutError()) for _ in range(2)]
    assert [quiet.filter(line) for line in hung] == [True, False]
    assert hung[0].getMessage() == "The queue's Redis does not answer"


def test_what_consumers_say_of_anything_else_goes_through() -> None:
    quiet = QuietConsumers()
    assert quiet.filter(record(_CONSUMER))
    defect = record(_CONSUMER, "Consumer encountered an unexpected error.", KeyError("x"))
    assert quiet.filter(defect)
    assert defect.exc_info is not None
    assert quiet.filter(record(_CONSUMER, "Received message for undefined actor 'a'."))
