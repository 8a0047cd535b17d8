"""What drills are given: their own servers and a shop on them, their form, a line in the table.

Drills share one shop per test process and leave it whole. The full form (``--full-drills``) holds
faults longer, judges times strictly and runs the variants marked ``full_drill``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.drilling.judging import await_work
from tests.drilling.redis_pair import redis_pair
from tests.drilling.shop import DrillShop
from tests.drilling.shop import shop as running_shop
from tests.drilling.supervised import Supervised, supervised_shop
from tests.drilling.table import FaultRow, Recorder, rendered, rows_of, write_json
from tests.servers import MariaDBPrograms, PrivateMariaDB, PrivateRedis


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full-drills",
        action="store_true",
        help="the drills' full form: longer faults, all variants, strict bounds on time",
    )
    parser.addoption("--drill-json", type=Path, help="where to write the drills' table as JSON")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the variants of the full form out of the short one."""
    # Unknown where pytest met this file only after it had read its command line.
    if config.getoption("full_drills", default=False):
        return
    left_out = [item for item in items if item.get_closest_marker("full_drill")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table of what ran."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    rows = rows_of(reports)
    if not rows:
        return
    terminalreporter.section("drills")
    for line in rendered(rows):
        terminalreporter.write_line(line)
    path = config.getoption("drill_json", default=None)
    if path is not None:
        write_json(rows, path)


@dataclass(frozen=True)
class Drill:
    """How thorough to be, and where to put what came of it."""

    full: bool
    hold_s: float
    """How long to hold a fault."""
    slack: float
    """What to multiply bounds on time with: in the short form other tests run meanwhile."""
    recorder: Recorder

    def record(self, row: FaultRow) -> None:
        """Add a row to the table."""
        self.recorder.record(row)


@pytest.fixture
def drill(request: pytest.FixtureRequest) -> Drill:
    """The form of this run, and this test's line in the table."""
    recorder = Recorder(request.node.user_properties)
    if request.config.getoption("full_drills", default=False):
        return Drill(full=True, hold_s=4.0, slack=1.0, recorder=recorder)
    return Drill(full=False, hold_s=2.0, slack=5.0, recorder=recorder)


@pytest.fixture(scope="session")
def drill_mariadb(mariadb_programs: MariaDBPrograms) -> Iterator[PrivateMariaDB]:
    """The shop's database server."""
    with PrivateMariaDB(mariadb_programs) as server:
        yield server


@pytest.fixture(scope="session")
def drill_queue(redis_program: Path) -> Iterator[PrivateRedis]:
    """The shop's queue Redis."""
    with PrivateRedis(redis_program, appendonly=True) as server:
        yield server


@pytest.fixture(scope="session")
def drill_cache(redis_program: Path) -> Iterator[PrivateRedis]:
    """The shop's cache Redis."""
    with PrivateRedis(redis_program, maxmemory_policy="volatile-lru") as server:
        yield server


@pytest.fixture(scope="session")
def session_shop(
    drill_mariadb: PrivateMariaDB,
    drill_queue: PrivateRedis,
    drill_cache: PrivateRedis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DrillShop]:
    """The one that ``shop`` gives."""
    home = tmp_path_factory.mktemp("shop")
    with running_shop(home, mariadb=drill_mariadb, queue=drill_queue, cache=drill_cache) as shop:
        yield shop


@pytest.fixture
def shop(
    session_shop: DrillShop,
    drill_mariadb: PrivateMariaDB,
    drill_queue: PrivateRedis,
    drill_cache: PrivateRedis,
) -> Iterator[DrillShop]:
    """The shop that drills share: two web processes, a worker, a scheduler; idle, and whole again
    after."""
    await_work(session_shop, deadline_s=30)
    yield session_shop
    for server in (drill_mariadb, drill_queue, drill_cache):
        server.revive()
    session_shop.revive()


@pytest.fixture(scope="module")
def running_supervised(
    drill_mariadb: PrivateMariaDB,
    redis_program: Path,
    haproxy_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Supervised]:
    """The one that ``supervised`` gives. Its Redis servers are its own: fleets share no queue."""
    with (
        redis_pair(redis_program) as (queue, cache),
        supervised_shop(
            tmp_path_factory.mktemp("supervised"),
            haproxy_program,
            mariadb=drill_mariadb,
            queue=queue,
            cache=cache,
        ) as running,
    ):
        yield running


@pytest.fixture
def supervised(running_supervised: Supervised) -> Supervised:
    """A shop under its supervisor, two processes of each kind; all run, serve and are idle."""
    running_supervised.settle()
    await_work(running_supervised.shop, deadline_s=30)
    return running_supervised
