"""Idempotency keys: one effect and one stored answer for each key of each owner.

Follows the IETF draft ``draft-ietf-httpapi-idempotency-key-header-07``. A request first makes its
key ``running``, committed on its own and under a lease; its answer is stored in the transaction of
its effect, so there is never one without the other. A holder that outlives its lease and lost it
to another cannot commit. Which answers are worth keeping is the caller's decision.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass
from functools import partial
from typing import Final

import orjson

from coordination.cache_plane import fresh_token
from coordination.errors import (
    DatabaseUnavailable,
    FieldError,
    IdempotencyInProgress,
    IdempotencyMismatch,
    InvalidInput,
    LeaseLost,
)
from models.database import Connection, Database, DuplicateKey, Row, retrying

__all__ = ["Begun", "Replay", "abandon", "begin", "digest_of", "finish", "parse_key", "renew"]

_log = logging.getLogger(__name__)

_LONGEST: Final = 255
_QUOTED: Final = re.compile(r'"((?:[\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')
# Without what would make it a list, a parameter or a broken string.
_BARE: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")
_LOOKS: Final = 5
_RUNNING: Final = "The first request with this Idempotency-Key is still running."
_TAKEN_OVER: Final = "Another request has taken over this Idempotency-Key."


@dataclass(frozen=True, slots=True)
class Begun:
    """This request goes ahead; ``lease_token`` proves that the key is still its own."""

    owner_id: int
    key: str
    lease_token: str


@dataclass(frozen=True, slots=True)
class Replay:
    """The first request was answered with this: answer it again."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_key(header: str) -> str:
    """The key in an ``Idempotency-Key`` header: a structured string, or bare as many send it.

    1 to 255 visible ASCII characters. ``"a"`` and ``a`` are the same key. Raises ``InvalidInput``.
    """
    text = header.strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if not 1 <= len(key) <= _LONGEST or not (quoted or _BARE.fullmatch(text)):
        detail = f'must be 1 to {_LONGEST} visible ASCII characters in quotes, such as "8e03978e"'
        raise InvalidInput([FieldError("header", "Idempotency-Key", detail)])
    return key


def digest_of(*parts: bytes) -> bytes:
    """The digest of a request: of its method, target and body, for instance."""
    digest = hashlib.sha256()
    for part in parts:
        # The length keeps ("ab", "c") apart from ("a", "bc").
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


async def begin(db: Database, owner_id: int, key: str, request_digest: bytes) -> Begun | Replay:
    """Take the key for this request, or hand out the answer it already has.

    ``request_digest``: 32 bytes that tell this request from another one. Among equal requests at
    once exactly one is begun. Raises ``IdempotencyInProgress`` while another holds the lease,
    ``IdempotencyMismatch`` when the key came with another request, ``DatabaseUnavailable``.
    """
    begun = Begun(owner_id, key, fresh_token())
    for _ in range(_LOOKS):
        # A look without locks first: a storm of repeats then neither waits nor writes.
        row = await _look(db, begun)
        answer = None if row is None else _settled(row, request_digest)
        if answer is not None:
            return answer
        if row is None:
            take = partial(_insert, db, begun, request_digest)
        else:
            take = partial(_take_over, db, begun, request_digest, row)
        if await retrying(take):
            return begun
    raise IdempotencyInProgress(_RUNNING)


async def renew(db: Database, begun: Begun) -> None:
    """Let the lease run anew from now, for a request that takes longer than one.

    Raises ``LeaseLost`` when the key is no longer this request's, ``DatabaseUnavailable``.
    """

    async def unit() -> int:
        return await db.execute(
            f"""UPDATE idempotency_keys SET lease_until = {db.dialect.now_plus_us.format("%s")}
                WHERE owner_id = %s AND idempotency_key = %s AND lease_token = %s
                  AND state = 'running'""",
            [
                db.settings.idempotency_lease_s * 1_000_000,
                begun.owner_id,
                begun.key,
                begun.lease_token,
            ],
            purpose="idempotency_renew",
        )

    if await retrying(unit) != 1:
        raise LeaseLost(_TAKEN_OVER)


