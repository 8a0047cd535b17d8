"""Searches that nobody asked for before: a narrow word, broad ones, two words.

Of a word there is but one search, so each of ours is told apart from the last by what changes
nothing of the work: every other one has a word too short to be indexed, which is not required, the
rest an upper price bound above all prices.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from string import ascii_lowercase
from typing import Final
from urllib.parse import urlencode

from models.catalog.search import required_words
from ops.bench.bench import Bench, Watched, ask_once
from ops.bench.contest import OURS, WARM_UP, Contender, contest
from ops.bench.playing import NO_ANSWER, Played
from ops.bench.results import Row, at_most
from ops.bench.shop import Running
from ops.bench.tape import Ask

__all__ = ["search"]

_P95_MS: Final = 50.0
_MOST_PER_S: Final = 3_000
_MISSES: Final = frozenset({"miss"})


def search(bench: Bench) -> list[Row]:
    """Each kind at the benchmark's connections; judged is the 95th percentile."""
    vocabulary = bench.sample.vocabulary
    kinds: list[tuple[str, Sequence[tuple[str, ...]]]] = [
        ("a word in 0.01–0.2 %", [(word,) for word in vocabulary.between(0.0001, 0.002)]),
        ("a word in 1–5 %", [(word,) for word in vocabulary.between(0.01, 0.05)]),
        ("a word in 15–25 %", [(word,) for word in vocabulary.between(0.15, 0.25)]),
        ("a word in most products", [(word,) for word in vocabulary.between(0.5, 1.0)]),
        ("two words, both in 0.1–1 %", vocabulary.pairs_between(0.001, 0.01)),
    ]
    rows = []
    for name, words in kinds:
        case = f"search, {name}, P95"
        if not words:
            rows.append(Row(case, "ms", goal=at_most(_P95_MS), absent="no such words here"))
            continue
        with bench.shop.running() as running:
            rows.append(_measured(bench, running, case, words))
    return rows


def _measured(bench: Bench, running: Running, case: str, words: Sequence[tuple[str, ...]]) -> Row:
    failures = [fault for one in words[:5] for fault in _faults(running.bases[0], one)]
    bench.shop.forget()
    asks = _asks(bench, words)
    per_round = _MOST_PER_S * bench.options.seconds
    tapes = {
        number: bench.tape(f"search-{number}", list(itertools.islice(asks, per_round)), once=True)
        for number in range(WARM_UP, bench.options.rounds)
    }
    watched = Watched(running, bench.options, "200", _MISSES)
    series = contest(
        [Contender(OURS, lambda number: _judged(watched.play(tapes[number])))],
        bench.options.rounds,
    )[OURS]
    rates = ", ".join(f"{rate:,.0f}" for rate in series.per_s)
    return Row(
        case,
        "ms",
        series.p95_ms,
        goal=at_most(_P95_MS),
        failures=(*failures, *series.failures),
        note=f"{rates} searches/s in its rounds",
    )


def _judged(played: Played) -> Played:
    """A round without any answer was too short, not wrong: its whole length stands for them."""
    if played.requests or played.failures != (NO_ANSWER,):
        return played
    return replace(played, p95_ms=1000 * played.duration_s, failures=())


def _asks(bench: Bench, words: Sequence[tuple[str, ...]]) -> Iterator[Ask]:
    short = itertools.product(ascii_lowercase, repeat=2)
    unindexed = ["".join(pair) for pair in short if not required_words("".join(pair))]
    for number in itertools.count():
        chosen = list(bench.rng.choice(words))
        given = {"limit": "20"}
        if number % 2:
            given["max_price"] = f"{10_000 + number // 100}.{number % 100:02}"
        else:
            # Three of them, by the digits of the number: no two searches are alike.
            rest = number // 2
            for _ in range(3):
                rest, place = divmod(rest, len(unindexed))
                chosen.append(unindexed[place])
        yield Ask("/v1/products?" + urlencode({"q": " ".join(chosen), **given}))


def _faults(base: str, words: tuple[str, ...]) -> list[str]:
    """What is wrong with the first page: a row without the words, or one named so below another."""
    ask = Ask("/v1/products?" + urlencode({"q": " ".join(words), "limit": "20"}))
    answer = ask_once(base, ask)
    if answer.status_code != 200:
        return [f"{ask.target}: {answer.status_code}"]
    data = answer.json()["data"]
    faults = [] if data else [f"{ask.target}: found nothing"]
    named = [all(word in row["name"].lower() for word in words) for row in data]
    if named != sorted(named, reverse=True):
        faults.append(f"{ask.target}: what is named so comes below what only mentions it")
    for row in data:
        text = f"{row['name']} {row['description']}".lower()
        if not all(word in text for word in words):
            faults.append(f"{ask.target}: {row['name']!r} does not have these words")
    return faults
