"""``make bench-growth``: the same questions to catalogues of 100 thousand, 1 and 10 million.

All of them run at once and are asked in turn, round by round, one request at a time: a list that
the cache has, and pages in the middle of lists that nobody asked for before. What matters is that
neither gets slower with the catalogue. Each server has read its products once before, as one that
serves has them in memory as far as they fit (``--buffer-pool-mib``): it is not the disk that is
asked. How long filling and building the indexes took is said of the run that made them; catalogues
are kept (``kept``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coordination.errors import FarmLokalError
from coordination.settings import load_settings
from ops.bench.bench import Bench, Options, say
from ops.bench.cases.beside import list_asks, warm
from ops.bench.kept import DATABASE, Kept, kept_catalogue
from ops.bench.line import Line
from ops.bench.machine import describe_machine
from ops.bench.processes import Processes
from ops.bench.results import Row, Verdict, at_most
from ops.bench.shop import Shop
from ops.bench.table import as_document, as_lines
from ops.bench.tape import Ask
from ops.bench.targets import page_queries, target_of

_SIZES: Final = (100_000, 1_000_000, 10_000_000)
_FLAT: Final = 1.2
_ASKS: Final = 200
"""Of each kind to each catalogue in a round; a round's figure is their median."""


@dataclass
class _Grown:
    """One catalogue with a web process on it."""

    bench: Bench
    line: Line
    hits: Iterator[Ask]
    pages: Iterator[Ask]

    def ask(self, asks: Iterator[Ask], failures: list[str]) -> float:
        """The median latency of a round, in ms."""
        times = []
        for ask in itertools.islice(asks, _ASKS):
            status, took_ms = self.line.ask(ask)
            times.append(took_ms)
            failures += [] if status == 200 else [f"{ask.target}: {status}"]
        return statistics.median(times)


def main() -> int:
    """Returns 0, or 1 when something needed is missing or an answer failed."""
    arguments = _arguments()
    sizes = [size for size in arguments.sizes if size <= arguments.up_to]
    processes = Processes()
    try:
        with tempfile.TemporaryDirectory(prefix="farmlokal-bench-") as home, ExitStack() as stack:
            grown = [_open(stack, processes, Path(home), size, arguments) for size in sizes]
            machine = describe_machine(grown[0].bench.shop.kept.account)
            rows = [*_latencies(grown, arguments.rounds), *_makings(grown)]
    except (FarmLokalError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        processes.close()
    for line in as_lines(rows):
        print(line)
    if arguments.json:
        document = as_document(rows, machine, vars(arguments))
        arguments.json.write_text(json.dumps(document, default=str, indent=2, ensure_ascii=False))
    return int(any(row.verdict is Verdict.FAILED for row in rows))


def _open(
    stack: ExitStack, processes: Processes, home: Path, size: int, arguments: argparse.Namespace
) -> _Grown:
    own = home / str(size)
    own.mkdir()
    cache = load_settings().farmlokal_home.absolute() / "bench"
    kept = stack.enter_context(
        kept_catalogue(processes, cache, size, arguments.buffer_pool_mib, say)
    )
    _read_in(kept)
    shop = Shop(own, kept, processes)
    bench = Bench(shop, own, cache, Options(rounds=arguments.rounds))
    running = stack.enter_context(shop.running())
    asks = list_asks(bench)
    warm(running.bases[0], asks)
    pages = page_queries(bench.sample, shop.settings.cursor_secret, with_farms=True)
    return _Grown(
        bench,
        stack.enter_context(Line(running.bases[0])),
        itertools.cycle(asks),
        (Ask(target_of(query)) for query, _, _ in pages),
    )


def _read_in(kept: Kept) -> None:
    """Have the server read the products and all their sorted indexes."""
    with kept.account.cursor(DATABASE) as cursor:
        cursor.execute(
            "SELECT DISTINCT index_name FROM information_schema.statistics"
            " WHERE table_schema = DATABASE() AND table_name = 'products' AND index_type = 'BTREE'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"SELECT COUNT(*) FROM products FORCE INDEX (`{name}`)")  # noqa: S608 - ours


def _latencies(grown: list[_Grown], rounds: int) -> list[Row]:
    """Each catalogue beside the smallest."""
    hits: list[list[float]] = [[] for _ in grown]
    pages: list[list[float]] = [[] for _ in grown]
    failures: list[str] = []
    # One round more than counts: the first warms up.
    for _ in range(rounds + 1):
        for one, hit, page in zip(grown, hits, pages, strict=True):
            hit.append(one.ask(one.hits, failures))
            page.append(one.ask(one.pages, failures))
    rows = []
    smallest = f"{grown[0].bench.shop.kept.products:,} products"
    for name, found in (("list, hit", hits), ("page in the middle of a list, miss", pages)):
        for one, times in zip(grown[1:], found[1:], strict=True):
            rows.append(
                Row(
                    f"{name}, {one.bench.shop.kept.products:,} products",
                    "ms",
                    tuple(times[1:]),
                    tuple(found[0][1:]),
                    smallest,
                    at_most(_FLAT),
                    failures=tuple(failures),
                )
            )
    return rows


def _makings(grown: list[_Grown]) -> list[Row]:
    rows = []
    for one in grown:
        kept = one.bench.shop.kept
        rows += [
            Row(f"seeding {kept.products:,} products", "s", (kept.loading_s,)),
            Row(f"building the indexes of {kept.products:,} products", "s", (kept.indexing_s,)),
            Row(f"building the index of words of {kept.products:,} products", "s", (kept.words_s,)),
        ]
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--up-to", type=int, default=_SIZES[-1], help="leave larger ones out")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(_SIZES))
    parser.add_argument("--buffer-pool-mib", type=int, default=2_048, help="of each MariaDB")
    parser.add_argument("--json", type=Path, help="write all rounds to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
