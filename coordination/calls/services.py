"""Which partners' services there are and how patient we are with each: ``PARTNER_SERVICES``.

A part of the settings, so it imports nothing of ours but what those of tokens are made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from coordination.json_settings import parse_object
from coordination.partner_urls import check_http_url, keeps_secrets
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
        check_http_url(value)
        if urlsplit(value).query:
            raise ValueError("must hold no query")
        return value.rstrip("/")

    @property
    def keeps_secrets(self) -> bool:
        """Whether tokens sent there travel encrypted, or do not leave this machine."""
        return keeps_secrets(self.base_url)

    @model_validator(mode="after")
    def _deadline_covers_an_attempt(self) -> Self:
        if self.attempt_ms > self.deadline_ms:
            raise ValueError("attempt_ms must not exceed deadline_ms")
        return self


def parse_services(text: str) -> Mapping[str, object]:
    """The object of a JSON text. Raises ``ValueError`` that repeats nothing of the text."""
    return parse_object(text, '{"supply": {"base_url": "https://…"}}')
