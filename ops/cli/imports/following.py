"""Looking at an import until it is over."""

from __future__ import annotations

import time
from typing import Final

from coordination.errors import Unavailable
from ops.cli.imports.job import Job
from ops.cli.imports.progress import following
from ops.cli.imports.server import ImportServer, TryLater

__all__ = ["follow"]

_INTERVAL_S: Final = 0.5
_PATIENCE_S: Final = 60.0


def follow(
    server: ImportServer,
    job: Job,
    *,
    shown: bool,
    interval_s: float = _INTERVAL_S,
    patience_s: float = _PATIENCE_S,
) -> Job:
    """The job when it is over. An API that is away for a moment is waited for.

    Raises ``Unavailable`` when it stays away, and ``Refused`` when it no longer answers this key or
    knows this import.
    """
    heard_at = time.monotonic()
    with following(shown=shown) as show:
        show(job)
        while not job.is_over:
            time.sleep(interval_s)
            try:
                job = server.job(job.id)
            except Unavailable as error:
                if time.monotonic() - heard_at > patience_s:
                    text = f"{error} The import {job.id} goes on without this command."
                    raise Unavailable(text) from error.__cause__
                time.sleep(error.wait_s if isinstance(error, TryLater) else 0.0)
                continue
            heard_at = time.monotonic()
            show(job)
    return job
