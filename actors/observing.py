"""What a job leaves behind: its request id on every line, one line at its end, metrics."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import dramatiq
from dramatiq.middleware import Middleware
from redis.exceptions import RedisError

from coordination.errors import FarmLokalError
from coordination.jobs import SWEEP
from coordination.logs import request_id_bound
from coordination.metrics import JOB_DURATION, JOBS

__all__ = ["ObservingMiddleware", "QuietConsumers"]

_log = logging.getLogger(__name__)
# Every few seconds for ever; what it finds, it logs itself.
_ROUTINE = frozenset({SWEEP.name})
# How Dramatiq's consumers begin their lines about a broker that is away.
_AWAY = ("Consumer encountered a connection error", "Failed to post_process_message")


@dataclass(frozen=True, slots=True)
class _Running:
    started: float
    waited_ms: int
    request_id: AbstractContextManager[None]


class ObservingMiddleware(Middleware):
    """List it last, so that its clock holds the actor alone.

    A job runs on one worker thread; the coroutine it starts inherits that thread's context.
    """

    def __init__(self) -> None:
        self._running = threading.local()

    def before_process_message(
        self, broker: dramatiq.Broker, message: dramatiq.MessageProxy
    ) -> None:
        """Bind the request id and start the clock."""
        request_id = message.options.get("request_id")
        bound = request_id_bound(request_id if isinstance(request_id, str) else None)
        bound.__enter__()
        waited_ms = max(0, int(time.time() * 1000) - message.message_timestamp)
        self._running.job = _Running(time.perf_counter(), waited_ms, bound)

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        """Count and log how the job ended."""
        running: _Running | None = self._running.__dict__.pop("job", None)
        if running is None:
            return
        duration_s = time.perf_counter() - running.started
        job = message.actor_name
        outcome = _outcome(exception)
        JOBS.labels(job, outcome).inc()
        JOB_DURATION.labels(job).observe(duration_s)
        extra: dict[str, Any] = {
            "job": job,
            "outcome": outcome,
            "duration_ms": round(duration_s * 1000, 2),
            "waited_ms": running.waited_ms,
        }
        if exception is None:
            _log.log(logging.DEBUG if job in _ROUTINE else logging.INFO, "Job done", extra=extra)
        elif outcome == "failed":
            _log.error("Job failed", extra=extra, exc_info=exception)
        else:
            _log.warning("Job failed", extra={**extra, "reason": str(exception)})
        running.request_id.__exit__(None, None, None)


def _outcome(exception: BaseException | None) -> str:
    if exception is None:
        return "done"
    if isinstance(exception, TimeoutError):
        return "timeout"
    # What we raise on purpose says what is away; a stack would add nothing.
    return "unavailable" if isinstance(exception, FarmLokalError) else "failed"


class QuietConsumers(logging.Filter):
    """Lets one line through per fault of the queue's Redis, not one per consumer and attempt.

    What consumers say of anything else (an unknown actor, a defect) always goes through.
    """

    def __init__(self, pause_s: float = 60.0) -> None:
        super().__init__()
        self._pause_s = pause_s
        self._quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is news. Lines of other loggers always are."""
        if not record.name.startswith("dramatiq.worker.ConsumerThread") or not _is_away(record):
            return True
        if time.monotonic() < self._quiet_until:
            return False
        self._quiet_until = time.monotonic() + self._pause_s
        record.msg, record.args, record.exc_info = "The queue's Redis does not answer", (), None
        return True


def _is_away(record: logging.LogRecord) -> bool:
    # Dramatiq takes a timeout of redis-py for an unexpected error.
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, RedisError) or str(record.msg).startswith(_AWAY)
