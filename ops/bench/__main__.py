"""``make bench``: ours beside floors, interleaved, in one run; a table of ratios with goals.

Everything is started here and ended here: a private MariaDB, whose catalogue of ``--products`` is
kept between runs, two Redis servers, our processes as in production, and the floors. Each round
measures ours and its floors one after the other; the medians of the rounds' paired ratios are
judged, because absolute figures of a shared machine mean little. Exits 0 even when goals are
missed, 1 when an answer was wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from coordination.errors import FarmLokalError
from coordination.settings import load_settings
from ops.bench.bench import Bench, Options, say
from ops.bench.cases import CASES
from ops.bench.kept import kept_catalogue
from ops.bench.load import require_wrk
from ops.bench.machine import describe_machine
from ops.bench.plot import as_svg
from ops.bench.processes import Processes
from ops.bench.results import Row, Verdict
from ops.bench.shop import Shop
from ops.bench.table import as_document, as_lines


def main() -> int:
    """Returns 0, or 1 when something needed is missing or an answer failed."""
    arguments = _arguments()
    processes = Processes()
    try:
        require_wrk()
        with tempfile.TemporaryDirectory(prefix="farmlokal-bench-") as home:
            rows, machine = _run(Path(home), processes, arguments)
    except (FarmLokalError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        processes.close()
    for line in ("", *(f"{name}: {value}" for name, value in machine.items()), "", *as_lines(rows)):
        print(line)
    _write(arguments, rows, machine)
    return int(any(row.verdict is Verdict.FAILED for row in rows))


def _run(
    home: Path, processes: Processes, arguments: argparse.Namespace
) -> tuple[list[Row], dict[str, str]]:
    cache = load_settings().farmlokal_home.absolute() / "bench"
    with kept_catalogue(
        processes, cache, arguments.products, arguments.buffer_pool_mib, say
    ) as kept:
        machine = describe_machine(kept.account)
        bench = Bench(
            shop=Shop(home, kept, processes),
            home=home,
            cache=cache,
            options=Options(
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                connections=arguments.connections,
                import_rows=arguments.import_rows,
                import_rounds=arguments.import_rounds,
                events=arguments.events,
            ),
        )
        rows: list[Row] = []
        for name in arguments.only:
            say(name)
            rows += _measured(name, bench)
        kept.clear()
    return rows, machine


def _measured(name: str, bench: Bench) -> list[Row]:
    """A case that breaks off must not take the others' figures with it."""
    try:
        return CASES[name](bench)
    except (FarmLokalError, RuntimeError, OSError) as error:
        return [Row(name, "", failures=(f"broke off: {error}",))]


def _write(arguments: argparse.Namespace, rows: list[Row], machine: dict[str, str]) -> None:
    options = {name: value for name, value in vars(arguments).items() if value is not None}
    if arguments.json:
        document = as_document(rows, machine, options)
        arguments.json.write_text(json.dumps(document, default=str, indent=2, ensure_ascii=False))
    if arguments.plot:
        title = f"{arguments.products:,} products, {machine['cpu']}, {machine['cores']} cores"
        arguments.plot.write_text(as_svg(rows, title))


def _cases(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in CASES]:
        raise argparse.ArgumentTypeError(
            f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}"
        )
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one contender in a round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--buffer-pool-mib", type=int, default=2_048, help="MariaDB's")
    parser.add_argument("--only", type=_cases, default=list(CASES), metavar="CASE[,CASE]")
    parser.add_argument("--events", type=int, default=20_000, help="worked off in a round")
    parser.add_argument("--import-rows", type=int, default=100_000)
    parser.add_argument("--import-rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all rounds to this file")
    parser.add_argument("--plot", type=Path, help="write a picture (SVG) to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
