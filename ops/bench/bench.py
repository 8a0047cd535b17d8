"""What every case works with, and how one of ours is watched while it is measured."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx

from ops.bench.exposition import Figures, added, scrape, total
from ops.bench.playing import Played, play
from ops.bench.sampling import Sample, read_sample
from ops.bench.shop import Running, Shop
from ops.bench.tape import Ask, Clients, Tape

__all__ = ["Bench", "Options", "Watched", "ask_once", "say", "share_of"]

_ENOUGH_HITS = 0.99


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured."""

    rounds: int
    seconds: int = 3
    """Of one contender in a round."""
    connections: int = 32
    import_rows: int = 100_000
    import_rounds: int = 3
    events: int = 20_000
    """That the worker works off in a round."""


@dataclass
class Bench:
    """One run of the benchmark."""

    shop: Shop
    home: Path
    """For files that go with the run."""
    cache: Path
    """For files that stay."""
    options: Options
    rng: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311
    clients: Clients = field(default_factory=lambda: Clients(7))

    @cached_property
    def sample(self) -> Sample:
        """Products of the catalogue to ask for."""
        return read_sample(self.shop.kept, self.rng)

    def tape(self, name: str, asks: list[Ask], *, once: bool = False) -> Tape:
        """Ready to be played."""
        return Tape.write(self.home / name, asks, self.clients, once=once)


@dataclass(frozen=True, slots=True)
class Watched:
    """Plays tapes to ours and holds it against our own metrics: statuses, and what the cache did.

    ``outcomes``: of cached reads, those that at least 99 % must have; empty for no cached reads.
    """

    running: Running
    options: Options
    status: str
    outcomes: frozenset[str] = frozenset()

    def play(self, tape: Tape, connections: int | None = None) -> Played:
        """One round; ``failures`` has what the metrics tell against it, too."""
        base = self.running.bases[0]
        before = scrape(base)
        played = play(
            tape,
            self.running.bases,
            connections=connections or self.options.connections,
            seconds=self.options.seconds,
        )
        failures = [*played.failures, *self._judge(added(before, scrape(base)))]
        return Played(
            played.requests,
            played.duration_s,
            played.p50_ms,
            played.p95_ms,
            played.p99_ms,
            tuple(failures),
        )

    def _judge(self, gained: Figures) -> list[str]:
        statuses = total(gained, "http_requests_total", "status")
        failures = [
            f"{count:.0f} answers of status {status}"
            for status, count in statuses.items()
            # A few look-ups of our own are among them.
            if status != self.status and not (status == "200" and count <= 2)
        ]
        unchecked = total(gained, "rate_limit_decisions_total", "decision").get("unchecked", 0)
        if unchecked:
            failures.append(f"the limiter was not asked {unchecked:.0f} times")
        if self.outcomes:
            reads = total(gained, "cache_reads_total", "outcome")
            share = share_of(reads, self.outcomes)
            if reads and share < _ENOUGH_HITS:
                failures.append(f"only {share:.1%} were {'/'.join(sorted(self.outcomes))}: {reads}")
        return failures


def say(words: str) -> None:
    """What happens now, for whoever waits."""
    print(f"  {words}", file=sys.stderr, flush=True)


def share_of(counts: Mapping[str, float], wanted: frozenset[str]) -> float:
    """The part of all that these names have; 0 of nothing."""
    whole = sum(counts.values())
    return sum(counts.get(name, 0.0) for name in wanted) / whole if whole else 0.0


def ask_once(base: str, ask: Ask) -> httpx.Response:
    """One request by an ordinary client, to look at the answer."""
    return httpx.request(
        ask.method, base + ask.target, headers=list(ask.headers), content=ask.body, timeout=30
    )
