"""All commands of `farmlokal webhooks` put together."""

from __future__ import annotations

import typer

from ops.cli.webhooks.events import (
    discard_command,
    list_command,
    replay_command,
    show_command,
)
from ops.cli.webhooks.signing import explain_command, refused_command, send_command

__all__ = ["webhooks_app"]

webhooks_app = typer.Typer(no_args_is_help=True, help="See and act on partners' webhooks.")
webhooks_app.command("list")(list_command)
webhooks_app.command("show")(show_command)
webhooks_app.command("replay")(replay_command)
webhooks_app.command("discard")(discard_command)
webhooks_app.command("send")(send_command)
webhooks_app.command("refused")(refused_command)
webhooks_app.command("explain")(explain_command)
