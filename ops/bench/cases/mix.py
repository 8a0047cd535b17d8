"""The mixed load in a closed loop: how much the cache answers, and what a write costs it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from ops.bench.bench import Bench, share_of
from ops.bench.cases.beside import warm
from ops.bench.exposition import Figures, added, scrape, total
from ops.bench.mix_products import CATEGORIES, category_slug
from ops.bench.mixture import Kind, Operation, count_writes, draw_mixture
from ops.bench.playing import Played, play
from ops.bench.results import Row, at_least, at_most
from ops.bench.sampling import Product
from ops.bench.shop import Running
from ops.bench.tape import Ask, Tape

__all__ = ["MIX_PER_S", "Mixed", "mix_faults", "play_mix", "prepare_mix", "warm_mix", "zipf_mix"]

MIX_PER_S: Final = 15_000
"""Requests made ready for a second."""
_ANSWERED: Final = frozenset({"hit", "stale", "negative"})
_ONE: Final = 1.02
"""A few entries are filled anew because their time ran out."""
_DEFAULT: Final = "/v1/products"


@dataclass(frozen=True, slots=True)
class Mixed:
    """A tape of the mixed load, and what is on it."""

    tape: Tape
    operations: list[Operation]


def prepare_mix(bench: Bench, running: Running, count: int) -> Mixed:
    """Draw a mixture; each write gives its product a stock it never had."""
    products = bench.sample.mix
    operations = draw_mixture(bench.rng, Kind(len(products), CATEGORIES), count)
    # Not by the run's own generator, which draws alike each time: a kept catalogue has the stocks
    # of the last run, and a write that changes nothing voids nothing.
    stock = secrets.randbelow(10**9)
    asks = [
        _ask(operation, products, running.key, stock + number)
        for number, operation in enumerate(operations)
    ]
    return Mixed(bench.tape("mix", asks, once=True), operations)


def _ask(operation: Operation, products: Sequence[Product], key: str, stock: int) -> Ask:
    if operation.is_write:
        return Ask(
            f"/v1/products/{products[operation.product].id}",
            "PATCH",
            (("Authorization", f"Bearer {key}"), ("Content-Type", "application/json")),
            orjson.dumps({"stock": stock}),
        )
    if operation.product >= 0:
        return Ask(f"/v1/products/{products[operation.product].id}")
    if operation.category >= 0:
        return Ask(f"{_DEFAULT}?category={category_slug(operation.category)}")
    return Ask(_DEFAULT)


def warm_mix(bench: Bench, running: Running) -> None:
    """Have everything in the cache that the mixed load reads."""
    asks = [Ask(f"/v1/products/{product.id}") for product in bench.sample.mix]
    asks += [Ask(f"{_DEFAULT}?category={category_slug(n)}") for n in range(CATEGORIES)]
    for answer in warm(running.bases[0], [*asks, Ask(_DEFAULT)]):
        answer.raise_for_status()


def play_mix(bench: Bench, running: Running, mixed: Mixed) -> tuple[Played, Figures]:
    """A round in a closed loop, and what the processes' own figures gained by it."""
    options = bench.options
    before = scrape(running.bases[0])
    played = play(
        mixed.tape, running.bases, connections=options.connections, seconds=options.seconds
    )
    return played, added(before, scrape(running.bases[0]))


def zipf_mix(bench: Bench) -> list[Row]:
    """Hit ratio, and fills for each entry that a write voided."""
    per_s: list[float] = []
    hits: list[float] = []
    products: list[float] = []
    lists: list[float] = []
    queries: list[float] = []
    failures: list[str] = []
    with bench.shop.running() as running:
        warm_mix(bench, running)
        for _ in range(bench.options.rounds):
            mixed = prepare_mix(bench, running, MIX_PER_S * bench.options.seconds)
            played, gained = play_mix(bench, running, mixed)
            failures += [*played.failures, *mix_faults(gained)]
            per_s.append(played.per_s)
            hits.append(100 * share_of(total(gained, "cache_reads_total", "outcome"), _ANSWERED))
            made = total(gained, "cache_fills_total", "kind")
            writes = max(1, count_writes(mixed.operations[: played.requests]))
            products.append(made.get("product", 0.0) / writes)
            lists.append(made.get("list", 0.0) / (2 * writes))
            asked = total(gained, "database_query_duration_seconds_count", "purpose")
            queries.append(asked.get("list", 0.0) / max(1.0, made.get("list", 0.0)))
    return [
        Row("Zipf mix, 2 % writes, hit ratio", "%", tuple(hits), goal=at_least(95.0),
            failures=tuple(failures)),
        Row("Zipf mix, fills per voided product", "", tuple(products), goal=at_most(_ONE)),
        Row("Zipf mix, fills per voided list", "", tuple(lists), goal=at_most(_ONE)),
        Row("Zipf mix, database queries per filled list", "", tuple(queries), goal=at_most(_ONE)),
        Row("Zipf mix, closed loop", "/s", tuple(per_s)),
    ]  # fmt: skip


def mix_faults(gained: Figures) -> list[str]:
    """Answers other than 200."""
    statuses = total(gained, "http_requests_total", "status")
    return [f"{count:.0f} answers of status {s}" for s, count in statuses.items() if s != "200"]
