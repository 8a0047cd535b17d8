"""The ``farmlokal`` command's way in."""

from __future__ import annotations

import os

from coordination.metrics_directory import ENVIRONMENT_VARIABLE

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    # A short-lived command is no part of the running system's figures; with the variable set, the
    # metrics library would write its files there at import.
    metrics_directory = os.environ.pop(ENVIRONMENT_VARIABLE, None)
    from ops.cli.commands import app

    # For the processes of `run`, which are part of it.
    app(obj=metrics_directory)


if __name__ == "__main__":
    main()
