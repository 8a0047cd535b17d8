"""The lane of hits: reads whose answer is at hand, answered before a request is made of them.

A hit needs the client's identity, one round trip and ready bytes. Making a request of it, routing
it and joining headers costs several times that, so a read that was answered from the cache before
is recognised by the bytes of its target, and asked about as soon as its head has arrived
(docs/decisions/0019). Everything else takes its ordinary way, unread: other targets and methods,
bodies, API keys not seen lately, heads that are unusual in any way. So does a read that turns out
to be no plain hit, and takes along what was found, so that nothing is asked or counted twice.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeAlias

from api.answers import cached_parts
from api.client_address import Clients
from api.completed import completed
from api.credentials import address_limit, key_identity, recalled
from api.health import Readiness
from api.lanes.passenger import Passenger
from api.prepared import whole_message
from api.request_ids import accepted_id
from coordination.cache import AnswerCache, Outcome, ReadPlan
from coordination.cache_ahead import Ahead, Glance
from coordination.cache_entry import Answer
from coordination.counting import Count
from coordination.glances import Glances, Question
from coordination.metrics import HTTP_LANE
from coordination.rate_limit import Verdict
from coordination.settings import Settings
from models.api_key_cache import VerifiedKeys

__all__ = ["Head", "HitLane", "read_head"]

_log = logging.getLogger(__name__)
_MOST_TARGETS: Final = 8_192
_LONGEST_TARGET: Final = 500
_LONGEST_HEAD: Final = 4_096
_END: Final = b"\r\n\r\n"
_VERSION: Final = " HTTP/1.1"
# What a request may have that makes another answer of it, or none; the lane knows nothing of these.
_UNUSUAL: Final = frozenset(
    {
        "content-length",
        "expect",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_READ: Final = frozenset({"authorization", "if-none-match", "x-forwarded-for", "x-request-id"})
_ANSWERED: Final = Count(HTTP_LANE, "answered")
_WENT_ON: Final = Count(HTTP_LANE, "went_on")
_LEFT: Final = Count(HTTP_LANE, "left")

Head: TypeAlias = tuple[str, dict[str, str]]
"""A request's target, and those of its headers that make a difference."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What is asked of the cache for one target; its request's path and route, for the log."""

    plan: ReadPlan
    question: Question
    path: str
    template: str


class HitLane:
    """One process's."""

    def __init__(
        self,
        settings: Settings,
        cache: AnswerCache,
        readiness: Readiness,
        clients: Clients,
        keys: VerifiedKeys,
    ) -> None:
        self.settings = settings
        self.cache = cache
        self.readiness = readiness
        self.terms = address_limit(settings, "")
        self._clients = clients
        self._keys = keys
        self._glances = Glances(cache, self.terms)
        self._targets: OrderedDict[str, _Target] = OrderedDict()

    def remember(self, target: str, path: str, template: str, plan: ReadPlan) -> None:
        """Know this target from now on: ``plan`` reads the answer to every GET of it."""
        if len(target) > _LONGEST_TARGET or target in self._targets:
            return
        self._targets[target] = _Target(plan, Question(plan), path, template)
        if len(self._targets) > _MOST_TARGETS:
            self._targets.popitem(last=False)

    def enter(self, data: bytes, peer: str, passenger: Passenger) -> bool:
        """Take a request, if it can be taken; then ``passenger`` will be told what came of it."""
        head = read_head(data)
        if head is None:
            return False
        name, headers = head
        target = self._targets.get(name)
        if target is None or self.readiness.draining:
            return False
        given = headers.get
        clients = self._clients
        address, client = clients.identify(
            peer, given("x-forwarded-for") if clients.reads_header else None
        )
        extra: dict[str, object] = {}
        authorization = given("authorization")
        if authorization is not None:
            key = recalled(self._keys, authorization)
            if key is None:
                return False
            client, extra["key_id"] = key_identity(key), key.id
        request_id = accepted_id(given("x-request-id"))
        passage = _Passage(
            self, target, client, passenger, request_id, given("if-none-match"), address, extra
        )
        if not self._glances.ask(passage, target.question):
            return False
        self._targets.move_to_end(name)
        self.readiness.in_flight += 1
        return True


class _Passage(Glance):
    """One request in the lane; it waits for what the cache says."""

    __slots__ = (
        *("_address", "_extra", "_lane", "_passenger"),
        *("_request_id", "_started", "_target", "_wanted"),
    )

    def __init__(
        self,
        lane: HitLane,
        target: _Target,
        client: str,
        passenger: Passenger,
        request_id: str,
        if_none_match: str | None,
        address: str,
        extra: dict[str, object],
    ) -> None:
        self._started = time.perf_counter()
        super().__init__(target.plan, lane.terms, client)
        self._lane = lane
        self._target = target
        self._passenger = passenger
        self._request_id = request_id
        self._wanted = if_none_match
        self._address = address
        self._extra = extra

    def hit(self, answer: Answer, outcome: Outcome, ttl_s: int, verdict: Verdict) -> None:
        """Answer, and leave behind what every request does."""
        lane, target, request_id = self._lane, self._target, self._request_id
        lane.readiness.in_flight -= 1
        is_last = lane.readiness.draining
        try:
            parts = cached_parts(self._wanted, lane.settings, answer, outcome, ttl_s)
            message = whole_message(*parts, request_id, verdict, is_last=is_last)
        except Exception:
            _log.exception("An answer could not be made", extra={"target": target.path})
            self._passenger.drop()
            return
        if not self._passenger.answer(message, is_last=is_last):
            _LEFT.add()
        else:
            _ANSWERED.add()
            self._extra["cache"] = outcome.value
            completed(
                self._started,
                request_id,
                "GET",
                target.template,
                target.path,
                parts[1],
                self._address,
                self._extra,
            )

    def go_on(self, ahead: Ahead | None) -> None:
        """Leave the rest to the ordinary way."""
        self._lane.readiness.in_flight -= 1
        if self._passenger.go_on(ahead):
            _WENT_ON.add()
            return
        _LEFT.add()
        if ahead is not None:
            self._lane.cache.abandon(ahead)


def read_head(data: bytes) -> Head | None:
    """The one whole request that these bytes are: a GET that is usual in every way, else ``None``.

    Reads what Sanic would read in it.
    """
    if (
        not data.startswith(b"GET /")
        or len(data) > _LONGEST_HEAD
        or data.find(_END) != len(data) - len(_END)
        or not data.isascii()
    ):
        return None
    first, *lines = data[4:-4].decode("ascii").split("\r\n")
    if not first.endswith(_VERSION):
        return None
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if (
            not colon
            or name in found
            or name in _UNUSUAL
            or (name == "connection" and value.lstrip().lower() != "keep-alive")
        ):
            return None
        if name in _READ:
            found[name] = value.lstrip()
    return first[: -len(_VERSION)], found
