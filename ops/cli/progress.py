"""A progress bar on a terminal, a line now and then elsewhere, silence for programs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ops.seed import store

__all__ = ["loading"]

_LINE_EVERY_S: Final = 5.0


class _RowsPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")


@contextmanager
def loading(total: int, *, silent: bool) -> Iterator[tuple[store.Progress, store.Phase]]:
    """What to call while ``total`` products are loaded; shown on stderr."""
    if silent:
        yield (lambda rows: None), (lambda text: None)
    elif sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task("Products", total=total)
            yield (
                lambda rows: bar.advance(task, rows),
                lambda text: bar.update(task, description=text),
            )
    else:
        lines = _Lines(total)
        yield lines.advance, lines.say


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RowsPerSecond(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


class _Lines:
    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._started = self._said = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, rows: int) -> None:
        with self._lock:
            self._done += rows
            now = time.monotonic()
            if now - self._said < _LINE_EVERY_S:
                return
            self._said = now
            rate = self._done / (now - self._started)
            left_s = (self._total - self._done) / rate
            done = f"{self._done:,} of {self._total:,} products"
        self.say(f"{done}, {rate:,.0f} rows/s, {left_s:.0f} s left")

    def say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
