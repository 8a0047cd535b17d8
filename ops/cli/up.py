"""`farmlokal up`."""

from __future__ import annotations

from typing import Annotated

import typer

from coordination.settings import load_settings
from ops.announcing import EventAnnouncer, LineAnnouncer
from ops.cli.outcome import AsJson, ending
from ops.cli.progress import loading
from ops.cli.seed import DEFAULT_PRODUCTS
from ops.seed.seeding import DEFAULT_SEED
from ops.up import UpOptions, run_stack

__all__ = ["up_command"]


def up_command(
    products: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="SEED_PRODUCTS",
            help="How many products an empty catalogue is filled with; 0: none.",
        ),
    ] = DEFAULT_PRODUCTS,
    seed: Annotated[int, typer.Option(help="Another seed, another catalogue.")] = DEFAULT_SEED,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every log line, not only warnings.")
    ] = False,
    sandbox: Annotated[
        bool | None,
        typer.Option(
            "--sandbox/--no-sandbox",
            envvar="SANDBOX",
            help="Bring a partner that sends webhooks about the oldest products."
            " [default: with the embedded database]",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine until Ctrl-C: API, worker, scheduler, Redis, SQLite, sandbox.

    DATABASE_URL and REDIS_URL name real servers instead; PORT and FARMLOKAL_HOME choose where.
    """
    with ending(as_json=as_json):
        run_stack(
            load_settings(),
            UpOptions(products, seed, verbose, sandbox),
            EventAnnouncer() if as_json else LineAnnouncer(),
            lambda total: loading(total, silent=as_json),
        )
