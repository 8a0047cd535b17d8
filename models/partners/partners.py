"""Partners who may send webhooks: added, changed, their secrets rotated, found.

What a partner may touch is kept here and enforced where its events are applied. The parts are in
``records`` (reading), ``secrets`` (sealing, rotation) and ``checks``; other
rooms import this module.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import orjson

from coordination.errors import Conflict
from coordination.sealing import Sealer
from models.database import Database, DuplicateKey, retrying
from models.partners.checks import (
    PartnerChanges,
    changed_reach,
    check_farms_exist,
    check_rate_limit,
    farm_ids_of,
)
from models.partners.names import (
    check_name,
    is_partner_name,
    require_partner_name,
    unknown_partner,
)
from models.partners.records import (
    Partner,
    Secret,
    lock_partner,
    read_by_id,
    read_partners,
)
from models.partners.secrets import (
    expire_secret,
    fingerprint_of,
    insert_secret,
    note_match,
    rotate,
)
from models.webhooks.schemes import Scheme, check_secret, new_secret

__all__ = [
    "Partner",
    "PartnerChanges",
    "Secret",
    "add",
    "expire_secret",
    "farm_ids_of",
    "find",
    "fingerprint_of",
    "get",
    "get_by_id",
    "id_of",
    "list_partners",
    "names_by_id",
    "note_match",
    "rotate",
    "set_active",
    "update",
]


async def add(
    db: Database,
    sealer: Sealer,
    *,
    name: str,
    scheme: Scheme,
    secret: str | None = None,
    farms: Sequence[int] | None,
    may_edit_categories: bool = False,
    rate_limit_requests: int | None = None,
) -> tuple[Partner, str]:
    """Add an active partner; returns it and its secret, which cannot be had again.

    ``secret``: the partner's own (for ed25519 its public key), else a fresh one is made.
    ``farms``: ids of the farms it may touch, ``None`` for all. Raises ``InvalidInput``,
    ``Conflict`` (the name is taken), ``DatabaseUnavailable``.
    """
    check_name(name)
    check_rate_limit(rate_limit_requests)
    chosen = new_secret(scheme) if secret is None else secret
    check_secret(scheme, chosen)
    now = db.dialect.now

    async def unit() -> Partner:
        async with db.transaction() as conn:
            await check_farms_exist(db, farms or (), conn)
            partner_id = await db.insert(
                f"""INSERT INTO webhook_partners
                      (name, scheme, all_farms, farm_ids, may_edit_categories, is_active,
                       rate_limit_requests, created_at, updated_at)
                    VALUES (%s, %s, %s, %s, %s, 1, %s, {now}, {now})""",
                [
                    name,
                    scheme.value,
                    int(farms is None),
                    _farm_column(farms or ()),
                    int(may_edit_categories),
                    rate_limit_requests,
                ],
                purpose="partner_insert",
                conn=conn,
            )
            await insert_secret(db, sealer, partner_id, chosen, conn)
            return await read_by_id(db, sealer, partner_id, conn)

    with _unique_name(name):
        return await retrying(unit), chosen


async def list_partners(db: Database, sealer: Sealer) -> list[Partner]:
    """All partners by name, with secrets that expired lately; errors as ``get``."""
    return await read_partners(db, sealer, secrets="recent", purpose="partners")


async def get(db: Database, sealer: Sealer, name: str) -> Partner:
    """The partner of this name, for operators: with secrets that expired lately.

    Raises ``NotFound``, ``Misconfigured`` (a valid secret was sealed with a ``SEALING_SECRET``
    that is not ours), ``DatabaseUnavailable``.
    """
    known = [require_partner_name(name)]
    found = await read_partners(
        db, sealer, "p.name = %s", known, secrets="recent", purpose="partner"
    )
    if not found:
        raise unknown_partner(name)
    return found[0]


async def get_by_id(db: Database, sealer: Sealer, partner_id: int) -> Partner | None:
    """As ``find``, by id."""
    found = await read_partners(
        db, sealer, "p.id = %s", [partner_id], secrets="valid", purpose="partner"
    )
    return found[0] if found else None


async def find(db: Database, sealer: Sealer, name: str) -> Partner | None:
    """The partner of this name, active or not, with the secrets that are valid now.

    ``None`` for an unknown or malformed name. Fails closed: raises ``DatabaseUnavailable``, and
    ``Misconfigured`` when a valid secret cannot be opened.
    """
    if not is_partner_name(name):
        return None
    found = await read_partners(
        db, sealer, "p.name = %s", [name], secrets="valid", purpose="partner"
    )
    return found[0] if found else None


async def id_of(db: Database, name: str) -> int:
    """The id of the partner of this name; opens no secret. Raises ``NotFound``."""
    rows = await db.fetch(
        "SELECT id FROM webhook_partners WHERE name = %s",
        [require_partner_name(name)],
        purpose="partner",
    )
    if not rows:
        raise unknown_partner(name)
    return int(rows[0]["id"])


async def names_by_id(db: Database) -> dict[int, str]:
    """The names of all partners; opens no secret."""
    rows = await db.fetch("SELECT id, name FROM webhook_partners", purpose="partners")
    return {int(row["id"]): row["name"] for row in rows}


async def set_active(db: Database, name: str, active: bool) -> None:
    """Let it send, or no longer; seen everywhere within ``WEBHOOK_PARTNER_CACHE_S``.

    Raises ``NotFound``, ``DatabaseUnavailable``.
    """
    changed = await db.execute(
        f"""UPDATE webhook_partners SET is_active = %s, updated_at = {db.dialect.now}
            WHERE name = %s""",
        [int(active), require_partner_name(name)],
        purpose="partner_update",
    )
    if changed == 0:
        raise unknown_partner(name)


async def update(db: Database, sealer: Sealer, name: str, changes: PartnerChanges) -> Partner:
    """Change what a partner may touch, or how much it may send; returns it as it is then.

    Raises ``InvalidInput``, ``NotFound``, ``Misconfigured``, ``DatabaseUnavailable``.
    """
    check_rate_limit(changes.rate_limit_requests)

    async def unit() -> Partner:
        async with db.transaction(read_committed=True) as conn:
            before = await read_by_id(db, sealer, await lock_partner(db, name, conn), conn)
            all_farms, farm_ids = changed_reach(before, changes)
            await check_farms_exist(db, farm_ids - before.farm_ids, conn)
            categories, limit = changes.may_edit_categories, changes.rate_limit_requests
            if limit is None and not changes.default_rate_limit:
                limit = before.rate_limit_requests
            await db.execute(
                f"""UPDATE webhook_partners
                    SET all_farms = %s, farm_ids = %s, may_edit_categories = %s,
                        rate_limit_requests = %s, updated_at = {db.dialect.now}
                    WHERE id = %s""",
                [
                    int(all_farms),
                    _farm_column(farm_ids),
                    int(before.may_edit_categories if categories is None else categories),
                    limit,
                    before.id,
                ],
                purpose="partner_update",
                conn=conn,
            )
            return await read_by_id(db, sealer, before.id, conn)

    return await retrying(unit)


def _farm_column(farm_ids: Collection[int]) -> str:
    return orjson.dumps(sorted(set(farm_ids))).decode()


@contextmanager
def _unique_name(name: str) -> Iterator[None]:
    try:
        yield
    except DuplicateKey:
        raise Conflict(f"There already is a partner {name}.") from None
