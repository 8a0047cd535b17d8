"""A MariaDB that answers, but not as it should: what callers are told, and what goes on working."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from coordination.errors import DatabaseUnavailable
from models.database import Database, open_database
from tests.databases import settings_for
from tests.polling import eventually_async
from tests.servers import PrivateMariaDB

_CONNECTIONS = 3
_PATIENCE = {
    "database_pool_size": _CONNECTIONS,
    "database_acquire_timeout_ms": 200,
    "database_query_timeout_ms": 400,
    "database_breaker_pause_ms": 50,
}


@dataclass(frozen=True)
class Shared:
    """A database and an account that has no say over the server."""

    server: PrivateMariaDB
    url: str
    account: str


@pytest.fixture
def shared(breakable_mariadb: PrivateMariaDB) -> Iterator[Shared]:
    """As production's account should be: READ_ONLY ADMIN would write to a read-only server."""
    server, name, password = breakable_mariadb, "farmlokal_refusals", secrets.token_hex(8)
    account = f"'shop'@'{server.host}'"
    server.create_database(name)
    server.execute(f"CREATE TABLE {name}.things (id INT PRIMARY KEY) ENGINE=InnoDB")
    server.execute(f"CREATE USER {account} IDENTIFIED BY '{password}'")
    server.execute(f"GRANT ALL ON {name}.* TO {account}")
    try:
        yield Shared(server, f"mysql://shop:{password}@{server.host}:{server.port}/{name}", account)
    finally:
        server.revive()
        server.drop_database(name)
        server.execute(f"DROP USER {account}")


@asynccontextmanager
async def opened(shared: Shared, home: Path) -> AsyncIterator[Database]:
    db = await open_database(settings_for(home, shared.url, **_PATIENCE))
    try:
        yield db
    finally:
        # A connection that was lost would be waited for without end.
        await asyncio.wait_for(db.close(), 10)


@contextmanager
def read_only(server: PrivateMariaDB) -> Iterator[None]:
    server.execute("SET GLOBAL read_only = ON")
    try:
        yield
    finally:
        server.execute("SET GLOBAL read_only = OFF")


async def _read(db: Database) -> int:
    return len(await db.fetch("SELECT id FROM things", purpose="test"))


async def _write(db: Database, number: int) -> None:
    async with db.transaction() as conn:
        await db.insert("INSERT INTO things VALUES (%s)", [number], purpose="test", conn=conn)


def _counted(reason: str) -> float:
    return REGISTRY.get_sample_value("database_faults_total", {"reason": reason}) or 0.0


async def test_a_read_only_server_refuses_writes_and_goes_on_reading(
    shared: Shared, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Reads are not left alone for it; operators are told why, once; clients are not."""
    counted = _counted("read_only")
    async with opened(shared, tmp_path) as db:
        with read_only(shared.server), caplog.at_level(logging.ERROR):
            for number in range(10):
                with pytest.raises(DatabaseUnavailable) as refused:
                    await _write(db, number)
                assert "option" not in str(refused.value)
                assert await _read(db) == 0
        await _write(db, 1)
        assert await _read(db) == 1
    assert _counted("read_only") == counted + 10
    (line,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert line.__dict__["reason"] == "read_only"
    assert "--read-only" in line.__dict__["said"]


async def test_a_server_without_a_free_connection_is_busy_and_not_away(
    shared: Shared, tmp_path: Path
) -> None:
    """The pool's own connections go on; the refusal of a further one is told as such."""
    counted = _counted("connections")
    shared.server.execute(f"GRANT USAGE ON *.* TO {shared.account} WITH MAX_USER_CONNECTIONS 1")
    async with opened(shared, tmp_path) as db:
        answers = await asyncio.gather(*(_read(db) for _ in range(30)), return_exceptions=True)
        assert {type(answer) for answer in answers} <= {int, DatabaseUnavailable}
        assert await _read(db) == 0
        assert not db.watch.is_away
    assert _counted("connections") > counted


async def test_slow_statements_of_our_own_do_not_make_the_server_look_away(
    shared: Shared, tmp_path: Path
) -> None:
    """All connections are taken for longer than the patience of everybody; nothing else runs."""
    async with opened(shared, tmp_path) as db:

        async def slow() -> None:
            await db.fetch("SELECT SLEEP(5) AS nap", purpose="test")

        for _ in range(2):
            ends = await asyncio.gather(
                *(slow() for _ in range(4 * _CONNECTIONS)), return_exceptions=True
            )
            assert {type(end) for end in ends} == {DatabaseUnavailable}
            assert not db.watch.is_away
        assert await _read(db) == 0


async def test_a_server_that_hangs_is_left_alone_until_it_answers(
    shared: Shared, tmp_path: Path
) -> None:
    """Then statements, transactions and commits fail at once, and none of their connections is
    lost; readiness asks all the same."""
    async with opened(shared, tmp_path) as db:
        await asyncio.gather(*(_read(db) for _ in range(_CONNECTIONS)))
        shared.server.freeze()
        await asyncio.gather(
            *(_write(db, n) for n in range(2 * _CONNECTIONS)), return_exceptions=True
        )
        await eventually_async(lambda: db.watch.is_away, deadline_s=10)
        began_at = time.monotonic()
        for number in range(100):
            with pytest.raises(DatabaseUnavailable):
                await _write(db, number)
            with pytest.raises(DatabaseUnavailable):
                await _read(db)
        assert time.monotonic() - began_at < 0.5
        given_up = _counted("timeout")
        assert not await db.ping()
        assert _counted("timeout") > given_up, "it did not ask"
        shared.server.resume()
        await eventually_async(lambda: not db.watch.is_away, deadline_s=10)
        await asyncio.gather(*(_read(db) for _ in range(5 * _CONNECTIONS)))
        await _write(db, 1000)
        pool = db.client._pool
        assert pool.size == pool.freesize


async def test_a_server_that_is_not_there_is_found_again_without_any_traffic(
    shared: Shared, tmp_path: Path
) -> None:
    """The first request after an outage must not be the one that finds out."""
    async with opened(shared, tmp_path) as db:
        await _read(db)
        shared.server.kill()
        for _ in range(5):
            with pytest.raises(DatabaseUnavailable):
                await _read(db)
        await eventually_async(lambda: db.watch.is_away, deadline_s=10)
        shared.server.restart()
        await eventually_async(lambda: not db.watch.is_away, deadline_s=10)
        assert await _read(db) == 0


@pytest.mark.parametrize("wrong", ["password", "database"])
async def test_what_a_server_refuses_to_open_is_no_defect(
    shared: Shared, tmp_path: Path, wrong: str
) -> None:
    """Wrong credentials, or a database that is not there: for operators, "later" to clients."""
    counted = _counted("denied")
    url = shared.url
    if wrong == "password":
        url = url.replace("mysql://shop:", "mysql://shop:not")
    else:
        url += "_gone"
    async with opened(replace(shared, url=url), tmp_path) as db:
        with pytest.raises(DatabaseUnavailable):
            await _read(db)
        with pytest.raises(DatabaseUnavailable):
            await _write(db, 1)
        assert not db.watch.is_away
    assert _counted("denied") >= counted + 2