async def finish(
    db: Database,
    conn: Connection | None,
    begun: Begun,
    status: int,
    headers: dict[str, str],
    body: bytes,
) -> None:
    """Store the answer, in the effect's transaction; ``conn=None`` for one without effect.

    Raises ``LeaseLost`` when the key is no longer this request's: let that roll the effect back.
    """
    stored = await db.execute(
        """UPDATE idempotency_keys SET state = 'done', status = %s, headers = %s, body = %s
           WHERE owner_id = %s AND idempotency_key = %s AND lease_token = %s
             AND state = 'running'""",
        [
            status,
            orjson.dumps(headers).decode(),
            body,
            begun.owner_id,
            begun.key,
            begun.lease_token,
        ],
        purpose="idempotency_finish",
        conn=conn,
    )
    if stored != 1:
        raise LeaseLost(_TAKEN_OVER)


async def abandon(db: Database, begun: Begun) -> None:
    """Give the key back after a failure of ours, so that the client may try again at once.

    Without effect when an answer was stored after all, or the lease was lost. Fails open: when the
    database is away the lease runs out by itself.
    """

    async def unit() -> int:
        return await db.execute(
            """DELETE FROM idempotency_keys
               WHERE owner_id = %s AND idempotency_key = %s AND lease_token = %s
                 AND state = 'running'""",
            [begun.owner_id, begun.key, begun.lease_token],
            purpose="idempotency_abandon",
        )

    try:
        await retrying(unit)
    except DatabaseUnavailable:
        _log.warning("Idempotency key not given back; its lease will run out")


async def _look(db: Database, begun: Begun) -> Row | None:
    now, past = db.dialect.now, db.dialect.now_plus_us.format("%s")
    rows = await db.fetch(
        f"""SELECT id, request_digest, state, lease_token, status, headers, body,
              lease_until > {now} AS held, created_at < {past} AS outlived
            FROM idempotency_keys WHERE owner_id = %s AND idempotency_key = %s""",
        [-db.settings.idempotency_ttl_s * 1_000_000, begun.owner_id, begun.key],
        purpose="idempotency_look",
    )
    return rows[0] if rows else None


def _settled(row: Row, request_digest: bytes) -> Replay | None:
    """The stored answer; ``None`` when the key may be taken over. Raises as ``begin`` does."""
    running = row["state"] == "running"
    held = running and bool(row["held"])
    if row["outlived"] and not held:
        return None
    if not hmac.compare_digest(bytes(row["request_digest"]), request_digest):
        raise IdempotencyMismatch("This Idempotency-Key came with another request before.")
    if held:
        raise IdempotencyInProgress(_RUNNING)
    if running:
        return None
    return Replay(int(row["status"]), orjson.loads(row["headers"]), bytes(row["body"]))


async def _insert(db: Database, begun: Begun, request_digest: bytes) -> bool:
    lease_until = db.dialect.now_plus_us.format("%s")
    try:
        await db.insert(
            f"""INSERT INTO idempotency_keys (owner_id, idempotency_key, request_digest, state,
                  lease_token, lease_until, created_at)
                VALUES (%s, %s, %s, 'running', %s, {lease_until}, {db.dialect.now})""",
            [
                begun.owner_id,
                begun.key,
                request_digest,
                begun.lease_token,
                db.settings.idempotency_lease_s * 1_000_000,
            ],
            purpose="idempotency_begin",
        )
    except DuplicateKey:
        return False
    return True


async def _take_over(db: Database, begun: Begun, request_digest: bytes, seen: Row) -> bool:
    """Make the key this request's, if it still is as it was seen and was not renewed since."""
    now, lease_until = db.dialect.now, db.dialect.now_plus_us.format("%s")
    taken = await db.execute(
        f"""UPDATE idempotency_keys SET request_digest = %s, state = 'running', lease_token = %s,
              lease_until = {lease_until}, status = NULL, headers = NULL, body = NULL,
              created_at = {now}
            WHERE id = %s AND lease_token = %s AND state = %s
              AND (state <> 'running' OR lease_until <= {now})""",
        [
            request_digest,
            begun.lease_token,
            db.settings.idempotency_lease_s * 1_000_000,
            seen["id"],
            seen["lease_token"],
            seen["state"],
        ],
        purpose="idempotency_take_over",
    )
    return taken == 1
