"""`farmlokal run`."""

from __future__ import annotations

from typing import Annotated

import typer

from coordination.settings import load_settings
from ops.cli.outcome import ending
from ops.processes import Counts
from ops.run import run_processes

__all__ = ["run_command"]

_HowMany = Annotated[int, typer.Option(min=0, max=64, help="How many; 0: none on this host.")]


def run_command(
    context: typer.Context,
    web: Annotated[int, typer.Option(min=0, max=64, help="On PORT, PORT + 1 and so on.")] = 1,
    worker: _HowMany = 1,
    scheduler: _HowMany = 1,
) -> None:
    """Keep this host's processes running on real servers: what dies or stands still is restarted.

    Like a Procfile runner, for the database and Redis that the settings name. Migrates nothing and
    makes no key. Log lines go to stdout; SIGTERM stops everything in order.
    """
    with ending(as_json=False):
        run_processes(load_settings(), Counts(web, worker, scheduler), context.obj)
