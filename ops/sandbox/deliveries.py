"""One webhook on its way: signed anew for each attempt, posted, and what the API said to it.

It owns the client, with a timeout on every call, and the record of the last deliveries. Whether to
try again is the sender's affair.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import httpx
import orjson

from api.signatures.signing import sign
from models.webhooks.schemes import Scheme
from ops.sandbox.events import Event

__all__ = ["Answer", "Courier", "Deliveries", "Delivery", "Sign"]

_KEPT: Final = 200
_AGAIN: Final = (408, 425, 429)
Outcome = Literal["open", "accepted", "repeated", "refused", "given_up"]


@dataclass(frozen=True, slots=True)
class Sign:
    """As whom to send, and how to prove it."""

    partner: str
    scheme: Scheme
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said to one attempt. ``body`` is parsed where it is JSON."""

    status: int
    body: object
    retry_after_s: float | None

    @property
    def outcome(self) -> Outcome:
        """How a delivery ends that gets this answer; ``open``: it should be tried again."""
        if self.status == 202:
            return "accepted"
        if 200 <= self.status < 300:
            return "repeated"
        return "open" if self.status in _AGAIN or self.status >= 500 else "refused"

    @property
    def receipt(self) -> str | None:
        """The receipt of an accepted event."""
        found = self.body.get("receipt") if isinstance(self.body, dict) else None
        return found if isinstance(found, str) else None


@dataclass(slots=True)
class Delivery:
    """An event and what became of it, under one id."""

    id: str
    type: str
    occurred_at: str
    data: Mapping[str, object]
    at: datetime
    outcome: Outcome = "open"
    attempts: int = 0
    status: int | None = None
    receipt: str | None = None
    problem: str | None = None
    on_purpose: str | None = None


class Deliveries:
    """The last deliveries and how all of them ended."""

    def __init__(self) -> None:
        self._kept: deque[Delivery] = deque(maxlen=_KEPT)
        self.counters: Counter[str] = Counter()

    def begin(self, event: Event, on_purpose: str | None = None) -> Delivery:
        """List a delivery; ``on_purpose`` says why it is no ordinary one."""
        delivery = Delivery(
            event.id,
            event.type,
            event.occurred_at,
            event.data,
            datetime.now(UTC),
            on_purpose=on_purpose,
        )
        self._kept.append(delivery)
        return delivery

    def attempted(self, delivery: Delivery, answer: Answer | None, problem: str | None) -> None:
        """Note one attempt: an answer, or why there was none."""
        delivery.attempts += 1
        delivery.status = answer.status if answer else None
        delivery.receipt = answer.receipt if answer else None
        delivery.problem = problem
        self.counters["attempts"] += 1

    def ended(self, delivery: Delivery, outcome: Outcome) -> None:
        """Note how it ended."""
        delivery.outcome = outcome
        self.counters[outcome] += 1

    def ended_after(self, delivery: Delivery, only: Answer | None) -> None:
        """Note the end of a delivery that has a single attempt."""
        outcome = only.outcome if only else "open"
        self.ended(delivery, "given_up" if outcome == "open" else outcome)

    def shown(self) -> dict[str, object]:
        """Oldest first."""
        return {
            "counters": dict(self.counters),
            "deliveries": [asdict(delivery) for delivery in self._kept],
        }


class Courier:
    """Speaks to one API and records what came of it. ``close`` may be called twice."""

    def __init__(self, api_url: str, timeout_ms: int, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._client = httpx.AsyncClient(
            base_url=api_url,
            timeout=timeout_ms / 1000,
            # A proxy of the environment has no business between two processes of one machine.
            trust_env=False,
            headers={"user-agent": "FarmLokal-partner-sandbox"},
        )

    async def attempt(self, delivery: Delivery, event: Event, by: Sign) -> Answer | None:
        """One attempt, signed now; ``None`` when no answer came (``delivery.problem`` says why).

        Raises ``InvalidInput`` for a secret that cannot sign by this scheme.
        """
        body = event.body()
        signed = sign(by.scheme, by.secret, body, event_id=event.id, now_s=time.time())
        answer, problem = None, None
        try:
            response = await self._client.post(
                f"/v1/webhooks/{by.partner}",
                content=body,
                headers={"content-type": "application/json", **signed},
            )
            answer = Answer(response.status_code, _parsed(response), _retry_after_s(response))
        except httpx.TransportError as error:
            problem = repr(error)
        self._deliveries.attempted(delivery, answer, problem)
        return answer

    async def is_ready(self) -> bool:
        """Whether the API answers its readiness by 200."""
        try:
            return (await self._client.get("/health/ready")).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    async def products(self, limit: int) -> list[Mapping[str, Any]]:
        """The oldest products. Raises ``httpx.HTTPError`` when they cannot be had."""
        # The newest are what people who try the API make, and they would wonder.
        query = {"sort": "created_at", "order": "asc", "limit": str(limit)}
        answer = await self._client.get("/v1/products", params=query)
        answer.raise_for_status()
        page: list[Mapping[str, Any]] = answer.json()["data"]
        return page

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()


def _parsed(answer: httpx.Response) -> object:
    try:
        return orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return answer.text


def _retry_after_s(answer: httpx.Response) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None
