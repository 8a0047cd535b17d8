"""`farmlokal breakers list|open|close|reset`."""

from __future__ import annotations

import asyncio
import getpass
import logging
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from coordination.breakers.circuit import State, View
from coordination.breakers.fleet import FleetCircuits
from coordination.clients import open_operator_client
from coordination.errors import FieldError, InvalidInput, NotFound
from coordination.settings import Settings
from ops.cli.outcome import AsJson, ending, print_result
from ops.operator_settings import load_operator_settings

__all__ = ["breakers_app"]

_log = logging.getLogger(__name__)
T = TypeVar("T")
Action = Literal["open", "close", "reset"]
_LONGEST_NOTE: Final = 200

breakers_app = typer.Typer(
    no_args_is_help=True, help="See and set the circuits before partners' services."
)

Service = Annotated[str, typer.Argument(help="Its name in PARTNER_SERVICES.")]
Why = Annotated[str, typer.Option(help="Kept with the circuit and shown to others.")]
By = Annotated[str, typer.Option(help="Who does it. Default: you, on this machine.")]


@breakers_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Show every service's circuit, as all workers share it."""
    with ending(as_json=as_json):
        views = _with_circuits(_look_at_all)
        if as_json:
            print_result({"ok": True, "breakers": [_facts(*item) for item in views.items()]})
            return
        if not views:
            print("PARTNER_SERVICES names no service.")
            return
        table = Table(
            "service", "state", "failures", "next trial", "because", "last set", box=box.SIMPLE
        )
        for service, view in views.items():
            table.add_row(
                service,
                "held open" if view.held else str(view.state),
                str(view.failures),
                _next_trial(view),
                view.cause if view.state is not State.CLOSED else "",
                # As Text: what people wrote is no markup.
                Text(_last_set(view)),
            )
        Console().print(table)


@breakers_app.command("open")
def open_command(service: Service, why: Why, by: By = "", as_json: AsJson = False) -> None:
    """Ask the partner nothing until `close` or `reset`: no trial will close it by itself."""
    _operate("open", service, why, by, as_json)


@breakers_app.command("close")
def close_command(service: Service, why: Why, by: By = "", as_json: AsJson = False) -> None:
    """Let all calls through again, now. Five new failures in a row open it as ever."""
    _operate("close", service, why, by, as_json)


@breakers_app.command("reset")
def reset_command(service: Service, why: Why, by: By = "", as_json: AsJson = False) -> None:
    """As `close`, and forget when and why it was open too."""
    _operate("reset", service, why, by, as_json)


def _operate(action: Action, service: str, why: str, by: str, as_json: bool) -> None:
    with ending(as_json=as_json):
        by = by or f"{getpass.getuser()}@{socket.gethostname()}"
        for name, note in (("why", why), ("by", by)):
            if not note.strip() or len(note) > _LONGEST_NOTE or not note.isprintable():
                detail = f"must be a printable line of 1 to {_LONGEST_NOTE} characters"
                raise InvalidInput([FieldError("parameter", f"--{name}", detail)])

        async def act(settings: Settings, circuits: FleetCircuits) -> View:
            if service not in settings.partner_services:
                known = ", ".join(settings.partner_services) or "none"
                raise NotFound(f"PARTNER_SERVICES does not name {service}; it names {known}.")
            return await circuits.operate(service, action, by, why)

        view = _with_circuits(act)
        _log.info(
            "Circuit set",
            extra={"service": service, "action": action, "by": by, "why": why},
        )
        if as_json:
            print_result({"ok": True, "breaker": _facts(service, view)})
        else:
            print(f"{service}: {'held open' if view.held else view.state}.")


async def _look_at_all(settings: Settings, circuits: FleetCircuits) -> dict[str, View]:
    return {service: await circuits.look(service) for service in settings.partner_services}


def _with_circuits(action: Callable[[Settings, FleetCircuits], Awaitable[T]]) -> T:
    async def run() -> T:
        settings = load_operator_settings()
        client = open_operator_client(settings)
        try:
            return await action(settings, FleetCircuits(client, settings))
        finally:
            await client.aclose()

    return asyncio.run(run())


def _last_set(view: View) -> str:
    if not view.action:
        return ""
    at = _date(view.acted_at_us)
    return f"{view.action} by {view.by}, {at:%Y-%m-%d %H:%M} UTC: {view.why}"


def _next_trial(view: View) -> str:
    if view.state is State.CLOSED or view.wait_s is None:
        return ""
    if view.state is State.HALF_OPEN:
        return "under way" if view.wait_s else "at the next call"
    return f"in {view.wait_s:.0f} s"


def _facts(service: str, view: View) -> dict[str, object]:
    return {
        "service": service,
        "state": view.state,
        "held": view.held,
        "failures": view.failures,
        "next_trial_in_s": view.wait_s,
        "cause": view.cause,
        "opened_at": _date(view.opened_at_us),
        "last_failure_at": _date(view.failed_at_us),
        "last_success_at": _date(view.succeeded_at_us),
        "last_set": {
            "action": view.action,
            "by": view.by,
            "why": view.why,
            "at": _date(view.acted_at_us),
        }
        if view.action
        else None,
    }


def _date(moment_us: int) -> datetime | None:
    return datetime.fromtimestamp(moment_us / 1_000_000, UTC) if moment_us else None
