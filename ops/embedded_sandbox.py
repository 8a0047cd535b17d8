"""The partner sandbox that `make run` brings along: whether, where, under which name and secrets.

It is for one person who tries things on one machine. Its partner may touch every farm, so it is
never part of production, and no part of a database that was named unless asked for.
"""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass, field
from typing import Final

import orjson

from coordination.errors import Misconfigured
from coordination.sealing import Sealer
from coordination.settings import Settings
from models.database import open_database
from models.partners import partners
from models.partners.partners import Partner
from models.webhooks.schemes import Scheme, new_secret
from ops.addresses import base_url
from ops.child import Program
from ops.embedded_redis import free_port
from ops.home import Home
from ops.sandbox.settings import load_sandbox_settings

__all__ = [
    "PARTNER",
    "SERVICE",
    "Place",
    "calls_to",
    "find_place",
    "is_wanted",
    "register",
]

PARTNER: Final = "sandbox"
SERVICE: Final = "supply"
_WEBHOOK_SECRET: Final = "sandbox_webhook_secret"  # noqa: S105 - a file's name
_CLIENT_SECRET: Final = "sandbox_client_secret"  # noqa: S105 - the same
# Whoever signed by the former secret, a sandbox of another home, may go on for so long.
_OVERLAP_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sandbox will listen, and what its clients have to say."""

    host: str
    port: int
    client_id: str
    client_secret: str = field(repr=False)

    @property
    def url(self) -> str:
        """Where a client on this machine finds it, with the closing slash."""
        return base_url(self.host, self.port) + "/"


def is_wanted(settings: Settings, asked: bool | None) -> bool:
    """``asked``: what the operator said, if anything. Raises ``Misconfigured`` in production."""
    if settings.environment == "production":
        if asked:
            raise Misconfigured("The sandbox is no part of production: leave --sandbox out.")
        return False
    return not settings.database_url if asked is None else asked


def find_place(home: Home) -> Place:
    """A port, unless ``SANDBOX_PORT`` names one, and credentials, kept in ``home``."""
    given = load_sandbox_settings()
    named = given.model_fields_set
    return Place(
        host=given.host,
        port=given.port if "port" in named else free_port(),
        client_id=given.client_id,
        client_secret=given.client_secret
        if "client_secret" in named
        else home.keep_secret(_CLIENT_SECRET, lambda: secrets.token_urlsafe(32)),
    )


def calls_to(place: Place) -> dict[str, str]:
    """The variables by which our processes ask it for tokens and for availability."""
    provider = {
        "token_url": f"{place.url}oauth/token",
        "client_id": place.client_id,
        "client_secret": place.client_secret,
    }
    service = {"base_url": f"{place.url}supply", "provider": PARTNER}
    return {
        "OAUTH_PROVIDERS": orjson.dumps({PARTNER: provider}).decode(),
        "PARTNER_SERVICES": orjson.dumps({SERVICE: service}).decode(),
        "SUPPLY_SERVICE": SERVICE,
    }


async def register(settings: Settings, home: Home, place: Place, api_url: str) -> Program:
    """See to it that the partner is known with the secret of ``home``; returns what to run.

    A partner that an operator has changed stays as it is, but for one more secret. Raises
    ``DatabaseUnavailable``, ``Misconfigured``.
    """
    db = await open_database(settings)
    try:
        sealer = Sealer(settings.sealing_secret)
        partner = await partners.find(db, sealer, PARTNER)
        scheme = partner.scheme if partner else Scheme.STANDARD
        secret = home.keep_secret(_WEBHOOK_SECRET, lambda: new_secret(scheme))
        if partner is None:
            await partners.add(
                db,
                sealer,
                name=PARTNER,
                scheme=scheme,
                secret=secret,
                farms=None,
                may_edit_categories=True,
            )
        elif not _has(partner, secret):
            await partners.rotate(db, sealer, PARTNER, overlap_s=_OVERLAP_S, secret=secret)
    finally:
        await db.close()
    return Program(
        "sandbox",
        (sys.executable, "-m", "ops.sandbox"),
        {
            "PYTHONUNBUFFERED": "1",
            "SANDBOX_PORT": str(place.port),
            "SANDBOX_CLIENT_SECRET": place.client_secret,
            "SANDBOX_API_URL": api_url,
            "SANDBOX_PARTNER": PARTNER,
            "SANDBOX_SCHEME": scheme.value,
            "SANDBOX_WEBHOOK_SECRET": secret,
        },
    )


def _has(partner: Partner, secret: str) -> bool:
    return any(known.value == secret for known in partner.secrets)
