"""What a partner may touch and how much it may send: checked before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from coordination.errors import FieldError, InvalidInput
from models.database import Connection, Database
from models.partners.records import Partner
from models.placeholders import placeholders

__all__ = [
    "PartnerChanges",
    "changed_reach",
    "check_farms_exist",
    "check_overlap",
    "check_rate_limit",
    "farm_ids_of",
]

_MOST_FARMS: Final = 5_000
"""Their list must fit its column; who needs more may touch all."""
_MOST_REQUESTS: Final = 1_000_000_000
_MOST_OVERLAP_S: Final = 365 * 86_400
_MOST_ID: Final = 2**63 - 1
_ID_PREFIX: Final = "id:"


@dataclass(frozen=True, slots=True)
class PartnerChanges:
    """What shall change of a partner; everything left out stays."""

    all_farms: bool = False
    farms: Collection[int] | None = None
    """These instead of those it had."""
    add_farms: Collection[int] = ()
    remove_farms: Collection[int] = ()
    may_edit_categories: bool | None = None
    rate_limit_requests: int | None = None
    default_rate_limit: bool = False


def check_rate_limit(requests: int | None) -> None:
    """Raises ``InvalidInput`` for a limit that would let nothing through or cannot be stored."""
    if requests is not None and not 1 <= requests <= _MOST_REQUESTS:
        raise _wrong("/rate_limit_requests", f"must be from 1 to {_MOST_REQUESTS:,}")


def check_overlap(overlap_s: int) -> None:
    """Raises ``InvalidInput`` unless old secrets end now or within a year."""
    if not 0 <= overlap_s <= _MOST_OVERLAP_S:
        raise _wrong("/overlap", f"must be from 0 s to {_MOST_OVERLAP_S // 86_400} days")


def changed_reach(before: Partner, changes: PartnerChanges) -> tuple[bool, frozenset[int]]:
    """Whether all farms, and else which, a partner may touch after these changes.

    Raises ``InvalidInput`` for changes that contradict each other or what it has.
    """
    piecewise = bool(changes.add_farms or changes.remove_farms)
    if changes.all_farms + (changes.farms is not None) + piecewise > 1:
        raise _wrong("/farms", "either all, or these, or what to add and remove")
    if changes.all_farms:
        return True, frozenset()
    if changes.farms is not None:
        return False, frozenset(changes.farms)
    if piecewise and before.all_farms:
        raise _wrong("/farms", f"{before.name} may touch all farms: say which ones instead")
    if absent := set(changes.remove_farms) - before.farm_ids:
        named = ", ".join(str(farm_id) for farm_id in sorted(absent))
        raise _wrong("/farms", f"{before.name} may not touch {named} as it is")
    added = before.farm_ids | frozenset(changes.add_farms)
    return before.all_farms, added - frozenset(changes.remove_farms)


async def check_farms_exist(
    db: Database, farm_ids: Collection[int], conn: Connection | None = None
) -> None:
    """Raises ``InvalidInput`` naming ids that no farm has, or when they are too many."""
    wanted = sorted(set(farm_ids))
    if len(wanted) > _MOST_FARMS:
        raise _wrong("/farms", f"must be {_MOST_FARMS:,} at most; or let it touch all")
    if not wanted:
        return
    rows = await db.fetch(
        f"SELECT id FROM farms WHERE id IN ({placeholders(wanted)})",
        wanted,
        purpose="farms",
        conn=conn,
    )
    if absent := set(wanted) - {int(row["id"]) for row in rows}:
        named = ", ".join(str(farm_id) for farm_id in sorted(absent))
        raise _wrong("/farms", f"there is no farm {named}")


async def farm_ids_of(db: Database, names: Sequence[str]) -> list[int]:
    """The ids of farms that people name by our id or the farm's external id.

    ``id:12`` is always our id. Raises ``InvalidInput`` for a name that no farm has, and for one
    that is the id of one farm and the external id of another.
    """
    wrong: list[FieldError] = []
    found: dict[int, None] = {}
    for name in names:
        candidates = await _farms_called(db, name)
        if len(candidates) == 1:
            found[candidates[0]] = None
        elif candidates:
            both = " or ".join(f"{_ID_PREFIX}{farm_id}" for farm_id in candidates)
            wrong.append(
                _error("/farms", f"{name} is one farm's id and another's name: say {both}")
            )
        else:
            wrong.append(_error("/farms", f"no farm has the id or external id {name!r}"))
    if wrong:
        raise InvalidInput(wrong)
    return list(found)


async def _farms_called(db: Database, name: str) -> list[int]:
    if not name.isprintable():
        return []  # bytes of a shell that are no text, which no column could hold
    only_id = name.startswith(_ID_PREFIX)
    digits = name.removeprefix(_ID_PREFIX)
    own_id = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else 0
    rows = await db.fetch(
        "SELECT id FROM farms WHERE id = %s OR external_id = %s ORDER BY id",
        [own_id if own_id <= _MOST_ID else 0, None if only_id else name],
        purpose="farms",
    )
    return [int(row["id"]) for row in rows]


def _error(pointer: str, detail: str) -> FieldError:
    return FieldError("pointer", pointer, detail)


def _wrong(pointer: str, detail: str) -> InvalidInput:
    return InvalidInput([_error(pointer, detail)])
