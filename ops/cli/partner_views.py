"""How partners and their secrets look on a terminal and in JSON; never a secret itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from models.partners.partners import Partner, Secret
from ops.cli.tables import print_table

__all__ = ["facts", "print_partners", "rotation_advice", "say"]

_FARMS_SHOWN: Final = 5


def facts(partner: Partner) -> dict[str, object]:
    """What may be shown of a partner, for programs."""
    now = datetime.now(UTC)
    return {
        "id": partner.id,
        "name": partner.name,
        "scheme": partner.scheme.value,
        "active": partner.is_active,
        "all_farms": partner.all_farms,
        "farm_ids": sorted(partner.farm_ids),
        "may_edit_categories": partner.may_edit_categories,
        "rate_limit_requests": partner.rate_limit_requests,
        "created_at": partner.created_at,
        "updated_at": partner.updated_at,
        "secrets": [
            {
                "fingerprint": secret.fingerprint,
                "valid": _is_valid(secret, now),
                "created_at": secret.created_at,
                "expires_at": secret.expires_at,
                "last_matched_at": secret.last_matched_at,
            }
            for secret in partner.secrets
        ],
    }


def print_partners(partners: Sequence[Partner]) -> None:
    """A table of partners, and one of their secrets, newest first; times are UTC."""
    who = Table("partner", "scheme", "state", "farms", "categories", "limit", box=box.SIMPLE)
    heads = ("partner", "secret", "created (UTC)", "expires", "last matched")
    secrets = Table(*heads, box=box.SIMPLE)
    now = datetime.now(UTC)
    for partner in partners:
        who.add_row(
            partner.name,
            partner.scheme.value,
            "active" if partner.is_active else "disabled",
            _farms(partner),
            "yes" if partner.may_edit_categories else "no",
            f"{partner.rate_limit_requests:,}" if partner.rate_limit_requests else "default",
        )
        for secret in partner.secrets:
            expires = "-" if secret.expires_at is None else _moment(secret.expires_at)
            if not _is_valid(secret, now):
                expires = f"expired {expires}"
            secrets.add_row(
                partner.name,
                secret.fingerprint,
                _moment(secret.created_at),
                expires,
                _matched(secret),
            )
    print_table(who)
    print_table(secrets)


def rotation_advice(partner: Partner) -> str:
    """How long the older secrets go on, and how to tell when they may go."""
    newest, *older = partner.secrets
    lines = [f"Partner {partner.name} has a new secret, {newest.fingerprint}, valid at once."]
    if not older:
        return f"{lines[0]} The older ones have ended."
    for secret in older:
        until = "" if secret.expires_at is None else f" until {_moment(secret.expires_at)} UTC"
        lines.append(
            f"  {secret.fingerprint} stays valid{until}, last matched: {_matched(secret)}."
        )
    lines.append(
        "`farmlokal partners list` shows which secret last matched. Once the new one does and the"
        " old no longer, you may end the old at once:"
    )
    lines.extend(f"  farmlokal partners expire {partner.name} {s.fingerprint}" for s in older)
    return "\n".join(lines)


def say(text: str) -> None:
    """For people, on stderr, so that what programs want is alone on stdout."""
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)


def _is_valid(secret: Secret, now: datetime) -> bool:
    return secret.expires_at is None or secret.expires_at > now


def _farms(partner: Partner) -> str:
    if partner.all_farms:
        return "all"
    ids = [str(farm_id) for farm_id in sorted(partner.farm_ids)]
    more = f" and {len(ids) - _FARMS_SHOWN} more" if len(ids) > _FARMS_SHOWN else ""
    return ", ".join(ids[:_FARMS_SHOWN]) + more or "none"


def _matched(secret: Secret) -> str:
    return "never" if secret.last_matched_at is None else _moment(secret.last_matched_at)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
