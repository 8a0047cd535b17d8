"""Partners and their secrets as values, read from their rows with the secrets opened.

It only reads and locks; what may be written, and how, is ``partners``' affair.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Final, Literal

import orjson

from coordination.errors import Misconfigured
from coordination.sealing import Sealer
from models.database import Connection, Database, Row
from models.fields import from_column
from models.partners.names import require_partner_name, unknown_partner
from models.webhooks.schemes import Scheme

__all__ = [
    "KEPT_EXPIRED_S",
    "Partner",
    "Secret",
    "lock_partner",
    "read_by_id",
    "read_partners",
]

_log = logging.getLogger(__name__)

KEPT_EXPIRED_S: Final = 30 * 86_400
"""How long a secret that ran out is still shown, so that one can tell who signs with it."""

_COLUMNS: Final = """
  p.id, p.name, p.scheme, p.all_farms, p.farm_ids, p.may_edit_categories, p.is_active,
  p.rate_limit_requests, p.created_at, p.updated_at,
  s.id AS secret_id, s.sealed, s.fingerprint, s.created_at AS secret_created_at, s.expires_at,
  s.last_matched_at"""


@dataclass(frozen=True, slots=True)
class Secret:
    """What a partner signs with, or its public key. ``value`` is kept out of ``repr``."""

    id: int
    value: str = field(repr=False)
    fingerprint: str
    """The first 12 hex digits of the value's SHA-256, for people to tell secrets apart."""
    created_at: datetime
    expires_at: datetime | None
    last_matched_at: datetime | None
    """When a delivery last verified with it, exact to a minute or so."""


@dataclass(frozen=True, slots=True)
class Partner:
    """Who may send webhooks. ``secrets`` has the newest first."""

    id: int
    name: str
    scheme: Scheme
    all_farms: bool
    farm_ids: frozenset[int]
    """Empty when ``all_farms``."""
    may_edit_categories: bool
    is_active: bool
    rate_limit_requests: int | None
    """``None``: the default, ``WEBHOOK_RATE_LIMIT_REQUESTS``."""
    secrets: tuple[Secret, ...]
    created_at: datetime
    updated_at: datetime

    def may_touch_farm(self, farm_id: int) -> bool:
        """Whether events of this partner may change what this farm offers."""
        return self.all_farms or farm_id in self.farm_ids


async def read_partners(
    db: Database,
    sealer: Sealer,
    where: str = "1 = 1",
    params: Sequence[object] = (),
    *,
    secrets: Literal["valid", "recent"],
    purpose: str,
    conn: Connection | None = None,
) -> list[Partner]:
    """Partners by name, where ``p`` is the partner's row; one statement, so one moment's truth.

    ``valid``: with the secrets not expired by the database's clock. ``recent``: with those that
    expired in the last ``KEPT_EXPIRED_S``, too. Raises ``DatabaseUnavailable``, and
    ``Misconfigured`` when a valid secret cannot be opened.
    """
    dialect = db.dialect
    oldest = -KEPT_EXPIRED_S * 1_000_000 if secrets == "recent" else 0
    rows = await db.fetch(
        f"""SELECT {_COLUMNS},
              (s.expires_at IS NOT NULL AND s.expires_at <= {dialect.now}) AS has_expired
            FROM webhook_partners p
            LEFT JOIN webhook_secrets s ON s.partner_id = p.id
              AND (s.expires_at IS NULL OR s.expires_at > {dialect.now_plus_us.format("%s")})
            WHERE {where} ORDER BY p.name, s.id DESC""",
        [oldest, *params],
        purpose=purpose,
        conn=conn,
    )
    return [_partner(sealer, list(own)) for _, own in groupby(rows, key=lambda row: row["id"])]


async def lock_partner(db: Database, name: str, conn: Connection) -> int:
    """The id of the partner of this name, whose row is ours until the transaction ends.

    Raises ``NotFound``.
    """
    rows = await db.fetch(
        f"SELECT id FROM webhook_partners WHERE name = %s {db.dialect.for_update}",
        [require_partner_name(name)],
        purpose="partner_lock",
        conn=conn,
    )
    if not rows:
        raise unknown_partner(name)
    return int(rows[0]["id"])


async def read_by_id(db: Database, sealer: Sealer, partner_id: int, conn: Connection) -> Partner:
    """The partner with its valid secrets, in a transaction that knows it is there."""
    (partner,) = await read_partners(
        db, sealer, "p.id = %s", [partner_id], secrets="valid", purpose="partner", conn=conn
    )
    return partner


def _partner(sealer: Sealer, rows: list[Row]) -> Partner:
    first = rows[0]
    rate_limit = first["rate_limit_requests"]
    opened = [_secret(sealer, row) for row in rows if row["secret_id"] is not None]
    return Partner(
        id=int(first["id"]),
        name=first["name"],
        scheme=Scheme(first["scheme"]),
        all_farms=bool(first["all_farms"]),
        farm_ids=frozenset(orjson.loads(first["farm_ids"])),
        may_edit_categories=bool(first["may_edit_categories"]),
        is_active=bool(first["is_active"]),
        rate_limit_requests=None if rate_limit is None else int(rate_limit),
        secrets=tuple(secret for secret in opened if secret is not None),
        created_at=from_column(first["created_at"]),
        updated_at=from_column(first["updated_at"]),
    )


def _secret(sealer: Sealer, row: Row) -> Secret | None:
    """The opened secret; ``None`` for an expired one that nobody can open any more."""
    named = {"partner": row["name"], "fingerprint": row["fingerprint"]}
    try:
        value = sealer.open(row["sealed"])
    except Misconfigured:
        if row["has_expired"]:
            _log.info("An expired secret cannot be opened and is left out", extra=named)
            return None
        raise Misconfigured(
            f"Secret {row['fingerprint']} of partner {row['name']} was sealed with another"
            " SEALING_SECRET: add that one at the end of the list. If it is lost, run"
            f" `farmlokal partners expire {row['name']} {row['fingerprint']} --even-last` and"
            f" `farmlokal partners rotate {row['name']}`."
        ) from None
    return Secret(
        id=int(row["secret_id"]),
        value=value,
        fingerprint=row["fingerprint"],
        created_at=from_column(row["secret_created_at"]),
        expires_at=_moment(row["expires_at"]),
        last_matched_at=_moment(row["last_matched_at"]),
    )


def _moment(value: datetime | str | None) -> datetime | None:
    return None if value is None else from_column(value)
