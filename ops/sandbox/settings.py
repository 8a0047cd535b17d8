"""The sandbox's own settings: environment variables that begin with ``SANDBOX_``.

It listens on this machine only unless told otherwise: whoever reaches it may have webhooks signed.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.signatures.signing import sign
from coordination.errors import InvalidInput, Misconfigured
from coordination.partner_urls import is_loopback
from coordination.settings import FROM_ENVIRONMENT
from models.webhooks.schemes import Scheme
from ops.sandbox.knobs import OauthKnobs, SupplyKnobs

__all__ = ["SandboxSettings", "load_sandbox_settings"]

_PREFIX: Final = "SANDBOX_"
_CLIENT_SECRET: Final = "sandbox-client-secret"  # noqa: S105 - of a server that guards nothing
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]


class SandboxSettings(BaseSettings):
    """One immutable value per process. ``SANDBOX_OAUTH`` and ``SANDBOX_SUPPLY`` are JSON."""

    model_config = SettingsConfigDict(**FROM_ENVIRONMENT, env_prefix=_PREFIX)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8_100
    allow_remote: bool = False
    """Whether ``host`` may be an address that other machines reach."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    seed: int = 1
    """Of availability, errors by chance and the choice of events; never of ids or tokens."""

    client_id: Annotated[str, Field(min_length=1, max_length=128)] = "farmlokal"
    client_secret: Annotated[str, Field(min_length=8, max_length=256, repr=False)] = _CLIENT_SECRET
    oauth: OauthKnobs = OauthKnobs()
    supply: SupplyKnobs = SupplyKnobs()

    api_url: str = ""
    """Whose products the webhooks are about; empty: none are sent by themselves."""
    partner: Name = "sandbox"
    scheme: Scheme = Scheme.STANDARD
    webhook_secret: Annotated[str, Field(repr=False)] = ""
    webhook_every_ms: Annotated[int, Field(ge=10, le=3_600_000)] = 2_000
    webhook_duplicates: Annotated[float, Field(ge=0, le=1)] = 0.05
    """The share of accepted events that is sent once more, as real senders do."""
    webhook_timeout_ms: Annotated[int, Field(ge=100, le=60_000)] = 10_000

    @field_validator("api_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.allow_remote and not is_loopback(self.host):
            raise ValueError(
                "SANDBOX_HOST is no loopback address; whoever reaches the sandbox can have webhooks"
                " signed. SANDBOX_ALLOW_REMOTE=1 allows it"
            )
        if self.api_url and not self.webhook_secret:
            raise ValueError("SANDBOX_WEBHOOK_SECRET must be set where SANDBOX_API_URL is")
        if self.webhook_secret:
            try:
                sign(self.scheme, self.webhook_secret, b"", event_id="trial", now_s=0)
            except InvalidInput as error:
                raise ValueError(f"SANDBOX_WEBHOOK_SECRET cannot sign: {error}") from None
        return self


def load_sandbox_settings() -> SandboxSettings:
    """Read and validate them. Raises ``Misconfigured`` naming each wrong variable."""
    try:
        return SandboxSettings()
    except ValidationError as error:
        lines = [
            f"{_variable(item['loc'])}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise Misconfigured("Settings are wrong:\n  " + "\n  ".join(lines)) from None


def _variable(location: tuple[int | str, ...]) -> str:
    if not location:
        return "settings"
    first, *inner = (str(part) for part in location)
    return _PREFIX + first.upper().removeprefix(_PREFIX) + "".join(f".{part}" for part in inner)
