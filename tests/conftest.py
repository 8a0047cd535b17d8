"""Servers for the tests that ask for them, by name of what they need; started once a session.

Nothing here runs for tests that need no server. A missing server skips what needs it and says so
once, loudly; where CI is "true", such a session fails.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from tests.servers import (
    BinariesMissingError,
    MariaDBPrograms,
    PrivateMariaDB,
    PrivateRedis,
    PrivateRedisCluster,
    SqlServer,
    provide_faketime,
    provide_haproxy,
    provide_mariadb,
    provide_redis,
)

_Programs = TypeVar("_Programs")
_MISSING = pytest.StashKey[dict[str, str]]()

# The fixture that stands for a server's programs: its name for people, where they come from.
_PROGRAMS: dict[str, tuple[str, Callable[[], object]]] = {
    "mariadb_programs": ("MariaDB", provide_mariadb),
    "redis_program": ("Redis", provide_redis),
    "faketime_library": ("faketime", provide_faketime),
    "haproxy_program": ("HAProxy", provide_haproxy),
}


_ON_A_CLUSTER = os.environ.get("TEST_REDIS", "") == "cluster"
_REDIS_FIXTURES = {"redis_server", "queue_redis", "cache_redis"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a cluster: what has to do with Redis, but not what stands on one server."""
    if not _ON_A_CLUSTER:
        return
    left_out = [
        item
        for item in items
        if item.get_closest_marker("one_redis")
        or not _REDIS_FIXTURES & set(getattr(item, "fixturenames", ()))
    ]
    if left_out:
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_MISSING] = {}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before several processes test at once: one finds or installs the servers, for all of them."""
    config = session.config
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        named = {"mariadb_programs"} if os.environ.get("TEST_MYSQL_URL") else set()
        _provide(config, set(_PROGRAMS) - named)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find or install the servers now: a package's installation may outlast a test's timeout."""
    if session.config.option.collectonly:
        return
    asked: set[str] = set()
    for item in session.items:
        asked.update(getattr(item, "fixturenames", ()))
    if "mariadb" in asked and not os.environ.get("TEST_MYSQL_URL"):
        asked.add("mariadb_programs")
    _provide(session.config, asked)


def _provide(config: pytest.Config, asked: set[str]) -> None:
    for fixture, (server, provide) in _PROGRAMS.items():
        if fixture in asked:
            try:
                provide()
            except BinariesMissingError as error:
                config.stash[_MISSING][server] = str(error)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash[_MISSING] and _in_ci() and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    missing = config.stash[_MISSING]
    if missing:
        why = "; ".join(f"NO {server} ({reason})" for server, reason in missing.items())
        verdict = "so this session FAILS" if _in_ci() else "this is no full run"
        line = f"!!! {why}: every test that needs it was SKIPPED, {verdict}"
        terminalreporter.write_line(line, red=True, bold=True)


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


@pytest.fixture(scope="session")
def mariadb_programs(pytestconfig: pytest.Config) -> MariaDBPrograms:
    """For tests that start a MariaDB of their own; skips where there is none."""
    return _or_skip(pytestconfig, "MariaDB", provide_mariadb)


@pytest.fixture(scope="session")
def redis_program(pytestconfig: pytest.Config) -> Path:
    """For tests that start a Redis of their own; skips where there is none."""
    return _or_skip(pytestconfig, "Redis", provide_redis)


@pytest.fixture(scope="session")
def haproxy_program(pytestconfig: pytest.Config) -> Path:
    """For tests that start an HAProxy of their own; skips where there is none."""
    return _or_skip(pytestconfig, "HAProxy", provide_haproxy)


@pytest.fixture(scope="session")
def faketime_library(pytestconfig: pytest.Config) -> Path:
    """For tests that set the clock of one process; skips where the library is missing."""
    return _or_skip(pytestconfig, "faketime", provide_faketime)


