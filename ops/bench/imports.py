"""A list's import beside ``LOAD DATA`` of the same rows, round by round.

Each round makes two databases of the same schema. Into one comes the list, by an upload to one web
process and the work of one worker process, which a scheduler hints as ever; measured from its
acceptance until it is completed: checked, applied with watermarks and change feed, resumable. Into
the other come the rows by one statement from a file, with all indexes in place; then the watermarks
and changes that an import writes as well, by two more, which are not in the goal.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psutil

from coordination.settings import Settings, load_settings
from models import api_keys
from models.database import open_database
from models.imports.stages import OVER, Stage
from models.migrate import migrate
from ops.bench.list_files import DERIVE_STATEMENTS, load_statement, write_list, write_rows
from ops.bench.mariadb import Account, provide_server
from ops.bench.processes import Processes
from ops.seed.catalogue import Catalogue
from ops.seed.seeding import DEFAULT_SEED, seed_catalogue
from ops.seed.store import PlaceIds

__all__ = ["GOAL", "ImportResult", "ImportRound", "Spent", "measure_imports"]

GOAL: Final = 0.5
"""Of the rate of LOAD DATA."""
_END_WITHIN_S: Final = 1_800
_UPLOAD_WITHIN_S: Final = 600
# As ``farmlokal import`` does.
_ASKED_EVERY_S: Final = 0.5

_Moment = tuple[float, "Spent"]
"""By the clock, and what had been spent by then."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds; the worker's include the index of words, which it follows meanwhile.

    The database's are 0 where the server is not ours.
    """

    worker_s: float = 0.0
    database_s: float = 0.0

    def __sub__(self, before: Spent) -> Spent:
        return Spent(self.worker_s - before.worker_s, self.database_s - before.database_s)


@dataclass(frozen=True, slots=True)
class ImportRound:
    """Seconds that one round took."""

    uploading_s: float
    checking_s: float
    """From acceptance to the first row that is applied, the judgement included."""
    applying_s: float
    loading_s: float
    """LOAD DATA."""
    deriving_s: float
    """Watermarks and changes of what was loaded, two statements."""
    checking: Spent = Spent()
    applying: Spent = Spent()
    loading: Spent = Spent()

    @property
    def ratio(self) -> float:
        """Our rate from acceptance to the end, of that of LOAD DATA."""
        return self.loading_s / (self.checking_s + self.applying_s)

    @property
    def applying_ratio(self) -> float:
        """The same of applying alone."""
        return self.loading_s / self.applying_s


@dataclass(frozen=True, slots=True)
class ImportResult:
    """All rounds, and medians over them."""

    rows: int
    rounds: tuple[ImportRound, ...]

    @property
    def ratio(self) -> float:
        return statistics.median(each.ratio for each in self.rounds)

    @property
    def applying_ratio(self) -> float:
        return statistics.median(each.applying_ratio for each in self.rounds)

    @property
    def ours_per_s(self) -> float:
        return self.rows / statistics.median(r.checking_s + r.applying_s for r in self.rounds)

    @property
    def checking_per_s(self) -> float:
        return self.rows / statistics.median(each.checking_s for each in self.rounds)

    @property
    def applying_per_s(self) -> float:
        return self.rows / statistics.median(each.applying_s for each in self.rounds)

    @property
    def load_per_s(self) -> float:
        return self.rows / statistics.median(each.loading_s for each in self.rounds)


def measure_imports(*, rows: int, rounds: int) -> ImportResult:
    """Raises ``Misconfigured`` without a MariaDB, ``RuntimeError`` when something failed."""
    processes = Processes()
    with tempfile.TemporaryDirectory(prefix="farmlokal-bench-") as home:
        try:
            bench = _Bench(Path(home), processes, rows)
            return ImportResult(rows, tuple(bench.round() for _ in range(rounds)))
        finally:
            processes.close()


class _Bench:
    """Servers that stay for all rounds, and the products that are brought in."""

    def __init__(self, home: Path, processes: Processes, rows: int) -> None:
        self._home = home
        self._rows = rows
        self._processes = processes
        self._catalogue = Catalogue(DEFAULT_SEED)
        self._redis_url = processes.start_redis(home)
        settings = load_settings(farmlokal_home=home, redis_url=self._redis_url)
        self._account: Account = provide_server(settings, processes, home)
        self._list = home / "list.csv"
        write_list(self._list, self._catalogue.products(rows))

    def round(self) -> ImportRound:
        """One import, then one load."""
        with self._database() as settings:
            measured = self._import(settings)
        with self._database() as settings:
            loading_s, deriving_s, loading = self._load(settings)
        uploading_s, checking_s, applying_s, checking, applying = measured
        return ImportRound(
            uploading_s, checking_s, applying_s, loading_s, deriving_s, checking, applying, loading
        )

    @contextmanager
    def _database(self) -> Iterator[Settings]:
        """A new one, with the catalogue's categories and farms."""
        with self._account.scratch_database() as url:
            settings = load_settings(
                farmlokal_home=self._home, redis_url=self._redis_url, database_url=url
            )
            asyncio.run(migrate(settings))
            seed_catalogue(
                settings,
                count=0,
                seed=DEFAULT_SEED,
                progress=lambda _count: None,
                phase=lambda _words: None,
            )
            yield settings

    def _import(self, settings: Settings) -> tuple[float, float, float, Spent, Spent]:
        """Seconds of uploading, checking and applying, and what the last two cost."""
        environment = {
            "FARMLOKAL_HOME": str(self._home),
            "DATABASE_URL": settings.effective_database_url,
            "REDIS_URL": self._redis_url,
            "PROMETHEUS_MULTIPROC_DIR": str(self._home / "metrics"),
        }
        processes = Processes()
        try:
            for name, module in (("worker", "actors"), ("scheduler", "scheduler")):
                processes.start(name, [sys.executable, "-m", module], environment)
            address = processes.start_web(environment)
            key = asyncio.run(_make_key(settings))
            headers = {"authorization": f"Bearer {key}"}
            with httpx.Client(base_url=address, headers=headers, timeout=30) as client:
                began_at = time.monotonic()
                job = self._upload(client)
                uploaded_at, uploaded = time.monotonic(), self._spent(processes)
                spent = partial(self._spent, processes)
                (applying_at, applying), (ended_at, ended) = self._follow(
                    client, str(job["id"]), spent
                )
        finally:
            processes.close()
        return (
            uploaded_at - began_at,
            applying_at - uploaded_at,
            ended_at - applying_at,
            applying - uploaded,
            ended - applying,
        )

    def _spent(self, processes: Processes) -> Spent:
        """Since they were started."""
        return Spent(_processor_s(processes, "worker"), _processor_s(self._processes, "mariadb"))

    def _upload(self, client: httpx.Client) -> dict[str, Any]:
        with self._list.open("rb") as body:
            answer = client.post(
                "/v1/imports",
                headers={"content-type": "text/csv"},
                content=iter(lambda: body.read(256 * 1024), b""),
                timeout=_UPLOAD_WITHIN_S,
            )
        if answer.status_code != httpx.codes.ACCEPTED:
            raise RuntimeError(f"the list was not taken: {answer.text}")
        job: dict[str, Any] = answer.json()
        return job

    def _follow(
        self, client: httpx.Client, import_id: str, spent: Callable[[], Spent]
    ) -> tuple[_Moment, _Moment]:
        """When applying began, and when the import was completed."""
        ends_at = time.monotonic() + _END_WITHIN_S
        applying: _Moment | None = None
        while time.monotonic() < ends_at:
            job = client.get(f"/v1/imports/{import_id}").raise_for_status().json()
            now = time.monotonic(), spent()
            if applying is None and job["state"] != Stage.VALIDATING:
                applying = now
            if job["state"] in OVER:
                if job["state"] != Stage.COMPLETED or job["rows"]["created"] != self._rows:
                    raise RuntimeError(f"the import ended otherwise: {job}")
                return applying or now, now
            time.sleep(_ASKED_EVERY_S)
        raise RuntimeError(f"the import did not end in {_END_WITHIN_S} s")

    def _load(self, settings: Settings) -> tuple[float, float, Spent]:
        """Seconds that LOAD DATA took, and what an import writes beside the products."""
        database = urlsplit(settings.effective_database_url).path[1:]
        file = self._home / "rows.tsv"
        with self._account.cursor(database) as cursor:
            write_rows(file, self._catalogue.products(self._rows), _place_ids(cursor))
            began_at, before = time.monotonic(), _processor_s(self._processes, "mariadb")
            loaded = cursor.execute(load_statement(file))
            loaded_at, after = time.monotonic(), _processor_s(self._processes, "mariadb")
            for statement in DERIVE_STATEMENTS:
                cursor.execute(statement)
            derived_at = time.monotonic()
        if loaded != self._rows:
            raise RuntimeError(f"LOAD DATA took {loaded} rows of {self._rows}")
        return loaded_at - began_at, derived_at - loaded_at, Spent(database_s=after - before)


def _processor_s(processes: Processes, name: str) -> float:
    """Processor time of a child and its own children so far."""
    total = 0.0
    for child in processes.children:
        if child.program.name == name:
            leader = psutil.Process(child.pid)
            for process in (leader, *leader.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    total += times.user + times.system
    return total


async def _make_key(settings: Settings) -> str:
    db = await open_database(settings)
    try:
        key, _ = await api_keys.create(db, "bench", ["catalog:write"])
    finally:
        await db.close()
    return key


def _place_ids(cursor: Any) -> PlaceIds:
    cursor.execute("SELECT slug, id FROM categories")
    categories: dict[str, int] = dict(cursor.fetchall())
    cursor.execute("SELECT external_id, id FROM farms WHERE external_id IS NOT NULL")
    return PlaceIds(categories, dict(cursor.fetchall()))
