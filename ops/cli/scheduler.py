"""`farmlokal scheduler status`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from coordination.clients import open_operator_client
from coordination.errors import NotFound
from ops.cli.outcome import AsJson, ending, print_result
from ops.operator_settings import load_operator_settings
from scheduler.status import STATUS_TTL_S, SchedulerStatus, read_status

__all__ = ["scheduler_app"]

scheduler_app = typer.Typer(no_args_is_help=True, help="See what the scheduler does, and when.")


@scheduler_app.callback()
def _group() -> None:
    """Keeps `status` a command of its own while it is the only one."""


@scheduler_app.command("status")
def status_command(as_json: AsJson = False) -> None:
    """Show who leads, its jobs with their last and next runs, and partners' tokens."""
    with ending(as_json=as_json):
        status = asyncio.run(_read())
        if status is None:
            raise NotFound(f"No scheduler leads: none has said so for {STATUS_TTL_S} s.")
        if as_json:
            print_result({"ok": True, **asdict(status)})
        else:
            _print(status)


async def _read() -> SchedulerStatus | None:
    client = open_operator_client(load_operator_settings())
    try:
        return await read_status(client)
    finally:
        await client.aclose()


def _print(status: SchedulerStatus) -> None:
    console = Console(highlight=False)
    console.print(f"Leader: process {status.pid} on {status.host}", markup=False)
    jobs = Table("job", "every", "next run", "last run", "outcome", "took", box=box.SIMPLE)
    for job in status.jobs:
        jobs.add_row(
            job.name,
            f"{job.every_s:g} s",
            _from(status.at, job.next_run_at),
            _from(status.at, job.last_run_at),
            job.last_outcome or "",
            "" if job.last_took_ms is None else f"{job.last_took_ms} ms",
        )
    console.print(jobs)
    if not status.tokens:
        return
    tokens = Table("token of", "expires", "refresh", "last asked", "outcome", box=box.SIMPLE)
    for token in status.tokens:
        tokens.add_row(
            token.provider,
            _from(status.at, token.expires_at),
            _from(status.at, token.refresh_at),
            _from(status.at, token.asked_at),
            token.asked_outcome or "",
        )
    console.print(tokens)


def _from(now: datetime, at: datetime | None) -> str:
    """A time as seen from another: `in 12 s`, `3 s ago`."""
    if at is None:
        return ""
    seconds = round((at - now).total_seconds())
    return f"in {seconds} s" if seconds >= 0 else f"{-seconds} s ago"
