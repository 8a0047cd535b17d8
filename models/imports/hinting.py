"""Asks workers to look at imports. A hint that is lost costs time: the sweep finds the work."""

from __future__ import annotations

from typing import Final

from coordination.jobs import PROCESS_IMPORTS, ProcessImports
from models.resources import Resources

__all__ = ["hint_workers"]

_MOST: Final = 4


def hint_workers(resources: Resources, chunks: int = 1) -> None:
    """One hint for each chunk to do, within reason: whoever takes one goes on while there are."""
    for _ in range(max(1, min(chunks, _MOST))):
        resources.hints.send(PROCESS_IMPORTS, ProcessImports())
