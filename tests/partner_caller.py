"""A process that calls the service ``supply`` many times at once when told to: one side of a race.

It says on stdout, a JSON line each, when it is ready and how each call ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from coordination.calls.client import PartnerClient, open_partner_client
from coordination.clients import open_breaker_client
from coordination.errors import FarmLokalError
from coordination.settings import load_settings


def _say(message: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"message": message, **facts}) + "\n")
    sys.stdout.flush()


async def _call(client: PartnerClient) -> None:
    outcome = "ok"
    try:
        await client.request("supply", "GET", "/availability")
    except FarmLokalError as error:
        outcome = type(error).__name__
    _say("called", outcome=outcome)


async def main() -> None:
    settings = load_settings()
    locks = open_breaker_client(settings)
    client = open_partner_client(settings, locks)
    try:
        _say("ready")
        while not os.path.exists(os.environ["GO_FILE"]):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.002)
        await asyncio.gather(*(_call(client) for _ in range(int(os.environ["CALLS"]))))
    finally:
        await client.close()
        await locks.aclose()


if __name__ == "__main__":
    asyncio.run(main())
