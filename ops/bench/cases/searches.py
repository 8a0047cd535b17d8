"""Searches that nobody asked for before: a narrow word, broad ones, two words, under filters.

Of a word there is but one search, so each of ours is told apart from the last by what changes
nothing of the work: every other one has a word too short to be indexed, which is not required, the
rest an upper price bound above all prices.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_lowercase
from typing import Final
from urllib.parse import urlencode

from models.search.words import required_words
from ops.bench.bench import Bench, Watched, ask_once
from ops.bench.contest import OURS, WARM_UP, Contender, contest
from ops.bench.costs import Costs, ours
from ops.bench.playing import NO_ANSWER, Played
from ops.bench.results import Goal, Row, at_most
from ops.bench.shop import Running
from ops.bench.tape import Ask

__all__ = ["search"]

_P95_MS: Final = 50.0
_MOST_PER_S: Final = 3_000
_MISSES: Final = frozenset({"miss"})
_CATEGORIES: Final = 5
# By our metrics; and as wrk counts the same ones.
_REFUSED: Final = re.compile(r"answers of status (503|400 or more)$")


@dataclass(frozen=True, slots=True)
class _Kind:
    """Searches that are measured together: for any of ``words``, with any of ``given`` beside."""

    name: str
    words: Sequence[tuple[str, ...]]
    given: Sequence[Mapping[str, str]] = ({},)
    goal: Goal | None = field(default_factory=lambda: at_most(_P95_MS))


def search(bench: Bench) -> list[Row]:
    """Each kind at the benchmark's connections; judged is the 95th percentile."""
    rows = []
    with bench.shop.running() as running:
        for kind in _kinds(bench):
            case = f"search, {kind.name}, P95"
            if kind.words:
                rows.append(_measured(bench, running, case, kind))
            else:
                rows.append(Row(case, "ms", goal=kind.goal, absent="no such words here"))
    return rows


def _kinds(bench: Bench) -> list[_Kind]:
    vocabulary = bench.sample.vocabulary
    broad = _each(vocabulary.between(0.15, 0.25))
    categories = [{"category": slug} for slug, _ in bench.sample.categories[:_CATEGORIES]]
    farms = [{"farm": str(farm_id)} for farm_id in bench.sample.farms]
    by_price = [{"sort": "price", "order": order} for order in ("asc", "desc")]
    narrow = _each(vocabulary.between(0.0001, 0.002))
    return [
        _Kind("a word in 0.01–0.2 %", narrow),
        _Kind("a word in 1–5 %", _each(vocabulary.between(0.01, 0.05))),
        _Kind("a word in 15–25 %", broad),
        _Kind("a word in most products", _each(vocabulary.between(0.5, 1.0))),
        _Kind("two words, both in 0.1–1 %", vocabulary.pairs_between(0.001, 0.01)),
        _Kind(
            "two words, each in 15 % or more, both in 0.1 % or more",
            vocabulary.pairs_between(0.001, 1.0, each=0.15),
        ),
        _Kind("a word in 15–25 %, in a category", broad, categories),
        _Kind("a word in 15–25 %, of a farm", broad, farms),
        _Kind("a word in 0.01–0.2 %, by price", narrow, by_price, goal=None),
    ]


def _each(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [(word,) for word in words]


def _measured(bench: Bench, running: Running, case: str, kind: _Kind) -> Row:
    failures = [
        fault
        for number, words in enumerate(kind.words[:5])
        for fault in _faults(running.bases[0], words, kind.given[number % len(kind.given)])
    ]
    bench.shop.forget()
    asks = _asks(bench, kind)
    per_round = _MOST_PER_S * bench.options.seconds
    tapes = {
        number: bench.tape(f"search-{number}", list(itertools.islice(asks, per_round)), once=True)
        for number in range(WARM_UP, bench.options.rounds)
    }
    watched = Watched(running, bench.options, "200", _MISSES)
    costs = Costs(ours(bench, running))
    play = costs.of(lambda number: _judged(watched.play(tapes[number])))
    series = contest([Contender(OURS, play)], bench.options.rounds)[OURS]
    rates = ", ".join(f"{rate:,.0f}" for rate in series.per_s)
    notes = [f"{rates} searches/s in its rounds", costs.note()]
    if kind.goal is None:
        # Nothing is promised of it: where too much of it comes at once, some is refused.
        refused = [words for words in series.failures if _REFUSED.search(words)]
        notes += refused
        failures += [words for words in series.failures if words not in refused]
    else:
        failures += series.failures
    return Row(
        case,
        "ms",
        series.p95_ms,
        goal=kind.goal,
        failures=tuple(failures),
        note="; ".join(notes),
    )


def _judged(played: Played) -> Played:
    """A round without any answer was too short, not wrong: its whole length stands for them."""
    if played.requests or played.failures != (NO_ANSWER,):
        return played
    return replace(played, p95_ms=1000 * played.duration_s, failures=())


def _asks(bench: Bench, kind: _Kind) -> Iterator[Ask]:
    short = itertools.product(ascii_lowercase, repeat=2)
    unindexed = ["".join(pair) for pair in short if not required_words("".join(pair))]
    for number in itertools.count():
        chosen = list(bench.rng.choice(kind.words))
        given = {"limit": "20", **bench.rng.choice(kind.given)}
        if number % 2:
            given["max_price"] = f"{10_000 + number // 100}.{number % 100:02}"
        else:
            # Three of them, by the digits of the number: no two searches are alike.
            rest = number // 2
            for _ in range(3):
                rest, place = divmod(rest, len(unindexed))
                chosen.append(unindexed[place])
        yield Ask("/v1/products?" + urlencode({"q": " ".join(chosen), **given}))


def _faults(base: str, words: tuple[str, ...], given: Mapping[str, str]) -> list[str]:
    """What is wrong with the first page: a row without the words, or one in the wrong place."""
    ask = Ask("/v1/products?" + urlencode({"q": " ".join(words), "limit": "20", **given}))
    answer = ask_once(base, ask)
    if answer.status_code != 200:
        return [f"{ask.target}: {answer.status_code}"]
    data = answer.json()["data"]
    faults = [] if data or {"category", "farm"} & given.keys() else [f"{ask.target}: found nothing"]
    for row in data:
        text = f"{row['name']} {row['description']}".lower()
        if not all(word in text for word in words):
            faults.append(f"{ask.target}: {row['name']!r} does not have these words")
        if given.get("category", row["category"]["slug"]) != row["category"]["slug"]:
            faults.append(f"{ask.target}: {row['name']!r} is of another category")
        if given.get("farm", str(row["farm"]["id"])) != str(row["farm"]["id"]):
            faults.append(f"{ask.target}: {row['name']!r} is of another farm")
    if "sort" in given:
        prices = [float(row["price"]) for row in data]
        if prices != sorted(prices, reverse=given["order"] == "desc"):
            faults.append(f"{ask.target}: not in the order of prices")
        return faults
    named = [all(word in row["name"].lower() for word in words) for row in data]
    if named != sorted(named, reverse=True):
        faults.append(f"{ask.target}: what is named so comes below what only mentions it")
    return faults
