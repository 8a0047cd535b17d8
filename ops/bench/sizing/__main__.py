"""Measures what one product and one request cost, and prints what a demand would take.

Starts a whole private stack with one web process, loads it with wrk, kind after kind, and fills a
second database to see how large rows become. Prints Markdown: what was measured, then the
arithmetic, so that a figure in the documentation is this command's output.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from coordination.errors import FarmLokalError
from ops.bench.load import require_wrk
from ops.bench.sizing.arithmetic import Demand, plan
from ops.bench.sizing.serving import Cost, Serving
from ops.bench.sizing.storage import Storage, measure_cached, measure_storage
from ops.bench.stack import running_stack


def main() -> int:
    """Returns 0, or 1 when something needed is missing or an answer failed."""
    arguments = _arguments()
    try:
        require_wrk()
        with tempfile.TemporaryDirectory(prefix="farmlokal-sizing-") as name:
            _run(Path(name), arguments)
    except (FarmLokalError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(home: Path, arguments: argparse.Namespace) -> None:
    with running_stack(home, products=arguments.products, web=1, environment={}) as stack:
        serving = Serving(stack, home, arguments.rounds, arguments.seconds)
        costs = serving.measure_all()
        cached = measure_cached(stack.cache_url)
        numbered_per_s = serving.numbered_per_s()
        storage = measure_storage(stack.account, home, arguments.rows)
    print(
        f"{platform.machine()}, {arguments.rounds} rounds of {arguments.seconds} s,"
        f" {arguments.products:,} products; sizes over {storage.rows:,} rows\n"
    )
    _print_costs(costs)
    _print_storage(storage, cached, numbered_per_s)
    demand = Demand(
        products=arguments.for_products,
        requests=arguments.for_requests,
        hit_ratio=arguments.hit_ratio,
    )
    print("| what | arithmetic | result |\n| --- | --- | --- |")
    by_name = {cost.name: cost for cost in costs}
    for line in plan(demand, storage, cached, by_name, numbered_per_s):
        print(f"| {line.what} | {line.terms} | {line.result} |")
    if arguments.json:
        document = {
            "costs": [asdict(cost) for cost in costs],
            "storage": asdict(storage),
            "cached": cached,
            "numbered_per_s": numbered_per_s,
        }
        arguments.json.write_text(json.dumps(document, indent=1))


def _print_costs(costs: list[Cost]) -> None:
    groups = list(costs[0].cpu_ms)
    names = " | ".join(f"{'web' if group == 'web 1' else group}, ms" for group in groups)
    last = "statements | cache commands, those of scripts included"
    print(f"| request | a second | P99, ms | {names} | {last} |")
    print("| --- " * (len(groups) + 5) + "|")
    for cost in costs:
        spent = " | ".join(f"{cost.cpu_ms[group]:.3f}" for group in groups)
        print(
            f"| {cost.name} | {cost.per_s:,.0f} | {cost.p99_ms:.1f} | {spent}"
            f" | {cost.statements:.1f} | {cost.commands:.1f} |"
        )
    print()


def _print_storage(storage: Storage, cached: tuple[float, float], numbered_per_s: float) -> None:
    print("| bytes of | each |\n| --- | --- |")
    print(f"| a product with all indexes | {storage.product:,.0f} |")
    for index, size in sorted(storage.by_index.items(), key=lambda item: -item[1]):
        print(f"| of these `{index}` | {size:,.0f} |")
    for table, size in storage.following.items():
        print(f"| a row of `{table}` with its indexes | {size:,.0f} |")
    print(f"| a cached list of 20 | {cached[0]:,.0f} |")
    print(f"| a cached product | {cached[1]:,.0f} |")
    print(f"\nchanges numbered a second: {numbered_per_s:,.0f}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.sizing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each round")
    parser.add_argument("--products", type=int, default=200_000, help="while requests are measured")
    parser.add_argument("--rows", type=int, default=200_000, help="while sizes are measured")
    parser.add_argument("--for-products", type=int, default=100_000_000)
    parser.add_argument("--for-requests", type=float, default=50_000, help="a second")
    parser.add_argument("--hit-ratio", type=float, default=0.95)
    parser.add_argument("--json", type=Path, help="also write what was measured to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
