"""Bars on stderr for an upload and for what the API makes of it; nothing off a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from models.imports.stages import Stage
from ops.cli.imports.job import Job

__all__ = ["following", "is_shown", "uploading"]

_WIDTH: Final = 10
_TITLES: Final[dict[str, str]] = {
    Stage.RECEIVING: "Taking in",
    Stage.VALIDATING: "Checking",
    Stage.APPLYING: "Applying",
    Stage.CANCELLING: "Cancelling",
}


def is_shown(*, as_json: bool) -> bool:
    """Whether someone looks on."""
    return sys.stderr.isatty() and not as_json


@contextmanager
def uploading(total: int | None, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yields what to call with each number of bytes read, of ``total`` if that is known."""
    if not shown:
        yield lambda count: None
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        task = bars.add_task("Uploading".ljust(_WIDTH), total=total)
        yield lambda count: bars.advance(task, count)


@contextmanager
def following(*, shown: bool) -> Iterator[Callable[[Job], None]]:
    """Yields what to call with the job, as often as it is looked at; one bar a stage."""
    if not shown:
        yield lambda job: None
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def show(job: Job) -> None:
            if job.is_over:
                return
            if job.state not in tasks:
                title = _TITLES.get(job.state, job.state).ljust(_WIDTH)
                tasks[job.state] = bars.add_task(title, total=None, told="")
            done, total = _done(job)
            bars.update(tasks[job.state], completed=done, total=total or None, told=told(job))

        yield show


def told(job: Job) -> str:
    """``12,000 of 50,000 rows, 3,200 rows/s, 12 s left``, as far as it is known."""
    done, total = _done(job)
    parts = [f"{done:,} of {total:,} rows"]
    if job.rate_per_s:
        parts.append(f"{job.rate_per_s:,.0f} rows/s")
        parts.append(f"{max(total - done, 0) / job.rate_per_s:,.0f} s left")
    return ", ".join(parts)


def _done(job: Job) -> tuple[int, int]:
    rows = job.rows
    if job.state == Stage.VALIDATING:
        return rows.checked, rows.total
    return rows.applied, rows.total - rows.invalid
