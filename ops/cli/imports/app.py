"""All commands of `farmlokal imports` put together."""

from __future__ import annotations

import typer

from ops.cli.imports.operating import cancel_command, list_command, show_command

__all__ = ["imports_app"]

imports_app = typer.Typer(no_args_is_help=True, help="See and cancel imports, on the database.")
imports_app.command("list")(list_command)
imports_app.command("show")(show_command)
imports_app.command("cancel")(cancel_command)
