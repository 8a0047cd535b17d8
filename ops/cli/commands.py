"""All commands put together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from ops.cli.breakers import breakers_app
from ops.cli.deploy import deploy_app
from ops.cli.doctor import doctor_command
from ops.cli.imports.app import imports_app
from ops.cli.imports.import_file import EPILOG, import_command
from ops.cli.keys import keys_app
from ops.cli.migrate import migrate_command
from ops.cli.partners import partners_app
from ops.cli.run import run_command
from ops.cli.scheduler import scheduler_app
from ops.cli.seed import seed_command
from ops.cli.up import up_command
from ops.cli.webhooks.app import webhooks_app

__all__ = ["app"]

app = typer.Typer(
    name="farmlokal",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Operate a FarmLokal backend. Settings come from the environment or .env.",
    epilog="Ends with 0 when done, 1 when it or a check failed, 2 for wrong usage or settings,"
    " 3 when the database, Redis or the API is away.",
)
app.command("up")(up_command)
app.command("run")(run_command)
app.command("migrate")(migrate_command)
app.command("seed")(seed_command)
app.add_typer(keys_app, name="keys")
app.add_typer(breakers_app, name="breakers")
app.add_typer(partners_app, name="partners")
app.add_typer(webhooks_app, name="webhooks")
app.command("import", epilog=EPILOG)(import_command)
app.add_typer(imports_app, name="imports")
app.add_typer(scheduler_app, name="scheduler")
app.add_typer(deploy_app, name="deploy")
app.command("doctor")(doctor_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(version("farmlokal"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """What every command shares."""
