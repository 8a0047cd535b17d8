"""``make bench``: the hit path and imports, each beside a floor, interleaved, in one run.

Everything is started here and ended here. Reads: an embedded Redis, SQLite (or ``DATABASE_URL``),
one web process with logs, metrics and an exact limiter, and bare Sanic servers that send the same
bytes. Imports (``imports``): beside ``LOAD DATA`` into MariaDB.
Each round measures ours and its floor one after the other; the medians of the rounds' ratios are
printed, because absolute figures of a shared machine mean little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from coordination.errors import FarmLokalError, Misconfigured
from coordination.settings import load_settings
from models.migrate import migrate
from ops import embedded_redis
from ops.bench.imports import GOAL, ImportResult, measure_imports
from ops.bench.load import Measured, measure, require_wrk
from ops.bench.processes import Processes, await_ready
from ops.seed.seeding import DEFAULT_SEED, seed_catalogue

_READS: Final = "reads"
_IMPORTS: Final = "imports"


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: our URL, and the floor that sends the same body."""

    name: str
    url: str
    floor_url: str


@dataclass(frozen=True, slots=True)
class Result:
    """Medians over all rounds."""

    name: str
    ratio: float
    ratios: list[float]
    ours_per_s: float
    floor_per_s: float
    ours_p99_ms: float


def main() -> int:
    """Returns 0, or 1 when something needed is missing or an answer failed."""
    arguments = _arguments()
    results: list[Result] = []
    imported: ImportResult | None = None
    try:
        if arguments.only != _IMPORTS:
            require_wrk()
            with tempfile.TemporaryDirectory(prefix="farmlokal-bench-") as home:
                results = _run(Path(home), arguments)
            _print(results, arguments)
        if arguments.only != _READS:
            imported = _imports(arguments)
    except (FarmLokalError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.json:
        _write(arguments, results, imported)
    return 0


def _imports(arguments: argparse.Namespace) -> ImportResult | None:
    """Measure and print; where nobody asked for them alone, they may be left out."""
    try:
        result = measure_imports(rows=arguments.import_rows, rounds=arguments.import_rounds)
    except Misconfigured as error:
        if arguments.only == _IMPORTS:
            raise
        print(f"imports left out: {error}")
        return None
    _print_imports(result)
    return result


def _run(home: Path, arguments: argparse.Namespace) -> list[Result]:
    processes = Processes()
    try:
        redis_url = processes.start_redis(home)
        settings = load_settings(farmlokal_home=home, redis_url=redis_url)
        asyncio.run(migrate(settings))
        seed_catalogue(
            settings,
            count=arguments.products,
            seed=DEFAULT_SEED,
            progress=lambda _count: None,
            phase=lambda _words: None,
        )
        base = processes.start_web(
            {
                "FARMLOKAL_HOME": str(home),
                "DATABASE_URL": settings.effective_database_url,
                "REDIS_URL": redis_url,
                "PROMETHEUS_MULTIPROC_DIR": str(home / "metrics"),
            }
        )
        cases: list[Case] = []
        for name, path in _paths(base):
            floor_port = embedded_redis.free_port()
            body = home / f"floor-{floor_port}.json"
            body.write_bytes(httpx.get(base + path, timeout=10).raise_for_status().content)
            floor = [sys.executable, "-m", "ops.bench.floor", str(floor_port), str(body)]
            processes.start(f"floor-{floor_port}", floor)
            await_ready(f"http://127.0.0.1:{floor_port}/")
            cases.append(Case(name, base + path, f"http://127.0.0.1:{floor_port}/"))
        return [_compare(case, arguments) for case in cases]
    finally:
        processes.close()


def _paths(base: str) -> list[tuple[str, str]]:
    first = httpx.get(f"{base}/v1/products?limit=1", timeout=10).raise_for_status().json()
    product_id = first["data"][0]["id"]
    return [
        ("list of 20, hit", "/v1/products?limit=20"),
        ("single product, hit", f"/v1/products/{product_id}"),
    ]


def _compare(case: Case, arguments: argparse.Namespace) -> Result:
    ours: list[Measured] = []
    floor: list[Measured] = []
    for _ in range(arguments.rounds):
        for url, into in ((case.url, ours), (case.floor_url, floor)):
            into.append(measure(url, connections=arguments.connections, seconds=arguments.seconds))
    ratios = [
        mine.requests_per_s / theirs.requests_per_s
        for mine, theirs in zip(ours, floor, strict=True)
    ]
    return Result(
        name=case.name,
        ratio=statistics.median(ratios),
        ratios=ratios,
        ours_per_s=statistics.median(m.requests_per_s for m in ours),
        floor_per_s=statistics.median(m.requests_per_s for m in floor),
        ours_p99_ms=statistics.median(m.p99_ms for m in ours),
    )


def _print(results: list[Result], arguments: argparse.Namespace) -> None:
    print(
        f"One web process, {arguments.connections} connections, {arguments.products:,} products,"
        f" {arguments.rounds} rounds of {arguments.seconds} s, Python {platform.python_version()}"
    )
    print(f"{'case':24}{'of the floor':>14}{'ours/s':>10}{'floor/s':>10}{'P99 ms':>9}")
    for result in results:
        print(
            f"{result.name:24}{result.ratio:>14.2f}{result.ours_per_s:>10.0f}"
            f"{result.floor_per_s:>10.0f}{result.ours_p99_ms:>9.1f}"
        )


def _print_imports(result: ImportResult) -> None:
    print(
        f"One web and one worker process, {result.rows:,} rows, {len(result.rounds)} rounds,"
        f" Python {platform.python_version()}"
    )
    print(f"{'case':24}{'of LOAD DATA':>14}{'ours/s':>10}{'load/s':>10}{'goal':>9}")
    verdict = "met" if result.ratio >= GOAL else "missed"
    print(
        f"{'import, whole':24}{result.ratio:>14.2f}{result.ours_per_s:>10.0f}"
        f"{result.load_per_s:>10.0f}{GOAL:>9} {verdict}"
    )
    print(
        f"{'  applying alone':24}{result.applying_ratio:>14.2f}{result.applying_per_s:>10.0f}"
        f"{result.load_per_s:>10.0f}"
    )
    print(f"{'  checking alone':24}{'':>14}{result.checking_per_s:>10.0f}")


def _write(
    arguments: argparse.Namespace, results: list[Result], imported: ImportResult | None
) -> None:
    document = {
        "arguments": vars(arguments),
        "results": [asdict(result) for result in results],
        "imports": None if imported is None else asdict(imported),
    }
    arguments.json.write_text(json.dumps(document, default=str, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--only", choices=(_READS, _IMPORTS), help="measure these alone")
    parser.add_argument("--import-rows", type=int, default=100_000)
    parser.add_argument("--import-rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write all rounds to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
