"""The lane of deliveries: those that are plain in every way, taken in before a request is made.

To make a request of a delivery, route it and join its answer's headers costs more than to verify
and store it. So one that came whole, is signed by a partner at hand and is usual in every way goes
straight to the limiter and to the intake, by the same functions as all others. Whatever is not that
takes the ordinary way before anything was counted; what turns out to be no plain 202 takes it
afterwards, and what came of it goes along, so that nothing is asked, counted or stored twice.
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import lru_cache
from typing import Final, NamedTuple

from api.context import Web
from api.lanes.passenger import Passenger
from api.problems import HttpProblem
from api.request_ids import accepted_id
from api.signatures import Offered, Verified, verify, waste_time
from api.webhooks.arrival import event_type
from api.webhooks.outcomes import limit_on, terms_of
from api.webhooks.passage import Passage
from coordination.errors import InvalidInput
from coordination.rate_limit_ahead import Admissions

__all__ = ["DeliveryLane", "Head", "read_delivery"]

_START: Final = b"POST /v1/webhooks/"
_END: Final = b"\r\n\r\n"
_LONGEST_HEAD: Final = 4_096
_MOST_LIMITS: Final = 1_024
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
        self._asking: set[asyncio.Task[None]] = set()
        self._admissions = lru_cache(_MOST_LIMITS)(self._admissions_on)

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
        web.readiness.in_flight += 1
        Passage(
            web, self._asking, passenger, started, address, sender, verified, kind, head.body,
            accepted_id(request_id),
        ).begin(self._admissions(*terms_of(web.settings, sender)))  # fmt: skip
        return True

    def _admissions_on(self, name: str, limit: int, window_s: int) -> Admissions:
        return Admissions(self._web.resources.plane, limit_on(name, limit, window_s))


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