def _or_skip(config: pytest.Config, server: str, provide: Callable[[], _Programs]) -> _Programs:
    missing = config.stash[_MISSING]
    if server not in missing:
        try:
            return provide()
        except BinariesMissingError as error:
            # Only a fixture that was asked for by name at run time finds out so late.
            missing[server] = str(error)
    pytest.skip(f"{server} is missing on this machine")


@pytest.fixture(scope="session")
def private_mariadb(mariadb_programs: MariaDBPrograms) -> Iterator[PrivateMariaDB]:
    """A MariaDB to measure and to break; `breakable_mariadb` mends it after the test."""
    with PrivateMariaDB(mariadb_programs) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(request: pytest.FixtureRequest) -> SqlServer:
    """The database server of the session: the one of TEST_MYSQL_URL, else the private one."""
    url = os.environ.get("TEST_MYSQL_URL")
    if url:
        return SqlServer.at(url)
    server: PrivateMariaDB = request.getfixturevalue("private_mariadb")
    return server


@pytest.fixture
def breakable_mariadb(private_mariadb: PrivateMariaDB) -> Iterator[PrivateMariaDB]:
    """The private server, for a test that kills or freezes it; whole again afterwards.

    Never the server of TEST_MYSQL_URL: a test that also takes `fresh_database` may get its database
    from there, and should create one here instead.
    """
    yield private_mariadb
    private_mariadb.revive()


@pytest.fixture
def fresh_database(mariadb: SqlServer) -> Iterator[str]:
    """The URL of a new, empty database, dropped after the test."""
    name = f"farmlokal_{secrets.token_hex(6)}"
    url = mariadb.create_database(name)
    yield url
    if isinstance(mariadb, PrivateMariaDB):
        mariadb.revive()
    mariadb.drop_database(name)


def _a_redis(program: Path, **options: Any) -> AbstractContextManager[PrivateRedis]:
    """One server, or a cluster where TEST_REDIS says so: most tests cannot tell one from the other.

    Tests that need more of it than a cluster has are marked `one_redis`, and left out then.
    """
    if _ON_A_CLUSTER:
        return cast("AbstractContextManager[PrivateRedis]", PrivateRedisCluster(program, **options))
    return PrivateRedis(program, **options)


@pytest.fixture(scope="session")
def redis_server(redis_program: Path) -> Iterator[PrivateRedis]:
    """One plain Redis for tests that do not tell queue from cache. Keys stay: see `fresh_redis`."""
    with _a_redis(redis_program) as server:
        yield server


@pytest.fixture(scope="session")
def queue_redis(redis_program: Path) -> Iterator[PrivateRedis]:
    """The queue's Redis as in production: append-only file, noeviction."""
    with _a_redis(redis_program, appendonly=True) as server:
        yield server


@pytest.fixture(scope="session")
def cache_redis(redis_program: Path) -> Iterator[PrivateRedis]:
    """The cache's Redis as in production: nothing on disk, volatile-lru."""
    with _a_redis(redis_program, maxmemory_policy="volatile-lru") as server:
        yield server


@pytest.fixture
def fresh_redis(redis_server: PrivateRedis) -> Iterator[PrivateRedis]:
    """The plain Redis, empty before the test; it may be killed or frozen in it."""
    yield from _emptied(redis_server)


@pytest.fixture
def fresh_queue_redis(queue_redis: PrivateRedis) -> Iterator[PrivateRedis]:
    """The queue's Redis, empty before the test; it may be killed or frozen in it."""
    yield from _emptied(queue_redis)


@pytest.fixture
def fresh_cache_redis(cache_redis: PrivateRedis) -> Iterator[PrivateRedis]:
    """The cache's Redis, empty before the test; it may be killed or frozen in it."""
    yield from _emptied(cache_redis)


def _emptied(server: PrivateRedis) -> Iterator[PrivateRedis]:
    server.flush()
    yield server
    server.revive()
