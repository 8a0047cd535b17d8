"""A partner's secrets: stored sealed, replaced with an overlap, ended, and when each last matched.

Changes of one partner's secrets take turns on the partner's row. All times are the database's,
taken inside the statements, so that an overlap means the same to every process.
"""

from __future__ import annotations

import hashlib
from typing import Final

from coordination.errors import Conflict, FieldError, InvalidInput, NotFound
from coordination.sealing import Sealer
from models.database import Connection, Database, retrying
from models.partners.checks import check_overlap
from models.partners.records import KEPT_EXPIRED_S, Partner, lock_partner, read_by_id
from models.webhooks.schemes import check_secret, new_secret

__all__ = ["expire_secret", "fingerprint_of", "insert_secret", "note_match", "rotate"]

_FINGERPRINT_DIGITS: Final = 12
_PUBLIC_KEY: Final = "whpk_"


def fingerprint_of(secret: str) -> str:
    """What people tell secrets apart by."""
    return hashlib.sha256(secret.encode()).hexdigest()[:_FINGERPRINT_DIGITS]


async def insert_secret(
    db: Database, sealer: Sealer, partner_id: int, secret: str, conn: Connection
) -> None:
    """Store one that is valid from now on, sealed."""
    await db.insert(
        f"""INSERT INTO webhook_secrets (partner_id, sealed, fingerprint, created_at)
            VALUES (%s, %s, %s, {db.dialect.now})""",
        [partner_id, sealer.seal(secret), fingerprint_of(secret)],
        purpose="secret_insert",
        conn=conn,
    )


async def rotate(
    db: Database, sealer: Sealer, name: str, *, overlap_s: int, secret: str | None = None
) -> tuple[Partner, str]:
    """Give the partner a new secret, valid at once; returns it as ``add`` does.

    Every older one expires after ``overlap_s``, or when it would have before that; 0 ends them
    now. Raises ``InvalidInput``, ``NotFound``, ``Conflict`` (it has that secret already),
    ``Misconfigured`` (then our ``SEALING_SECRET`` is the wrong one, and nothing is written),
    ``DatabaseUnavailable``.
    """
    check_overlap(overlap_s)
    latest = db.dialect.now_plus_us.format("%s")
    overlap_us = overlap_s * 1_000_000

    async def unit() -> tuple[Partner, str]:
        async with db.transaction(read_committed=True) as conn:
            before = await read_by_id(db, sealer, await lock_partner(db, name, conn), conn)
            chosen = _successor(before, secret)
            await db.execute(
                f"""UPDATE webhook_secrets SET expires_at = {latest}
                    WHERE partner_id = %s AND (expires_at IS NULL OR expires_at > {latest})""",
                [overlap_us, before.id, overlap_us],
                purpose="secret_expire",
                conn=conn,
            )
            await db.execute(
                f"""DELETE FROM webhook_secrets WHERE partner_id = %s
                    AND expires_at <= {latest}""",
                [before.id, -KEPT_EXPIRED_S * 1_000_000],
                purpose="secret_purge",
                conn=conn,
            )
            await insert_secret(db, sealer, before.id, chosen, conn)
            await _touch(db, before.id, conn)
            return await read_by_id(db, sealer, before.id, conn), chosen

    return await retrying(unit)


async def expire_secret(
    db: Database, name: str, fingerprint: str, *, even_last: bool = False
) -> None:
    """End a secret now; processes that remember it go on for ``WEBHOOK_PARTNER_CACHE_S`` at most.

    Needs no sealer, so it also rids of a secret that nobody can open. Raises ``NotFound`` (no such
    partner or valid secret), ``Conflict`` (it is the last one, unless ``even_last``),
    ``DatabaseUnavailable``.
    """
    now = db.dialect.now

    async def unit() -> None:
        async with db.transaction(read_committed=True) as conn:
            partner_id = await lock_partner(db, name, conn)
            valid = await db.fetch(
                f"""SELECT id, fingerprint FROM webhook_secrets
                    WHERE partner_id = %s AND (expires_at IS NULL OR expires_at > {now})""",
                [partner_id],
                purpose="secrets",
                conn=conn,
            )
            ending = [row["id"] for row in valid if row["fingerprint"] == fingerprint.lower()]
            if not ending:
                raise NotFound(f"No valid secret of {name} has the fingerprint {fingerprint}.")
            if len(ending) == len(valid) and not even_last:
                raise Conflict(f"{fingerprint} is the only valid secret of {name}: rotate first.")
            marks = ", ".join(["%s"] * len(ending))
            await db.execute(
                f"UPDATE webhook_secrets SET expires_at = {now} WHERE id IN ({marks})",
                ending,
                purpose="secret_expire",
                conn=conn,
            )
            await _touch(db, partner_id, conn)

    await retrying(unit)


async def note_match(db: Database, secret_id: int) -> None:
    """Note that a delivery verified with this secret just now. Raises ``DatabaseUnavailable``."""
    await db.execute(
        f"UPDATE webhook_secrets SET last_matched_at = {db.dialect.now} WHERE id = %s",
        [secret_id],
        purpose="secret_match",
    )


def _successor(partner: Partner, given: str | None) -> str:
    """The checked next secret: the given one, else a fresh one."""
    newest = partner.secrets[0].value if partner.secrets else ""
    if given is None:
        if newest.startswith(_PUBLIC_KEY):
            detail = f"{partner.name} signs with a key of its own: give the new public one"
            raise InvalidInput([FieldError("pointer", "/secret", detail)])
        return new_secret(partner.scheme)
    check_secret(partner.scheme, given)
    if any(secret.value == given for secret in partner.secrets):
        raise Conflict(f"{partner.name} has this secret already.")
    return given


async def _touch(db: Database, partner_id: int, conn: Connection) -> None:
    await db.execute(
        f"UPDATE webhook_partners SET updated_at = {db.dialect.now} WHERE id = %s",
        [partner_id],
        purpose="partner_update",
        conn=conn,
    )
