"""Which events an operator means: filters, moments, and the SQL that finds them in order.

Each state is a range of one index, ``(state, received_at, id)`` or, for one partner,
``(partner_id, state, received_at, id)``; several states are several ranges, each cut to a page and
merged. So every filter but ``type`` costs about what it returns, however many events there are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from models.database import Connection, Database, Row
from models.dialects import Dialect
from models.fields import to_column
from models.webhooks.states import State

__all__ = [
    "MOMENT_PATTERN",
    "TYPE_PATTERN",
    "EventFilter",
    "Position",
    "Statement",
    "find_events",
    "parse_moment",
    "parse_type",
    "placeholders",
    "select_events",
]

Position = tuple[str, int]
"""The ``received_at`` column and the id of the last event that was seen."""
Statement = tuple[str, list[object]]

TYPE_PATTERN: Final = r"^[a-z][a-z0-9_.-]{0,63}$"
"""What an event's type can be called, known to us or not."""
_TYPE: Final = re.compile(TYPE_PATTERN)
MOMENT_PATTERN: Final = (
    r"^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z$"
)
"""For documents: what ``parse_moment`` always takes. It takes more, such as other offsets."""
_MOMENT: Final = re.compile(
    r"(?:19[7-9]\d|[2-9]\d{3})-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Events that fulfil all of it; ``None`` and no ``states`` ask nothing.

    ``since`` is the first moment of receipt that counts, ``until`` the first that does not.
    """

    partner_id: int | None = None
    type: str | None = None
    states: tuple[State, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


def parse_moment(value: str) -> datetime:
    """An RFC 3339 time from 1970 on, in UTC. Raises ``ValueError`` with a text for clients."""
    if _MOMENT.fullmatch(value):
        # Python reads microseconds at most.
        text = re.sub(r"(\.\d{6})\d+", r"\1", value.upper())
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError("must be a time such as 2026-02-06T10:30:00Z")


def parse_type(value: str) -> str:
    """The type of an event. Raises ``ValueError`` with a text for clients."""
    if _TYPE.fullmatch(value) is None:
        raise ValueError("must be the type of an event such as price.updated")
    return value


async def find_events(
    db: Database,
    wanted: EventFilter,
    *,
    columns: str,
    limit: int,
    newest_first: bool,
    after: Position | None = None,
    eligible: Statement = ("", []),
    purpose: str,
) -> list[Row]:
    """Up to ``limit`` rows in order of receipt; see ``select_events``.

    Raises ``QueryTooExpensive`` when a rare type is sought among too many events: bounds of time
    help then. Raises ``DatabaseUnavailable``.
    """
    sql, params = select_events(
        db.dialect,
        wanted,
        columns=columns,
        limit=limit,
        newest_first=newest_first,
        after=after,
        eligible=eligible,
    )

    async def read(conn: Connection | None) -> list[Row]:
        patience_ms = db.settings.list_timeout_ms
        return await db.fetch(sql, params, purpose=purpose, timeout_ms=patience_ms, conn=conn)

    if wanted.type is None and not eligible[0]:
        return await read(None)
    async with db.heavy_slot() as conn:
        return await read(conn)


def select_events(
    dialect: Dialect,
    wanted: EventFilter,
    *,
    columns: str,
    limit: int,
    newest_first: bool,
    after: Position | None,
    eligible: Statement = ("", []),
) -> Statement:
    """The statement. ``columns`` are of ``e`` (events) and ``p`` (their partners).

    ``eligible`` is a further condition on the events, tried row by row like ``type``.
    """
    direction = "DESC" if newest_first else "ASC"
    branches = [
        _range(dialect, wanted, state, limit, direction, after, eligible)
        for state in (wanted.states or tuple(State))
    ]
    merged = " UNION ALL ".join(
        f"SELECT * FROM ({text}) b{number}" for number, (text, _) in enumerate(branches)
    )
    by_id = "" if dialect.is_sqlite else dialect.index_hint.format("PRIMARY")
    return (
        f"{dialect.straight_join} {columns}"
        f" FROM (SELECT * FROM ({merged}) merged"
        f" ORDER BY received_at {direction}, id {direction} LIMIT {limit:d}) page"
        f" {dialect.join} webhook_events e {by_id} ON e.id = page.id"
        f" LEFT JOIN webhook_partners p ON p.id = e.partner_id"
        f" ORDER BY page.received_at {direction}, page.id {direction}",
        [param for _, params in branches for param in params],
    )


def _range(
    dialect: Dialect,
    wanted: EventFilter,
    state: State,
    limit: int,
    direction: str,
    after: Position | None,
    eligible: Statement,
) -> Statement:
    clauses = ["state = %s"]
    params: list[object] = [state.value]
    index = "idx_webhook_events_state"
    if wanted.partner_id is not None:
        clauses.append("partner_id = %s")
        params.append(wanted.partner_id)
        index = "idx_webhook_events_partner"
    for condition, moment in (
        ("received_at >= %s", wanted.since),
        ("received_at < %s", wanted.until),
    ):
        if moment is not None:
            clauses.append(condition)
            params.append(to_column(moment))
    if wanted.type is not None:
        clauses.append("type = %s")
        params.append(wanted.type)
    for text, values in (_beyond(dialect, direction, after), eligible):
        if text:
            clauses.append(text)
            params += values
    return (
        f"SELECT id, received_at FROM webhook_events {dialect.index_hint.format(index)}"
        f" WHERE {' AND '.join(clauses)}"
        f" ORDER BY received_at {direction}, id {direction} LIMIT {limit:d}",
        params,
    )


def _beyond(dialect: Dialect, direction: str, after: Position | None) -> Statement:
    """What follows a position, in the form each engine finds in an index; see ``page_sql``."""
    if after is None:
        return "", []
    sign = "<" if direction == "DESC" else ">"
    received_at, last_id = after
    if dialect.is_sqlite:
        return f"(received_at, id) {sign} (%s, %s)", [received_at, last_id]
    return (
        f"(received_at {sign} %s OR (received_at = %s AND id {sign} %s))",
        [received_at, received_at, last_id],
    )


def placeholders(values: Sequence[object]) -> str:
    """As many marks as values."""
    return ", ".join(["%s"] * len(values))
