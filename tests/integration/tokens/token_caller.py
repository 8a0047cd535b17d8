"""A process with many callers that want a token at once: one side of a race test.

Writes which fences they got, and which errors, as JSON. It waits for the file GO first.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from coordination.errors import FarmLokalError
from coordination.logs import configure_logging
from coordination.settings import load_settings
from coordination.tokens.store import open_token_store
from tests.token_stores import PROVIDER


async def main() -> None:
    settings = load_settings()
    store = open_token_store(settings)
    sys.stdout.write('{"message": "ready"}\n')
    sys.stdout.flush()
    while not os.path.exists(os.environ["GO"]):  # noqa: ASYNC110, ASYNC240 - nothing else runs
        await asyncio.sleep(0.005)
    try:
        answers = await asyncio.gather(
            *(store.token(PROVIDER) for _ in range(int(os.environ["CALLERS"]))),
            return_exceptions=True,
        )
    finally:
        await store.close()
    fences = [answer.fence for answer in answers if not isinstance(answer, BaseException)]
    errors = [str(answer) for answer in answers if isinstance(answer, FarmLokalError)]
    sys.stdout.write(json.dumps({"message": "done", "fences": fences, "errors": errors}) + "\n")


if __name__ == "__main__":
    configure_logging("caller", "debug")
    asyncio.run(main())
