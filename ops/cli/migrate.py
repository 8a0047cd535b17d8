"""`farmlokal migrate`."""

from __future__ import annotations

import asyncio

from coordination.settings import load_settings
from models.migrate import migrate
from ops.cli.outcome import AsJson, ending, print_result
from ops.home import create_database_directory

__all__ = ["migrate_command"]


def migrate_command(as_json: AsJson = False) -> None:
    """Bring the schema up to date. Safe to run from two places at once."""
    with ending(as_json=as_json):
        settings = load_settings()
        create_database_directory(settings)
        applied = asyncio.run(migrate(settings))
        if as_json:
            print_result({"ok": True, "applied": applied})
        else:
            print(f"Applied {', '.join(applied)}." if applied else "Nothing to do.")
