"""A process that begins to number changes and never ends: it stands still before its commit."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from coordination.settings import load_settings
from models.feed import numbering
from models.resources import open_resources

_REAL_ASSIGN = numbering.__dict__["_assign"]


class _Nobody:
    def enqueue(self, message: Any) -> None:
        """Lose it."""


async def _assign_and_stand_still(*arguments: Any) -> None:
    await _REAL_ASSIGN(*arguments)
    sys.stdout.write('{"message": "ready"}\n')
    sys.stdout.flush()
    await asyncio.Event().wait()


async def main() -> None:
    numbering.__dict__["_assign"] = _assign_and_stand_still
    resources = await open_resources(load_settings(), _Nobody())
    await numbering.number_changes(resources)


if __name__ == "__main__":
    asyncio.run(main())
