"""The hit path: lists, products and 304s from the cache, beside servers of the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Final

import httpx

from ops.bench.bench import Bench, Watched, ask_once
from ops.bench.cases.beside import (
    FLOOR_BODIES,
    HITS,
    against,
    drawn,
    list_asks,
    played,
    warm,
)
from ops.bench.contest import OURS, Contender, contest
from ops.bench.floors import Absent, start_express, start_floor, start_node
from ops.bench.playing import Played
from ops.bench.processes import Processes
from ops.bench.results import Row, at_least
from ops.bench.tape import Ask, Tape

__all__ = ["list_hit", "not_modified", "product_hit"]

_PRODUCTS: Final = 2_000
_PAGE: Final = 20
_FAULTS: Final = 5
"""Of one kind, that are told."""
_EXPECTED: Final = (
    *("content-type", "etag", "cache-control", "cache-status", "x-request-id"),
    *("ratelimit", "ratelimit-policy", "x-content-type-options"),
)
"""What ours says of every answer; the floor says only the first."""
_CONSTANT: Final = "constant bytes"
_EXPRESS: Final = "bare Express 4 hello"
_NODE: Final = "bare Node hello"


def list_hit(bench: Bench) -> list[Row]:
    """Lists of 20, ready in the cache; also beside Express and Node saying hello."""
    with bench.shop.running() as running, closing(Processes()) as processes:
        asks = list_asks(bench)
        answers = warm(running.bases[0], asks)
        failures = [fault for answer in answers for fault in _list_faults(answer)][:_FAULTS]
        tape, bodies = _recorded(bench, "list-hit", asks, answers)
        bases = {_CONSTANT: start_floor(processes, bench.home, "constant", bodies)}
        failures += _same_bytes(bases[_CONSTANT], tape, set(bodies))
        absences = _start_yardsticks(bench, processes, bases)
        hello = bench.tape("hello", [Ask("/")] * 1_000)
        watched = Watched(running, bench.options, "200", HITS)
        contenders = [Contender(OURS, lambda _: watched.play(tape))]
        for name, base in bases.items():
            same = tape if name == _CONSTANT else hello
            contenders.append(Contender(name, _playing(bench, same, base)))
        series = contest(contenders, bench.options.rounds)
    rows = []
    for name, goal in ((_CONSTANT, at_least(0.80)), (_EXPRESS, at_least(2.0)), (_NODE, None)):
        theirs = series.get(name)
        rows.append(
            Row(
                "list of 20, hit",
                "/s",
                series[OURS].per_s if theirs else (),
                theirs.per_s if theirs else (),
                name,
                goal,
                absent=absences.get(name, ""),
                failures=(*failures, *(theirs.failures if theirs else ())),
            )
        )
        failures = []  # said once
    return [_with_failures(rows[0], series[OURS].failures), *rows[1:]]


def product_hit(bench: Bench) -> list[Row]:
    """Single products, ready in the cache."""
    asks = [Ask(f"/v1/products/{p.id}") for p in bench.sample.products[:_PRODUCTS]]
    with bench.shop.running() as running, closing(Processes()) as processes:
        answers = warm(running.bases[0], asks)
        failures = [
            f"{ask.target}: {answer.status_code} {answer.text[:100]}"
            for ask, answer in zip(asks, answers, strict=True)
            if answer.status_code != httpx.codes.OK
            or answer.json()["id"] != ask.target.rpartition("/")[2]
        ]
        tape, bodies = _recorded(bench, "product-hit", asks, answers)
        floor = start_floor(processes, bench.home, "constant", bodies)
        failures += _same_bytes(floor, tape, set(bodies))
        row = Row(
            "single product, hit", "/s", versus=_CONSTANT, goal=at_least(0.80),
            failures=tuple(failures),
        )  # fmt: skip
        return [against(bench, row, Watched(running, bench.options, "200", HITS), tape, floor)]


def not_modified(bench: Bench) -> list[Row]:
    """Lists whose bytes the client has: 304."""
    with bench.shop.running() as running, closing(Processes()) as processes:
        plain = list_asks(bench)
        tags = [answer.headers["etag"] for answer in warm(running.bases[0], plain)]
        asks = [
            Ask(ask.target, headers=(("If-None-Match", tag),))
            for ask, tag in zip(plain, tags, strict=True)
        ]
        failures = [
            f"{ask.target}: {answer.status_code} with {len(answer.content)} bytes, not an empty 304"
            for ask, answer in zip(asks, warm(running.bases[0], asks), strict=True)
            if answer.status_code != httpx.codes.NOT_MODIFIED or answer.content
        ]
        tape = bench.tape("not-modified", [asks[place] for place in drawn(bench, len(asks))])
        floor = start_floor(processes, bench.home, "not-modified", None)
        row = Row(
            "304 on If-None-Match", "/s", versus="bare 304", goal=at_least(0.80),
            failures=tuple(failures),
        )  # fmt: skip
        return [against(bench, row, Watched(running, bench.options, "304", HITS), tape, floor)]


def _recorded(
    bench: Bench, name: str, asks: list[Ask], answers: list[httpx.Response]
) -> tuple[Tape, list[bytes]]:
    """A tape of these, some far more often than others, and the bodies of its beginning."""
    places = drawn(bench, len(asks))
    tape = bench.tape(name, [asks[place] for place in places])
    return tape, [answers[place].content for place in places[:FLOOR_BODIES]]


def _with_failures(row: Row, failures: list[str]) -> Row:
    return replace(row, failures=(*row.failures, *failures))


def _list_faults(answer: httpx.Response) -> list[str]:
    if answer.status_code != httpx.codes.OK:
        return [f"{answer.url}: {answer.status_code} {answer.text[:100]}"]
    faults = [f"{answer.url}: no {name}" for name in _EXPECTED if name not in answer.headers]
    found = answer.json()
    if len(found["data"]) < _PAGE and found["page"]["has_more"]:
        faults.append(f"{answer.url}: {len(found['data'])} products, and there are more")
    return faults


def _same_bytes(floor: str, tape: Tape, bodies: set[bytes]) -> list[str]:
    asked = [ask_once(floor, ask).content for ask in tape.samples(5)]
    return [] if all(body in bodies for body in asked) else ["the floor sent other bytes"]


def _start_yardsticks(bench: Bench, processes: Processes, bases: dict[str, str]) -> dict[str, str]:
    """Adds the addresses of those that run to ``bases``; returns why the others do not."""
    absences: dict[str, str] = {}
    try:
        bases[_EXPRESS] = start_express(processes, bench.cache / "node")
    except Absent as absence:
        absences[_EXPRESS] = str(absence)
    try:
        bases[_NODE] = start_node(processes, bench.home)
    except Absent as absence:
        absences[_NODE] = str(absence)
    return absences


def _playing(bench: Bench, tape: Tape, base: str) -> Callable[[int], Played]:
    return lambda _: played(bench, tape, base)
