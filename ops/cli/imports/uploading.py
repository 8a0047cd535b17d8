"""Sending a file so that it is imported once, even when the answer is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final
from uuid import uuid4

from coordination.errors import Unavailable
from ops.cli.imports.job import Job
from ops.cli.imports.server import ImportServer, NotReached, StillRunning, TryLater
from ops.cli.imports.source import Source

__all__ = ["Watch", "upload"]

Watch = Callable[[int | None], AbstractContextManager[Callable[[int], None]]]
"""Shows one reading of a file of so many bytes; hears how many were read."""
_TRIALS: Final = 3
_PAUSE_S: Final = 1.0
# Longer than the API takes to see that a client is gone, or that one of its processes is.
_PATIENCE_S: Final = 90.0


def upload(
    server: ImportServer,
    source: Source,
    query: Mapping[str, str],
    media_type: str,
    watch: Watch,
    *,
    pause_s: float = _PAUSE_S,
) -> Job:
    """Send it and return the accepted job.

    A lost connection or an API that is busy is tried again twice, under the same key: the API
    answers a repeated upload with the first one's job. A pipe cannot be sent again, so it has one
    trial. Raises ``Refused``, ``InvalidInput`` and ``Unavailable``.
    """
    headers = {
        "content-type": media_type,
        "idempotency-key": f'"{uuid4()}"',
        **source.headers,
    }
    failed = 0
    was_sent = False
    patient_until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with watch(source.size) as advance:
                return server.post(query, headers, source.pieces(advance))
        except Unavailable as error:
            if isinstance(error, NotReached) and not was_sent:
                # It never was there. A second look would only make people wait.
                raise
            was_sent = True
            failed += not isinstance(error, StillRunning)
            given_up = failed == _TRIALS or time.monotonic() > patient_until
            if given_up or not source.can_repeat:
                raise _in_doubt(error) from error.__cause__
            asked_s = error.wait_s if isinstance(error, TryLater) else 0.0
            time.sleep(max(asked_s, pause_s * max(failed, 1)))


def _in_doubt(error: Unavailable) -> Unavailable:
    if isinstance(error, TryLater) and not isinstance(error, StillRunning):
        return error
    return Unavailable(
        f"{error} Whether the file was taken is not known: `farmlokal imports list` tells."
    )
