"""What people and tests say to the sandbox itself: knobs, log, revocation, one webhook now.

These answers have no faults. Bodies must be JSON by media type too, so that no web page that a
browser happens to show can send one without asking first.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sanic import HTTPResponse, Request

from coordination.errors import InvalidInput
from models.webhooks.schemes import Scheme
from ops.sandbox.deliveries import Courier, Deliveries, Sign
from ops.sandbox.endpoints import PartnerEndpoints
from ops.sandbox.events import Event, new_event_id, now_text
from ops.sandbox.faults import json_answer
from ops.sandbox.knobs import KnobChange
from ops.sandbox.settings import SandboxSettings

__all__ = ["Control"]

B = TypeVar("B", bound=BaseModel)
EventId = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]


class _WebhookNow(BaseModel):
    """An event to send at once. What is left out is the sandbox's own."""

    model_config = ConfigDict(extra="forbid")

    type: Annotated[str, Field(max_length=64)]
    data: dict[str, Any]
    id: EventId = Field(default_factory=new_event_id)
    occurred_at: str = Field(default_factory=now_text)
    scheme: Scheme | None = None
    partner: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] | None = None
    secret: str | None = None


class Control:
    """The handlers of ``/sandbox/``."""

    def __init__(
        self,
        settings: SandboxSettings,
        endpoints: PartnerEndpoints,
        courier: Courier | None,
        deliveries: Deliveries,
    ) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._courier = courier
        self._deliveries = deliveries

    async def knobs(self, request: Request) -> HTTPResponse:
        """``GET``, ``PUT`` and ``DELETE /sandbox/knobs``; each answers them as they then stand."""
        if request.method == "PUT":
            change = _read(request, KnobChange)
            if isinstance(change, HTTPResponse):
                return change
            if change.oauth is not None:
                self._endpoints.oauth.set(change.oauth)
            if change.supply is not None:
                self._endpoints.supply.set(change.supply)
        elif request.method == "DELETE":
            self._endpoints.oauth.reset()
            self._endpoints.supply.reset()
        return json_answer(
            {"oauth": self._endpoints.oauth.shown(), "supply": self._endpoints.supply.shown()}
        )

    async def log(self, request: Request) -> HTTPResponse:
        """``GET`` and ``DELETE /sandbox/log``."""
        if request.method == "DELETE":
            self._endpoints.log.clear()
            self._endpoints.issuer.requests.clear()
        clients = dict(self._endpoints.issuer.requests)
        return json_answer({**self._endpoints.log.shown(), "token_requests": clients})

    async def revoke(self, request: Request) -> HTTPResponse:
        """``POST /sandbox/revoke``: every token issued so far is invalid."""
        return json_answer({"revoked": self._endpoints.issuer.revoke_all()})

    async def webhooks(self, request: Request) -> HTTPResponse:
        """``GET /sandbox/webhooks``: what was sent; ``POST``: send one event, once."""
        if request.method == "GET":
            return json_answer(self._deliveries.shown())
        if self._courier is None:
            return _fault(409, "The sandbox was started without SANDBOX_API_URL.")
        wanted = _read(request, _WebhookNow)
        if isinstance(wanted, HTTPResponse):
            return wanted
        by = Sign(
            wanted.partner or self._settings.partner,
            wanted.scheme or self._settings.scheme,
            wanted.secret or self._settings.webhook_secret,
        )
        event = Event(wanted.type, wanted.data, wanted.id, wanted.occurred_at)
        delivery = self._deliveries.begin(event, on_purpose="by hand")
        try:
            answer = await self._courier.attempt(delivery, event, by)
        except InvalidInput as error:
            return _fault(400, str(error))
        self._deliveries.ended_after(delivery, answer)
        if answer is None:
            return _fault(502, f"The API gave no answer: {delivery.problem}")
        return json_answer({"id": event.id, "status": answer.status, "answer": answer.body})


def _read(request: Request, model: type[B]) -> B | HTTPResponse:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return _fault(415, "The body must be application/json.")
    try:
        return model.model_validate_json(request.body)
    except ValidationError as error:
        places = [
            f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        return _fault(400, "; ".join(places))


def _fault(status: int, text: str) -> HTTPResponse:
    return json_answer({"error": text}, status)
