"""How many uploads a process takes in at once: each holds a batch of its file in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from coordination.errors import Unavailable

__all__ = ["Places"]


class Places:
    """One per process. Who finds no place does not wait for one: its file would wait with it."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a place until the end of the block. Raises ``Unavailable`` when there is none."""
        if not self._left:
            raise Unavailable("Too many files are being uploaded here; try again soon.")
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1
