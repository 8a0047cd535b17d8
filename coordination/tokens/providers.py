"""What ``OAUTH_PROVIDERS`` says of those who give partners' tokens. Pure: asks nobody anything.

The variable is a JSON object: a name of ours for each provider, and how to ask it.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

__all__ = ["OAuthProvider", "ProviderName", "parse_providers"]

ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]


class OAuthProvider(BaseModel):
    """One provider of tokens by client credentials (RFC 6749, 4.4)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_url: Annotated[str, Field(max_length=2_048)]
    client_id: Annotated[str, Field(min_length=1, max_length=256)]
    client_secret: Annotated[SecretStr, Field(min_length=1, max_length=2_048)]
    scope: Annotated[str, Field(max_length=2_048)] = ""
    audience: Annotated[str, Field(max_length=2_048)] = ""
    """Not in the RFC, and asked for by many."""
    client_auth: Literal["basic", "form"] = "basic"
    """How we say who we are: every provider must take ``basic`` (RFC 6749, 2.3.1), some do not."""
    default_expires_in_s: Annotated[int, Field(gt=0, le=86_400)] = 300
    """How long a token is good whose life the provider does not tell."""

    @field_validator("token_url")
    @classmethod
    def _is_plain_url(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            raise ValueError("is no URL") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must begin with https:// (or http://) and name a host")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("must hold neither credentials nor a fragment")
        return value

    @property
    def keeps_secrets(self) -> bool:
        """Whether the credentials travel encrypted, or do not leave this machine."""
        parts = urlsplit(self.token_url)
        return parts.scheme == "https" or _is_loopback(parts.hostname or "")


def parse_providers(text: str) -> Mapping[str, object]:
    """The object of a JSON text. Raises ``ValueError`` that repeats nothing of the text."""
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(  # noqa: TRY004 - what pydantic turns into a message
            'must be a JSON object such as {"supply": {"token_url": …, "client_id": …,'
            ' "client_secret": …}}'
        )
    return value


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("names a member twice")
    return members


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
