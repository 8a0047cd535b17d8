"""``make bench-soak``: a mixed load on a private stack, and whether anything grows under it.

Every few seconds each process's memory, descriptors and threads are read, the servers' connections
and keys, what waits to be done, and the ledger. Times to live and retentions are a minute. At the
end every series must be flat by the rule of ``flatness``, every request answered as it must be, all
work done and the ledger 0. Exits 1 if not.
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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from coordination.errors import FarmLokalError
from ops.bench.soak.flatness import LEAST_SAMPLES, Flatness, judge
from ops.bench.soak.gauges import GAUGES, Gauges
from ops.bench.soak.load import Load, Tally
from ops.bench.stack import running_stack

_SETTLE_WITHIN_S: Final = 60.0
_COLUMNS: Final = 6
_PRODUCTS: Final = 2_000
_MINUTE: Final = "60"
# So that whatever lives for a while reaches its plateau within the run.
_BRIEF: Final = {
    "CACHE_LIST_TTL_S": "30",
    "CACHE_LIST_SOFT_TTL_S": "15",
    "CACHE_PRODUCT_TTL_S": _MINUTE,
    "CACHE_PRODUCT_SOFT_TTL_S": "30",
    "STALE_IF_ERROR_S": "30",
    "SEARCH_TTL_S": _MINUTE,
    "WEBHOOK_SEEN_TTL_S": _MINUTE,
    "IDEMPOTENCY_TTL_S": _MINUTE,
    "RETENTION_OUTBOX_S": _MINUTE,
    "RETENTION_CHANGES_S": _MINUTE,
    "RETENTION_IMPORTS_S": _MINUTE,
    "RETENTION_WEBHOOK_PAYLOADS_S": _MINUTE,
    "RETENTION_WEBHOOK_KEYS_S": _MINUTE,
    "PURGE_INTERVAL_S": "15",
}


@dataclass(slots=True)
class Soaked:
    """All samples of a run."""

    times_s: list[float] = field(default_factory=list)
    series: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    ledger: float = 0.0
    left: float = 0.0
    """What still waited when the load had ended and been given time."""

    def add(self, at_s: float, figures: Mapping[tuple[str, str], float]) -> None:
        """Take in one look at everything."""
        self.times_s.append(at_s)
        for key, value in figures.items():
            self.series.setdefault(key, []).append(value)

    def verdicts(self) -> dict[tuple[str, str], Flatness]:
        """Of each series."""
        return {
            (who, what): judge(
                self.times_s, values, share=GAUGES[what].share, floor=GAUGES[what].floor
            )
            for (who, what), values in self.series.items()
        }


def main() -> int:
    """Returns 0, or 1 when something grew, failed, was lost, or is missing here."""
    arguments = _arguments()
    seconds = arguments.minutes * 60
    if seconds / arguments.every < LEAST_SAMPLES:
        print(f"fewer than {LEAST_SAMPLES} samples: run longer", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="farmlokal-soak-") as home:
            soaked, tally = _soak(Path(home), seconds, arguments.every, arguments.per_s)
    except (FarmLokalError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    verdicts = soaked.verdicts()
    _print(soaked, verdicts, tally, arguments)
    if arguments.json:
        _write(arguments.json, soaked, verdicts, tally)
    grown = [key for key, verdict in verdicts.items() if not verdict.is_flat]
    return int(bool(grown or tally.failures.total() or soaked.ledger or soaked.left))


def _soak(home: Path, seconds: float, every_s: float, per_s: float) -> tuple[Soaked, Tally]:
    with running_stack(home, products=_PRODUCTS, web=2, environment=_BRIEF) as stack:
        gauges, load = Gauges(stack), Load(stack, per_s)
        try:
            soaked = asyncio.run(_watched(load, gauges, seconds, every_s))
        finally:
            gauges.close()
    return soaked, load.tally


async def _watched(load: Load, gauges: Gauges, seconds: float, every_s: float) -> Soaked:
    soaked, began_at = Soaked(), time.monotonic()
    running = asyncio.create_task(load.run(seconds))
    while not running.done():
        # The bench's own loop must not stand still while the servers are asked.
        figures = await asyncio.to_thread(gauges.read)
        soaked.add(time.monotonic() - began_at, figures)
        soaked.ledger = max(soaked.ledger, abs(await asyncio.to_thread(gauges.ledger_difference)))
        await asyncio.wait([running], timeout=every_s)
    await running
    soaked.left = await asyncio.to_thread(_left_undone, gauges)
    return soaked


def _left_undone(gauges: Gauges) -> float:
    """What still waits when the workers have had a minute without load."""
    ends_at = time.monotonic() + _SETTLE_WITHIN_S
    while (left := gauges.read()["work", "waiting"]) and time.monotonic() < ends_at:
        time.sleep(1)
    return left


def _print(
    soaked: Soaked,
    verdicts: Mapping[tuple[str, str], Flatness],
    tally: Tally,
    arguments: argparse.Namespace,
) -> None:
    steps = [round(n * (len(soaked.times_s) - 1) / (_COLUMNS - 1)) for n in range(_COLUMNS)]
    table = Table(box=None, pad_edge=False)
    table.add_column("what")
    for step in steps:
        table.add_column(f"{soaked.times_s[step] / 60:.1f} min", justify="right")
    for name in ("middle", "last", "slope/h", "allowed"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for (who, what), verdict in verdicts.items():
        values = soaked.series[who, what]
        unit = GAUGES[what].unit
        figures = (verdict.begin, verdict.end, verdict.slope_per_h, verdict.allowed)
        table.add_row(
            f"{who}: {what}{f' ({unit})' if unit else ''}",
            *(f"{values[step]:.4g}" for step in steps),
            *(f"{figure:.4g}" for figure in figures),
            "flat" if verdict.is_flat else "GROWS",
        )
    print(f"{platform.machine()}, {arguments.minutes} min at {arguments.per_s} requests/s")
    Console(width=160).print(table)
    latencies = sorted(tally.latencies_ms)
    p99 = latencies[int(len(latencies) * 0.99)] if latencies else 0.0
    middle = statistics.median(latencies) if latencies else 0.0
    print(f"requests {dict(tally.requests)}, P50 {middle:.1f} ms, P99 {p99:.1f} ms")
    print(f"failures {dict(tally.failures)}, ledger {soaked.ledger:g}, left undone {soaked.left:g}")
    for words in tally.first_faults:
        print(words)


def _write(
    path: Path, soaked: Soaked, verdicts: Mapping[tuple[str, str], Flatness], tally: Tally
) -> None:
    document = {
        "times_s": soaked.times_s,
        "series": {f"{who}: {what}": values for (who, what), values in soaked.series.items()},
        "verdicts": {f"{who}: {what}": asdict(v) for (who, what), v in verdicts.items()},
        "requests": tally.requests,
        "failures": tally.failures,
        "ledger": soaked.ledger,
    }
    path.write_text(json.dumps(document, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--per-s", type=float, default=20.0, help="requests a second")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two looks")
    parser.add_argument("--json", type=Path, help="also write all samples to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
