"""A process that claims and finishes outbox rows until told to stop: one side of a race test."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from coordination.settings import load_settings
from models import outbox
from models.database import open_database


async def main() -> None:
    settings = load_settings()
    stop = os.environ["STOP_FILE"]
    db = await open_database(settings)
    mine: list[int] = []
    try:
        await outbox.count_due(db, 1)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            told = os.path.exists(stop)  # noqa: ASYNC240 - nothing else runs here
            claimed = await outbox.claim(db)
            mine += [entry.id for entry in claimed.entries]
            if await outbox.complete(db, claimed) != len(claimed.entries):
                sys.exit("a lease was lost though nobody waited so long")
            if told and not claimed.entries and not await outbox.count_due(db, 1):
                break
            # SQLite's write lock is not fair: without a pause the last holder takes it again.
            await asyncio.sleep(0.005)
    finally:
        await db.close()
    sys.stdout.write(json.dumps(mine))


if __name__ == "__main__":
    asyncio.run(main())
