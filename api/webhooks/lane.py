"""The lane of deliveries: those that are plain in every way, taken in before a request is made.

To make a request of a delivery, route it and join its answer's headers costs more than to verify
and store it. So one that came whole, is signed by a partner at hand and is usual in every way goes
straight to the limiter and to the intake, by the same functions as all others. Whatever is not that
takes the ordinary way before anything was counted; what turns out to be no plain 202 takes it
afterwards, and what came of it goes along, so that nothing is asked, counted or stored twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from dataclasses import dataclass
from typing import Final, NamedTuple

from api.completed import completed
from api.context import Web
from api.lanes.passenger import Passenger
from api.problems import HttpProblem
from api.request_ids import accepted_id
from api.signatures import Offered, Verified, verify, waste_time
from api.webhooks.arrival import event_type
from api.webhooks.outcomes import ACCEPTED, Taken, limit_of
from api.webhooks.receipts import accepted_message
from coordination.errors import InvalidInput
from coordination.logs import bind_request_id
from coordination.rate_limit import Verdict
from models.partners.partners import Partner
from models.webhooks import seen
from models.webhooks.intake import Delivery

__all__ = ["DeliveryLane", "Head", "read_delivery"]

_TEMPLATE: Final = "/v1/webhooks/{partner}"
_START: Final = b"POST /v1/webhooks/"
_END: Final = b"\r\n\r\n"
_LONGEST_HEAD: Final = 4_096
# ASCII alone, and nothing that parsers read differently: no folded line, no empty value.
_HEAD: Final = re.compile(
    r"POST /v1/webhooks/([a-z0-9]+(?:-[a-z0-9]+)*) HTTP/1\.1"
    r"(?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[!-~][ -~\t]*)*"
)
# What a request may have that makes another of it than it seems; the lane knows nothing of these.
_UNUSUAL: Final = frozenset(
    {
        *("content-encoding", "expect", "proxy-connection", "te", "trailer", "transfer-encoding"),
        "upgrade",
    }
)


class Head(NamedTuple):
    """What the lane reads of a delivery. ``fields``: all values of each header."""

    partner: str
    fields: dict[str, list[str]]
    body: bytes


class DeliveryLane:
    """One process's."""

    def __init__(self, web: Web) -> None:
        self._web = web
        # The loop itself keeps no task alive.
        self._passages: set[asyncio.Task[None]] = set()

    def enter(self, data: bytes, peer: str, passenger: Passenger) -> bool:
        """Take a delivery, if it can be taken; then ``passenger`` will be told what came of it."""
        started = time.perf_counter()
        web = self._web
        head = read_delivery(data, web.settings.webhook_max_bytes)
        if head is None or web.readiness.draining:
            return False
        fields = head.fields
        hops = fields.get("x-forwarded-for") if web.clients.reads_header else None
        address, identity = web.clients.identify(peer, ",".join(hops) if hops else None)
        if web.penalties.verdict_on(identity) is not None:
            return False
        sender, offered = web.partners.at_hand(head.partner), Offered(fields, head.body)
        if sender is None or not sender.is_active:
            # As much as for a partner, whose refusal takes the ordinary way, too.
            waste_time(offered)
            return False
        verified = verify(
            sender.scheme,
            offered,
            sender.secrets,
            now_s=time.time(),
            tolerance_s=web.settings.webhook_tolerance_s,
        )
        if not isinstance(verified, Verified):
            return False
        try:
            kind = event_type(head.body)
        except (HttpProblem, InvalidInput):
            return False
        web.partners.matched(verified.secret_id)
        (request_id,) = fields.get("x-request-id", (None,))
        passage = _Passage(
            web, passenger, started, address, sender, verified, kind, head.body,
            accepted_id(request_id),
        )  # fmt: skip
        web.readiness.in_flight += 1
        task = asyncio.create_task(passage.run())
        self._passages.add(task)
        task.add_done_callback(self._passages.discard)
        return True


@dataclass(slots=True)
class _Passage:
    """One delivery in the lane."""

    web: Web
    passenger: Passenger
    started: float
    address: str
    sender: Partner
    verified: Verified
    kind: str
    body: bytes
    request_id: str

    async def run(self) -> None:
        """Have it stored and answer, or leave the rest to the ordinary way."""
        bind_request_id(self.request_id)  # of this task alone
        taken = Taken(self.sender, self.verified, self.body)
        receipt: str | None = None
        try:
            receipt = await self._stored(taken)
        except Exception as error:  # noqa: BLE001, RUF100 - the ordinary way answers it
            taken.error = error
        except BaseException:
            # This process ends; so do its connections.
            self.web.readiness.in_flight -= 1
            raise
        self.web.readiness.in_flight -= 1
        if receipt is None:
            self.passenger.go_on(taken)
        else:
            self._answer(receipt, taken.verdict)

    async def _stored(self, taken: Taken) -> str | None:
        """The receipt of a new delivery; ``None``, with ``taken`` complete, for a known one."""
        web, sender, verified = self.web, self.sender, self.verified
        taken.verdict, taken.seen = await seen.admit(
            web.resources.limiter, limit_of(web.settings, sender), sender.name, verified.dedup_key
        )
        if taken.seen is not None:
            return None
        taken.stored = stored = await web.intake.accept(
            Delivery(
                partner_id=sender.id,
                dedup_key=verified.dedup_key,
                label=verified.label,
                type=self.kind,
                payload=self.body,
                body_digest=hashlib.sha256(self.body).digest(),
                request_id=self.request_id,
                partner=sender.name,
            )
        )
        return str(stored.receipt) if stored.is_new else None

    def _answer(self, receipt: str, verdict: Verdict | None) -> None:
        ACCEPTED.add()
        name = self.sender.name
        is_last = self.web.readiness.draining
        message = accepted_message(receipt, self.request_id, verdict, is_last=is_last)
        self.passenger.answer(message, is_last=is_last)
        completed(
            self.started,
            self.request_id,
            "POST",
            _TEMPLATE,
            f"/v1/webhooks/{name}",
            202,
            self.address,
            {"partner": name, "receipt": receipt},
        )


def read_delivery(data: bytes, most_bytes: int) -> Head | None:
    """The one whole delivery that these bytes are, if it is usual in every way, else ``None``.

    Reads what Sanic would read in it.
    """
    if not data.startswith(_START):
        return None
    end = data.find(_END, 0, _LONGEST_HEAD)
    if end < 0:
        return None
    body = data[end + len(_END) :]
    if not 0 < len(body) <= most_bytes:
        return None
    head = data[:end].decode("latin-1")
    match = _HEAD.fullmatch(head)
    if match is None:
        return None
    fields: dict[str, list[str]] = {}
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        fields.setdefault(name.lower(), []).append(value.lstrip())
    if (
        fields.get("content-type") != ["application/json"]
        or fields.get("content-length") != [str(len(body))]
        or not _UNUSUAL.isdisjoint(fields)
        or len(fields.get("x-request-id", ())) > 1
        or [value.lower() for value in fields.get("connection", ())] not in ([], ["keep-alive"])
    ):
        return None
    return Head(match[1], fields, body)
