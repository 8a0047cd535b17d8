"""``python -m api``: one web process."""

from __future__ import annotations

import asyncio
import sys

from coordination.errors import Misconfigured
from coordination.logs import configure_logging
from coordination.metrics_directory import prepare
from coordination.settings import load_settings


def main() -> int:
    """Returns the exit code: 0 after a clean stop, 2 when settings are wrong."""
    try:
        settings = load_settings()
    except Misconfigured as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging needs settings
        return 2
    configure_logging("web", settings.log_level)
    prepare(settings)
    # Only now: importing the server imports the metrics, which need the directory.
    import uvloop

    from api.server import run

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
