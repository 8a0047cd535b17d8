"""`farmlokal migrate`."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Annotated

import typer

from coordination.settings import load_settings
from models.migrate import migrate, pending_migrations
from ops.cli.outcome import AsJson, ending, print_result
from ops.deploy.colour import only_release
from ops.deploy.running import own_release
from ops.home import create_database_directory

__all__ = ["migrate_command"]


def migrate_command(
    contract: Annotated[
        bool,
        typer.Option(
            "--contract",
            help="Also take away what only older releases use. None of them may be running.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the schema up to date. Safe to run from two places at once."""
    with ending(as_json=as_json):
        settings = load_settings()
        create_database_directory(settings)
        with only_release(settings, own_release()) if contract else nullcontext():
            applied = asyncio.run(migrate(settings, contract=contract))
        waiting = asyncio.run(pending_migrations(settings, contract=True))
        if as_json:
            print_result({"ok": True, "applied": applied, "waiting": waiting})
            return
        print(f"Applied {', '.join(applied)}." if applied else "Nothing to do.")
        if waiting:
            print(
                f"Waiting until no older release runs: {', '.join(waiting)}"
                " (farmlokal migrate --contract)."
            )
