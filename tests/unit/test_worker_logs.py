"""The worker's consumers repeat themselves while Redis is away; its log does not."""

from __future__ import annotations

import logging

from actors.observing import QuietConsumers


def record(logger: str) -> logging.LogRecord:
    return logging.LogRecord(logger, logging.CRITICAL, "", 0, "gone: %s", ("x",), None)


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
