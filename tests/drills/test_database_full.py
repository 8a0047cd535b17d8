"""The database read-only, or out of space: writes are told "later", reads go on, nothing breaks."""

from __future__ import annotations

import resource
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pymysql
import pytest

from tests.drilling.judging import judge
from tests.drilling.load import READS, MixedLoad
from tests.drilling.redis_pair import redis_pair
from tests.drilling.shop import DrillShop
from tests.drilling.shop import shop as running_shop
from tests.drills.conftest import Drill
from tests.servers import MariaDBPrograms, PrivateMariaDB, SqlServer

_BEFORE_S: Final = 2.0
_UNDER_WAY_S: Final = 0.5
"""What is younger than this when the fault begins may meet it."""
_BACK_WITHIN_S: Final = 2.0
_FULL: Final = 1114
# All tables in one file, and no other file as large as that one.
_ONE_FILE: Final = (
    "--innodb-file-per-table=0",
    "--innodb-autoextend-increment=1",
    "--innodb-log-file-size=8M",
)


class _SmallMariaDB(PrivateMariaDB):
    """One that can be left without space: its files may not grow beyond a limit of the kernel's.

    To the server that is a disk without room, and freeing it takes no statement, which may need
    room itself.
    """

    def __init__(self, programs: MariaDBPrograms) -> None:
        super().__init__(programs, options=_ONE_FILE)

    def _command(self) -> list[str | Path]:
        # Else the limit's signal would end it; an error from the write is what a full disk gives.
        ignoring = 'trap "" XFSZ; exec "$@"'
        return ["/bin/sh", "-c", ignoring, "sh", *super()._command()]

    @contextmanager
    def without_room(self) -> Iterator[None]:
        """No file may outgrow what the one with the tables has now."""
        pid, most = self._running().pid, (self._data / "ibdata1").stat().st_size
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, hard))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@dataclass(frozen=True, slots=True)
class _Scene:
    """A shop, what happens to its database, and by which name operators are told of it."""

    shop: DrillShop
    fault: Callable[[], AbstractContextManager[None]]
    reason: str


@contextmanager
def _read_only(server: PrivateMariaDB) -> Iterator[None]:
    server.execute("SET GLOBAL read_only = ON")
    try:
        yield
    finally:
        server.execute("SET GLOBAL read_only = OFF")


@contextmanager
def _out_of_space(server: _SmallMariaDB) -> Iterator[None]:
    """Filled up to the last page."""
    server.create_database("ballast")
    server.execute("CREATE TABLE ballast.stones (body LONGBLOB) ENGINE=InnoDB")
    with server.without_room():
        for size in (1_000_000, 60_000, 6_000, 1_000):
            with pytest.raises(pymysql.OperationalError, match=str(_FULL)):
                _throw_in(server, size)
        yield
    server.drop_database("ballast")


def _throw_in(server: SqlServer, size: int) -> None:
    """Stones of this size until no more fit."""
    with server.connect("ballast") as connection, connection.cursor() as cursor:
        while True:
            cursor.execute("INSERT INTO stones VALUES (REPEAT('x', %s))", (size,))


@pytest.fixture
def read_only_scene(
    drill_mariadb: PrivateMariaDB,
    redis_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[_Scene]:
    """Its account is as production's should be: one with more rights writes all the same."""
    server, password = drill_mariadb, secrets.token_hex(8)
    account = f"'clerk'@'{server.host}'"
    server.execute(f"CREATE USER {account} IDENTIFIED BY '{password}'")
    server.execute(rf"GRANT ALL ON `farmlokal\_%`.* TO {account}")
    clerk = SqlServer(server.host, server.port, "clerk", password)
    home = tmp_path_factory.mktemp("read-only")
    try:
        with (
            redis_pair(redis_program) as (queue, cache),
            running_shop(home, mariadb=clerk, queue=queue, cache=cache) as shop,
        ):
            yield _Scene(shop, partial(_read_only, server), "read_only")
    finally:
        server.execute(f"DROP USER {account}")


@pytest.fixture
def small_scene(
    mariadb_programs: MariaDBPrograms,
    redis_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[_Scene]:
    """On a server of its own that has little room."""
    with (
        _SmallMariaDB(mariadb_programs) as server,
        redis_pair(redis_program) as (queue, cache),
        running_shop(
            tmp_path_factory.mktemp("small"), mariadb=server, queue=queue, cache=cache
        ) as shop,
    ):
        yield _Scene(shop, partial(_out_of_space, server), "full")


def test_a_read_only_database_refuses_writes_and_serves_reads(
    read_only_scene: _Scene, drill: Drill
) -> None:
    """As after a failover that left us with a replica; nobody has to restart anything."""
    _go_through(read_only_scene, drill, "database read-only", everything=True)


@pytest.mark.full_drill
def test_a_full_database_refuses_writes_and_serves_reads(small_scene: _Scene, drill: Drill) -> None:
    """What still fits is written whole, what does not is refused whole."""
    _go_through(small_scene, drill, "database out of space", everything=False)


def _go_through(scene: _Scene, drill: Drill, name: str, *, everything: bool) -> None:
    shop = scene.shop
    with MixedLoad(shop) as load:
        began_at = load.hold(_BEFORE_S)
        with scene.fault():
            held_at = load.now()
            ended_at = load.hold(drill.hold_s)
        back_at = load.now()
        load.hold(_BACK_WITHIN_S * min(2.0, drill.slack) + _BEFORE_S)
        verdict = judge(load)
    assert load.failures(until=began_at - _UNDER_WAY_S) == []
    assert load.failures(kinds=READS) == []
    assert verdict.findings == ()
    refused = load.failures()
    assert {sample.status for sample in refused} == {HTTPStatus.SERVICE_UNAVAILABLE}
    assert all(int(sample.retry_after) >= 1 for sample in refused)
    assert {"write", "webhook"} == {sample.kind for sample in refused}
    if everything:
        meant = load.samples(held_at, ended_at, ("write", "webhook"))
        assert all(sample.failed for sample in meant), "a write was acknowledged"
    recovered_s = load.recovered_after_s(back_at)
    assert recovered_s < _BACK_WITHIN_S * drill.slack
    _operators_are_told(scene)
    _nothing_is_broken(shop)
    drill.record(verdict.row(name, recovered_s))


def _operators_are_told(scene: _Scene) -> None:
    """Why, once a process and minute; and the server was never taken for one that is away."""
    shop, reason = scene.shop, scene.reason
    assert shop.metric(f'database_faults_total{{reason="{reason}"') > 0
    assert shop.metric('database_faults_total{reason="paused"') == 0
    for process in shop.processes:
        errors: list[Any] = [line for line in process.logs() if line["level"] == "error"]
        assert [line for line in errors if line["message"] != "Database refuses"] == []
        reasons = [line["reason"] for line in errors]
        assert len(reasons) == len(set(reasons)), "once a minute is enough"
    told = [line for p in shop.api for line in p.logs() if line["message"] == "Database refuses"]
    assert reason in {line["reason"] for line in told}


def _nothing_is_broken(shop: DrillShop) -> None:
    tables = [next(iter(row.values())) for row in shop.rows("SHOW TABLES")]
    checked = shop.rows("CHECK TABLE " + ", ".join(f"`{table}`" for table in tables) + " EXTENDED")
    assert {row["Msg_text"] for row in checked} == {"OK"}
    # What could not be applied for want of a database that writes was nobody's own failure.
    (most,) = shop.rows("SELECT MAX(attempts) AS attempts FROM webhook_events")
    assert most["attempts"] <= 2
