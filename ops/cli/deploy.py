"""`farmlokal deploy status|start|shift|rollback|finish`, and what they rest on: `run`, `config`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

import ops.deploy
from coordination.settings import load_settings
from ops.announcing import EventAnnouncer, LineAnnouncer
from ops.cli.outcome import AsJson, ending, print_result
from ops.cli.tables import print_table
from ops.deploy.colour import Colour, places
from ops.deploy.proxy import Proxy
from ops.deploy.running import run_colour
from ops.deploy.settings import load_deploy_settings
from ops.deploy.shifting import ColourView
from ops.deploy.steps import Deployment

__all__ = ["deploy_app"]

deploy_app = typer.Typer(
    no_args_is_help=True,
    help="Deploy a release beside the one that serves, behind HAProxy: `start` it from the new"
    " release's directory, `shift`, and when all is well `finish`; `rollback` until then.",
)


@deploy_app.command("status")
def status_command(as_json: AsJson = False) -> None:
    """Show both colours: what runs, from which release, and whom the proxy sends requests to."""
    with ending(as_json=as_json):
        views = _deployment(as_json=as_json).views()
        if as_json:
            print_result({"ok": True, "colours": [_facts(view) for view in views.values()]})
            return
        table = Table("colour", "runs", "release", "since", "slots", box=box.SIMPLE)
        for view in views.values():
            status = view.status
            table.add_row(
                view.colour,
                f"process {status.pid}" if status else ("starting" if view.is_running else "no"),
                status.release if status else "",
                f"{(time.time() - status.started_at) / 60:.0f} min" if status else "",
                ", ".join(
                    f"{slot.name} {slot.admission}{'' if slot.is_up else ' (down)'}"
                    f"{f', {slot.sessions} under way' if slot.sessions else ''}"
                    for slot in view.slots
                ),
            )
        print_table(table)


@deploy_app.command("start")
def start_command(
    context: typer.Context,
    colour: Annotated[
        Colour | None,
        typer.Argument(help="Which colour. Default: the one that does not serve."),
    ] = None,
    migrating: Annotated[
        bool, typer.Option("--migrate/--no-migrate", help="Run expanding migrations first.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Start a colour from this very release and wait until all of it is ready. Clients see nothing.

    What does not become ready in DEPLOY_READY_TIMEOUT_S is stopped again.
    """
    with ending(as_json=as_json):
        deployment = _deployment(as_json=as_json, metrics_directory=context.obj)
        deployment.start(colour, migrating=migrating)


@deploy_app.command("shift")
def shift_command(
    colour: Annotated[
        Colour | None, typer.Argument(help="Which colour. Default: the one started last.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send all new requests to a colour that is ready; the other one finishes what it has."""
    with ending(as_json=as_json):
        _deployment(as_json=as_json).shift(colour)


@deploy_app.command("rollback")
def rollback_command(as_json: AsJson = False) -> None:
    """Send all new requests to the colour that was started earlier. The schema stays."""
    with ending(as_json=as_json):
        _deployment(as_json=as_json).rollback()


@deploy_app.command("finish")
def finish_command(as_json: AsJson = False) -> None:
    """Stop the colour that does not serve. After this there is no way back but to deploy."""
    with ending(as_json=as_json):
        _deployment(as_json=as_json).finish()


@deploy_app.command("run")
def run_command(
    context: typer.Context,
    colour: Annotated[Colour, typer.Argument(help="Which colour.")],
    as_json: AsJson = False,
) -> None:
    """Keep a colour's processes running until SIGTERM: what `start` does, for a service manager."""
    with ending(as_json=as_json):
        settings, deploying = load_settings(), load_deploy_settings()
        slots = Proxy(deploying.proxy_socket, deploying.proxy_state).slots()
        run_colour(places(settings)[colour], slots, settings, deploying, context.obj)


@deploy_app.command("config")
def config_command() -> None:
    """Print the configuration for HAProxy."""
    print(Path(ops.deploy.__file__).with_name("haproxy.cfg").read_text(), end="")


def _deployment(*, as_json: bool, metrics_directory: str | None = None) -> Deployment:
    announce = EventAnnouncer() if as_json else LineAnnouncer()
    return Deployment(load_settings(), load_deploy_settings(), announce, metrics_directory)


def _facts(view: ColourView) -> dict[str, object]:
    return {
        "colour": view.colour,
        "serves": view.serves,
        "running": view.is_running,
        "status": view.status,
        "slots": view.slots,
    }
