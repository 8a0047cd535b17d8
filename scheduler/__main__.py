"""``python -m scheduler``: ticks that hint upkeep. Run several; one leads, the others stand by.

SIGTERM and SIGINT end it within two seconds: the lease is given back, pending hints are sent.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from coordination import metrics_directory
from coordination.errors import Misconfigured
from coordination.logs import configure_logging
from coordination.settings import Settings, load_settings


def main() -> int:
    """Run until told to stop; returns the exit code."""
    try:
        settings = load_settings()
    except Misconfigured as error:
        sys.stderr.write(f"{error}\n")
        return 2
    metrics_directory.prepare(settings)
    configure_logging("scheduler", settings.log_level)
    asyncio.run(_run(settings))
    return 0


async def _run(settings: Settings) -> None:
    # Not before ``prepare``: it imports the metrics.
    from scheduler.service import serve

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


if __name__ == "__main__":
    sys.exit(main())
