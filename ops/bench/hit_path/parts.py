"""The parts of a hit in a web process, each called over and over by itself."""

from __future__ import annotations

import ipaddress
import time
import timeit
from collections.abc import Callable
from typing import Final

import hiredis

from api.answers import cached_parts
from api.client_address import Clients
from api.completed import completed
from api.credentials import address_limit
from api.lanes.hits import read_head
from api.prepared import whole_message
from api.request_ids import accepted_id
from coordination.cache import AnswerCache
from coordination.cache_ahead import Ahead, Glance
from coordination.cache_entry import Answer, Entry, strong_etag
from coordination.cache_read import Lifetime, Outcome, ReadPlan, reads
from coordination.counting import flush_counts
from coordination.glances import ENOUGH, Glances, Question
from coordination.rate_limit import LimitRequest, Verdict, verdict_of
from coordination.settings import Settings, load_settings

__all__ = ["ANSWER", "parts", "settings_for"]

_TIMES: Final = 2_000
_REPEATS: Final = 15
_BODY: Final = b"x" * 8_000
ANSWER: Final = Answer(_BODY, strong_etag(_BODY), "/v1/products?limit=20&cursor=abc")
_REQUEST: Final = (
    b"GET /v1/products?category=cat-1&sort=price&limit=20 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
    b"X-Request-ID: d09ca1e1cea2163c-3968\r\nX-Forwarded-For: 10.20.30.40\r\n\r\n"
)
_REPLY: Final = b"*%d\r\n:1700000000000\r\n" % (1 + 2 * ENOUGH) + b":3\r\n:4\r\n" * ENOUGH


class _Asking(Glance):
    """One that nobody answers."""

    def hit(self, answer: Answer, outcome: Outcome, ttl_s: int, verdict: Verdict) -> None:
        """Never."""

    def go_on(self, ahead: Ahead | None) -> None:
        """Never."""


def settings_for(port: int) -> Settings:
    """Of a web process whose servers are not there, behind a proxy on this machine."""
    return load_settings(
        port=port,
        redis_url="redis://127.0.0.1:1/0",
        trusted_proxies="127.0.0.1/32",
        rate_limit_requests=1_000_000_000,
    )


def parts(settings: Settings, cache: AnswerCache) -> dict[str, float]:
    """Microseconds of each; to be called by what an event loop runs."""
    plan = ReadPlan(
        "list",
        "cache:products:0123456789abcdef0123456789abcdef",
        ("cache:gen:all", "cache:gen:category:cat-1"),
        Lifetime(30, 60, 10),
    )
    terms = address_limit(settings, "")
    clients = Clients((ipaddress.ip_network("127.0.0.1/32"),))
    glances = Glances(cache, terms)
    asking, question = _Asking(plan, terms, "addr:10.20.30.40"), Question(plan)
    near = ("0123456789abcdef", Entry(ANSWER, 0))
    reader = hiredis.Reader()
    verdict = verdict_of(terms, True, 3, 4, 1_700_000_000_000)
    answer = cached_parts(None, settings, ANSWER, Outcome.HIT, 25)

    def ask() -> None:
        for _ in range(ENOUGH):
            asking.begin(near)
        glances.command([(asking, question)] * ENOUGH)

    def read_reply() -> None:
        reader.feed(_REPLY)
        reader.gets()

    def limiter() -> LimitRequest:
        verdict_of(terms, True, 3, 4, 1_700_000_000_000)
        return terms

    def leave_behind() -> None:
        reads("list", Outcome.HIT).add()
        completed(
            time.perf_counter(), "d09ca1e1cea2163c-3968", "GET", "/v1/products", "/v1/products",
            200, "10.20.30.40", {"cache": "hit"},
        )  # fmt: skip

    return {
        "read the head": _timed(lambda: read_head(_REQUEST)),
        "who asks, request id": _timed(
            lambda: (
                clients._find("127.0.0.1", "10.20.30.40"),
                accepted_id("d09ca1e1cea2163c-3968"),
            )
        ),
        "lay the question out": _timed(ask) / ENOUGH,
        "read Redis's reply": _timed(read_reply) / ENOUGH,
        "verdict of the limiter": _timed(limiter),
        "the answer's bytes": _timed(
            lambda: (
                cached_parts(None, settings, ANSWER, Outcome.HIT, 25),
                whole_message(*answer, "d09ca1e1cea2163c-3968", verdict, is_last=False),
            )
        ),
        "log line, metrics": _timed(leave_behind),
    }


def _timed(part: Callable[[], object]) -> float:
    def once() -> float:
        spent = timeit.timeit(part, number=_TIMES) / _TIMES * 1e6
        flush_counts()
        return spent

    return min(once() for _ in range(_REPEATS))
