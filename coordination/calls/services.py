"""Which partners' services there are and how patient we are with each: ``PARTNER_SERVICES``.

A part of the settings, so it imports nothing of ours but what those of tokens are made of.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Self
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from coordination.tokens.providers import ProviderName

__all__ = ["PartnerService", "ServiceName", "parse_services"]

# A part of keys, labels and commands.
ServiceName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Millis = Annotated[int, Field(gt=0, le=600_000)]


class PartnerService(BaseModel):
    """One service of a partner."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    """Paths are put behind it."""
    provider: ProviderName | None = None
    """Whose access tokens the calls carry; none: they carry none."""
    deadline_ms: Millis = 10_000
    """For a whole call: waits, tokens and all attempts."""
    attempt_ms: Millis = 3_000
    """For one request, to the last byte of its answer."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Calls at once per process. Each occupies one of a worker's threads: stay well below those."""
    wait_ms: Annotated[int, Field(ge=0, le=60_000)] = 250
    """How long a call waits for its place among them before it fails."""

    @field_validator("base_url")
    @classmethod
    def _is_plain_http(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            raise ValueError("is no URL") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must begin with http:// or https:// and name a host")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must hold no credentials, query or fragment")
        return value.rstrip("/")

    @property
    def keeps_secrets(self) -> bool:
        """Whether tokens sent there travel encrypted, or do not leave this machine."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "https" or _is_loopback(parts.hostname or "")

    @model_validator(mode="after")
    def _deadline_covers_an_attempt(self) -> Self:
        if self.attempt_ms > self.deadline_ms:
            raise ValueError("attempt_ms must not exceed deadline_ms")
        return self


def parse_services(text: str) -> object:
    """The object of a JSON text. Raises ``ValueError`` that repeats nothing of the text."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("is no JSON") from None
    if not isinstance(value, dict):
        raise ValueError(  # noqa: TRY004 - what pydantic turns into a message
            'must be a JSON object such as {"supply": {"base_url": "https://…"}}'
        )
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
