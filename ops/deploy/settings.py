"""The deployment's own settings: environment variables that begin with ``DEPLOY_``.

Where the proxy is comes from the variables that its configuration reads, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from coordination.errors import Misconfigured
from coordination.settings import FROM_ENVIRONMENT

__all__ = ["DeploySettings", "load_deploy_settings"]

_PREFIX: Final = "DEPLOY_"
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class DeploySettings(BaseSettings):
    """One immutable value per command."""

    model_config = SettingsConfigDict(**FROM_ENVIRONMENT, env_prefix=_PREFIX)

    proxy_socket: Annotated[Path, Field(validation_alias="FARMLOKAL_PROXY_SOCKET")] = Path(
        "/run/haproxy/farmlokal.sock"
    )
    proxy_state: Annotated[Path, Field(validation_alias="FARMLOKAL_PROXY_STATE")] = Path(
        "/var/lib/farmlokal/haproxy.state"
    )
    web: Annotated[int, Field(ge=1, le=64)] = 2
    """Web processes of a colour; each takes one of its slots."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    ready_timeout_s: Seconds = 60
    """How long a colour may take until all of it is ready."""
    ready_checks: Annotated[int, Field(ge=1, le=100)] = 3
    """Strict answers in a row that each web process must give."""
    smoke: str = "/v1/products?limit=1,/v1/categories"
    """Paths, comma-separated, that each web process must answer with 200 before it serves."""
    shift_watch_s: Seconds = 1.5
    """How long both colours serve: the proxy's own checks of the new one must have come."""
    drain_timeout_s: Seconds = 45
    """How long to wait for the old colour's requests: above the proxy's ``timeout server``."""

    @property
    def smoke_paths(self) -> tuple[str, ...]:
        """``smoke`` taken apart."""
        return tuple(path.strip() for path in self.smoke.split(",") if path.strip())


def load_deploy_settings() -> DeploySettings:
    """Read and validate them. Raises ``Misconfigured`` naming each wrong variable."""
    try:
        return DeploySettings()
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, item['loc'])).upper()}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise Misconfigured("Settings are wrong:\n  " + "\n  ".join(lines)) from None
