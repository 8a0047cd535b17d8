"""``python -m ops.sandbox``: one partner sandbox."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from coordination.errors import Misconfigured
from coordination.logs import configure_logging
from ops.sandbox.server import run
from ops.sandbox.settings import load_sandbox_settings


def main() -> int:
    """Returns the exit code: 0 after a clean stop, 2 when settings are wrong or the port taken."""
    try:
        settings = load_sandbox_settings()
        configure_logging("sandbox", settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except Misconfigured as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
