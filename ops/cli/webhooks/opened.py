"""What commands on events run with: the resources of a process, and the filters people type."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from coordination.clients import RedisError
from coordination.errors import FieldError, InvalidInput
from coordination.jobs import open_broker
from coordination.settings import Settings
from models.database import Database
from models.resources import Resources, open_resources
from models.webhooks import inspection
from models.webhooks.selection import EventFilter, parse_moment, parse_type
from models.webhooks.states import State
from ops.cli.durations import seconds_of
from ops.operator_settings import load_operator_settings
from ops.seed.seeding import ensure_migrated

__all__ = [
    "Filter",
    "Partner",
    "Since",
    "StateOption",
    "Type",
    "Until",
    "receipt_of",
    "with_resources",
]

T = TypeVar("T")
Partner = Annotated[str | None, typer.Option("--partner", help="Events of this partner.")]
Type = Annotated[str | None, typer.Option("--type", help="Events of this type.")]
StateOption = Annotated[State | None, typer.Option("--state", help="Events in this state.")]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Received within this span (90s, 2h, 7d) or from this time on."),
]
Until = Annotated[
    str | None, typer.Option("--until", help="Received before this time, or longer ago than that.")
]


def with_resources(action: Callable[[Resources], Awaitable[T]]) -> T:
    """Run ``action`` on what the settings name. A queue that is away is left to the sweep."""

    async def run() -> T:
        settings = load_operator_settings()
        await ensure_migrated(settings)
        return await _run(settings, action)

    return asyncio.run(run())


async def _run(settings: Settings, action: Callable[[Resources], Awaitable[T]]) -> T:
    broker = open_broker(settings)
    try:
        resources = await open_resources(settings, broker)
        try:
            return await action(resources)
        finally:
            await resources.close()
    finally:
        with suppress(RedisError, OSError):
            broker.client.close()


@dataclass(frozen=True, slots=True)
class Filter:
    """The options as they were typed."""

    partner: str | None
    type: str | None
    state: State | None
    since: str | None
    until: str | None

    @property
    def is_given(self) -> bool:
        """Whether any option was."""
        return any((self.partner, self.type, self.state, self.since, self.until))

    async def read(self, db: Database) -> EventFilter:
        """What they mean. Raises ``InvalidInput``."""
        partner_id = None
        if self.partner is not None:
            partner_id = await inspection.partner_id_of(db, self.partner)
            if partner_id is None:
                raise _wrong("--partner", f"there is no partner {self.partner!r}")
        return EventFilter(
            partner_id=partner_id,
            type=_type(self.type),
            states=() if self.state is None else (self.state,),
            since=_moment("--since", self.since),
            until=_moment("--until", self.until),
        )


def receipt_of(text: str) -> UUID:
    """The receipt. Raises ``InvalidInput``."""
    try:
        return UUID(text)
    except ValueError:
        raise _wrong("RECEIPT", f"{text!r} is not a receipt such as {UUID(int=1)}") from None


def _type(text: str | None) -> str | None:
    try:
        return None if text is None else parse_type(text)
    except ValueError as error:
        raise _wrong("--type", str(error)) from None


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    with suppress(ValueError):
        return parse_moment(text)
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds_of(text, option))
    except (InvalidInput, OverflowError):
        detail = f"{text!r} is neither a span such as 90s, 2h or 7d nor a time such as"
        raise _wrong(option, f"{detail} 2026-02-06T10:30:00Z") from None


def _wrong(option: str, detail: str) -> InvalidInput:
    return InvalidInput([FieldError("parameter", option, detail)])
