"""The sandbox's Sanic app: which handler answers what. Small limits, no state of its own."""

from __future__ import annotations

from typing import Any, Final

from sanic import HTTPResponse, Request, Sanic
from sanic.config import Config

from ops.sandbox.control import Control
from ops.sandbox.endpoints import PartnerEndpoints
from ops.sandbox.faults import json_answer
from ops.sandbox.index import index
from ops.sandbox.settings import SandboxSettings

__all__ = ["create_app"]

_MOST_BYTES: Final = 1_048_576
# Beyond the longest latency a knob allows; a hang is ended by the client.
_LONGEST_ANSWER_S: Final = 3_600


def create_app(
    settings: SandboxSettings, endpoints: PartnerEndpoints, control: Control
) -> Sanic[Any, Any]:
    """Wire everything to the handlers."""
    app: Sanic[Any, Any] = Sanic(
        "farmlokal-sandbox", config=_config(), configure_logging=False, strict_slashes=True
    )

    async def root(request: Request) -> HTTPResponse:
        return json_answer(index(settings, f"http://{request.host}"))

    app.add_route(root, "/", name="index")
    app.add_route(endpoints.token, "/oauth/token", methods=["POST"], name="token")
    app.add_route(
        endpoints.availability,
        "/supply/v1/products/<sku:str>/availability",
        name="availability",
        unquote=True,
    )
    app.add_route(control.knobs, "/sandbox/knobs", methods=["GET", "PUT", "DELETE"], name="knobs")
    app.add_route(control.log, "/sandbox/log", methods=["GET", "DELETE"], name="log")
    app.add_route(control.revoke, "/sandbox/revoke", methods=["POST"], name="revoke")
    app.add_route(control.webhooks, "/sandbox/webhooks", methods=["GET", "POST"], name="webhooks")
    return app


def _config() -> Config:
    config = Config()
    config.update(
        {
            "ACCESS_LOG": False,
            "AUTO_EXTEND": False,
            "FALLBACK_ERROR_FORMAT": "json",
            "KEEP_ALIVE_TIMEOUT": 75,
            "MOTD": False,
            "REQUEST_MAX_SIZE": _MOST_BYTES,
            "REQUEST_TIMEOUT": 30,
            "RESPONSE_TIMEOUT": _LONGEST_ANSWER_S,
        }
    )
    return config
