"""What ``OAUTH_PROVIDERS`` says of those who give partners' tokens. Pure: asks nobody anything.

The variable is a JSON object: a name of ours for each provider, and how to ask it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from coordination.json_settings import parse_object
from coordination.partner_urls import check_http_url, keeps_secrets

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
        check_http_url(value)
        return value

    @property
    def keeps_secrets(self) -> bool:
        """Whether the credentials travel encrypted, or do not leave this machine."""
        return keeps_secrets(self.token_url)


def parse_providers(text: str) -> Mapping[str, object]:
    """The object of a JSON text. Raises ``ValueError`` that repeats nothing of the text."""
    example = '{"supply": {"token_url": …, "client_id": …, "client_secret": …}}'
    return parse_object(text, example)
