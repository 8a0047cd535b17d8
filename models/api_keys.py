"""API keys: made, listed, revoked, found. Only a key's SHA-256 is kept, and its first characters
for people to recognise it by.

A key is 256 random bits, so a plain digest needs no salt and no slow hash. This module decides who
a key belongs to, never what its scopes allow. A key may belong to a partner, who may then see what
became of its own webhooks; such a key needs no scope.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coordination.errors import Conflict, FieldError, InvalidInput, NotFound
from models.database import Connection, Database, Row, retrying
from models.fields import from_column

__all__ = [
    "SCOPES",
    "ApiKeyInfo",
    "create",
    "digest_of",
    "find",
    "is_well_formed",
    "list_keys",
    "revoke",
]

SCOPES: Final = ("catalog:write", "ops:read", "ops:write")

_PREFIX_CHARACTERS: Final = 10
_NAME_CHARACTERS: Final = 100
# A bound, so that a long header costs no more than a look.
_FORM: Final = re.compile(r"fl_[A-Za-z0-9_-]{32,64}")
_SELECT: Final = """
  SELECT k.id, k.name, k.prefix, k.digest, k.scopes, k.created_at, k.revoked_at, l.partner_id
  FROM api_keys k LEFT JOIN webhook_partner_keys l ON l.api_key_id = k.id"""


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    """What may be known of a key; the key itself is not kept."""

    id: int
    name: str
    prefix: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None
    partner_id: int | None = None
    """The partner it belongs to, if it is one's own."""


async def create(
    db: Database, name: str, scopes: Iterable[str], partner_id: int | None = None
) -> tuple[str, ApiKeyInfo]:
    """Make a key. The text returned is shown once and cannot be had again.

    Only a partner's own key may have no scopes. Raises ``InvalidInput`` (empty or long name, no or
    unknown scopes), ``NotFound`` (the partner), ``DatabaseUnavailable``.
    """
    chosen = _checked(name, scopes, of_partner=partner_id is not None)
    key = f"fl_{secrets.token_urlsafe(32)}"

    async def unit() -> ApiKeyInfo:
        async with db.transaction() as conn:
            key_id = await db.insert(
                "INSERT INTO api_keys (name, prefix, digest, scopes, created_at)"
                f" VALUES (%s, %s, %s, %s, {db.dialect.now})",
                [name, key[:_PREFIX_CHARACTERS], digest_of(key), " ".join(chosen)],
                purpose="api_key_insert",
                conn=conn,
            )
            if partner_id is not None:
                await _link(db, key_id, partner_id, conn)
            rows = await db.fetch(
                f"{_SELECT} WHERE k.id = %s", [key_id], purpose="api_key", conn=conn
            )
            return _info(rows[0])

    return key, await retrying(unit)


async def list_keys(db: Database) -> list[ApiKeyInfo]:
    """All keys, revoked ones too, oldest first."""
    return [_info(row) for row in await db.fetch(f"{_SELECT} ORDER BY k.id", purpose="api_keys")]


async def revoke(db: Database, id_or_prefix: str | int) -> bool:
    """Revoke one key; ``False`` when no key that is still valid has this id or prefix.

    Processes that verified it go on accepting it for ``API_KEY_CACHE_S`` at most. Raises
    ``Conflict`` when several valid keys share the prefix: name it by id then.
    """
    named = str(id_or_prefix)
    column = "id" if named.isdecimal() else "prefix"
    found = await db.fetch(
        f"SELECT id FROM api_keys WHERE {column} = %s AND revoked_at IS NULL",
        [named],
        purpose="api_key",
    )
    if len(found) > 1:
        raise Conflict(f"{len(found)} keys begin with {named}: give the id of the one you mean.")
    if not found:
        return False
    revoked = await db.execute(
        f"UPDATE api_keys SET revoked_at = {db.dialect.now} WHERE id = %s AND revoked_at IS NULL",
        [found[0]["id"]],
        purpose="api_key_revoke",
    )
    return revoked == 1


async def find(db: Database, presented: str) -> ApiKeyInfo | None:
    """Whose key this is; ``None`` for one that is malformed, unknown or revoked.

    Fails closed: raises ``DatabaseUnavailable`` when the database cannot be asked.
    """
    if not is_well_formed(presented):
        return None
    digest = digest_of(presented)
    rows = await db.fetch(f"{_SELECT} WHERE k.digest = %s", [digest], purpose="api_key")
    # The index finds by digest, of which a client cannot choose the bytes; the comparison that
    # decides is constant in time all the same.
    for row in rows:
        if hmac.compare_digest(bytes(row["digest"]), digest) and row["revoked_at"] is None:
            return _info(row)
    return None


def is_well_formed(presented: str) -> bool:
    """Whether this could be a key of ours at all."""
    return _FORM.fullmatch(presented) is not None


def digest_of(key: str) -> bytes:
    """The 32 bytes that are kept of a key."""
    return hashlib.sha256(key.encode()).digest()


async def _link(db: Database, key_id: int, partner_id: int, conn: Connection) -> None:
    linked = await db.execute(
        """INSERT INTO webhook_partner_keys (api_key_id, partner_id)
           SELECT %s, id FROM webhook_partners WHERE id = %s""",
        [key_id, partner_id],
        purpose="api_key_link",
        conn=conn,
    )
    if linked == 0:
        raise NotFound("There is no such partner.")


def _checked(name: str, scopes: Iterable[str], *, of_partner: bool) -> list[str]:
    chosen = sorted(set(scopes))
    errors = [
        FieldError("pointer", "/scopes", f"{scope!r} is not one of {', '.join(SCOPES)}")
        for scope in chosen
        if scope not in SCOPES
    ]
    if not chosen and not of_partner:
        errors.append(FieldError("pointer", "/scopes", f"name at least one of {', '.join(SCOPES)}"))
    if not 1 <= len(name.strip()) <= len(name) <= _NAME_CHARACTERS or not name.isprintable():
        detail = f"must have 1 to {_NAME_CHARACTERS} printable characters"
        errors.append(FieldError("pointer", "/name", detail))
    if errors:
        raise InvalidInput(errors)
    return chosen


def _info(row: Row) -> ApiKeyInfo:
    revoked_at, partner_id = row["revoked_at"], row["partner_id"]
    return ApiKeyInfo(
        id=int(row["id"]),
        name=row["name"],
        prefix=row["prefix"],
        scopes=frozenset(row["scopes"].split()),
        created_at=from_column(row["created_at"]),
        revoked_at=None if revoked_at is None else from_column(revoked_at),
        partner_id=None if partner_id is None else int(partner_id),
    )
