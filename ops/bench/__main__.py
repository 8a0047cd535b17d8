"""``make bench``: the hit path beside a floor, interleaved, in one run.

Everything is started here and ended here: an embedded Redis, SQLite (or ``DATABASE_URL``), one web
process with logs, metrics and an exact limiter, and bare Sanic servers that send the same bytes.
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
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from coordination.errors import FarmLokalError
from coordination.settings import load_settings
from models.migrate import migrate
from ops import embedded_redis
from ops.bench.load import Measured, measure, require_wrk
from ops.child import Child, Program
from ops.seed.seeding import DEFAULT_SEED, seed_catalogue

_START_WITHIN_S: Final = 30


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
    try:
        require_wrk()
        with tempfile.TemporaryDirectory(prefix="farmlokal-bench-") as home:
            results = _run(Path(home), arguments)
    except (FarmLokalError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    _print(results, arguments)
    return 0


def _run(home: Path, arguments: argparse.Namespace) -> list[Result]:
    children: list[Child] = []
    quiet = lambda _line: None  # noqa: E731

    def start(name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        children.append(Child(Program(name, command, environment), quiet))

    try:
        redis_port = embedded_redis.free_port()
        binary = embedded_redis.find_binary()
        start("redis", embedded_redis.command(binary, redis_port, home), {})
        redis_url = f"redis://127.0.0.1:{redis_port}/0"
        if not embedded_redis.answers(redis_url, _START_WITHIN_S):
            raise RuntimeError("the embedded Redis did not start")
        settings = load_settings(farmlokal_home=home, redis_url=redis_url)
        asyncio.run(migrate(settings))
        seed_catalogue(
            settings,
            count=arguments.products,
            seed=DEFAULT_SEED,
            progress=lambda _count: None,
            phase=lambda _words: None,
        )
        api_port = embedded_redis.free_port()
        environment = {
            "FARMLOKAL_HOME": str(home),
            "DATABASE_URL": settings.effective_database_url,
            "REDIS_URL": redis_url,
            "PROMETHEUS_MULTIPROC_DIR": str(home / "metrics"),
            "PORT": str(api_port),
            # Exact as ever, only high enough that it rejects nothing.
            "RATE_LIMIT_REQUESTS": "1000000000",
        }
        start("web", [sys.executable, "-m", "api"], environment)
        base = f"http://127.0.0.1:{api_port}"
        _await_ready(f"{base}/health/ready")
        cases: list[Case] = []
        for name, path in _paths(base):
            floor_port = embedded_redis.free_port()
            body = home / f"floor-{floor_port}.json"
            body.write_bytes(httpx.get(base + path, timeout=10).raise_for_status().content)
            floor = [sys.executable, "-m", "ops.bench.floor", str(floor_port), str(body)]
            start(f"floor-{floor_port}", floor, {})
            _await_ready(f"http://127.0.0.1:{floor_port}/")
            cases.append(Case(name, base + path, f"http://127.0.0.1:{floor_port}/"))
        return [_compare(case, arguments) for case in cases]
    finally:
        for child in reversed(children):
            child.kill()
            child.exit_code()


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


def _await_ready(url: str) -> None:
    ends_at = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < ends_at:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer in {_START_WITHIN_S} s")


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
    if arguments.json:
        document = {"arguments": vars(arguments), "results": [asdict(r) for r in results]}
        arguments.json.write_text(json.dumps(document, default=str, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--json", type=Path, help="also write all rounds to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
