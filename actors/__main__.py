"""``python -m actors``: Dramatiq's master and its worker processes, under our settings.

SIGTERM and SIGINT stop it once running jobs have ended, after ``SHUTDOWN_TIMEOUT_S`` at the latest.
It ends with 1 when one of its processes dies; a supervisor starts it again.
"""

from __future__ import annotations

import sys

from coordination import metrics_directory
from coordination.errors import Misconfigured
from coordination.settings import load_settings


def main() -> int:
    """Run until told to stop; returns the exit code."""
    try:
        settings = load_settings()
    except Misconfigured as error:
        sys.stderr.write(f"{error}\n")
        return 2
    metrics_directory.prepare(settings)

    # Not before: these import the metrics. And here rather than in each process, which share them.
    from dramatiq import cli

    from actors.setup import prepare_logging

    prepare_logging(settings)
    # On SIGHUP Dramatiq starts itself anew by this.
    sys.argv = [sys.executable, "-m", "actors"]
    parser = cli.make_argument_parser()  # type: ignore[no-untyped-call]  # dramatiq's own gap
    arguments = parser.parse_args(
        [
            "actors.setup:setup",
            f"--processes={settings.worker_processes}",
            f"--threads={settings.worker_threads}",
            f"--worker-shutdown-timeout={settings.shutdown_timeout_s * 1000}",
            "--skip-logging",
        ]
    )
    return int(cli.main(arguments))  # type: ignore[no-untyped-call]  # the same


if __name__ == "__main__":
    sys.exit(main())
