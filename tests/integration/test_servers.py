"""The private servers: they keep what they acknowledged, and fail in the ways drills need."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

import pymysql
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.ports import LOOPBACK, free_port
from tests.servers import MariaDBPrograms, PrivateMariaDB, PrivateRedis, SqlServer

COMMITTED = "SELECT id, word FROM rows_kept ORDER BY id"


@pytest.fixture
def table(mariadb: SqlServer, fresh_database: str) -> str:
    """The name of a database that holds a table of 1,000 indexed rows."""
    name = urlsplit(fresh_database).path.removeprefix("/")
    mariadb.execute(
        "CREATE TABLE rows_kept (id INT PRIMARY KEY, word VARCHAR(40), KEY (word))", database=name
    )
    mariadb.execute(
        "INSERT INTO rows_kept WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
        " SELECT i, CONCAT('Öl-', i) FROM n",
        database=name,
    )
    return name


def test_mariadb_is_set_up_as_production_must_be(mariadb: SqlServer) -> None:
    (settings,) = mariadb.rows(
        "SELECT @@innodb_flush_log_at_trx_commit AS flush_log, @@collation_server AS collation"
    )
    assert settings == {"flush_log": 1, "collation": "utf8mb4_unicode_ci"}


def test_the_private_mariadb_admits_nobody_without_its_password(
    private_mariadb: PrivateMariaDB,
) -> None:
    with pytest.raises(pymysql.err.OperationalError):
        SqlServer(LOOPBACK, private_mariadb.port, "root", "").rows("SELECT 1")


def test_a_fresh_database_is_empty_and_dropped_though_someone_uses_it(mariadb: SqlServer) -> None:
    mariadb.create_database("farmlokal_used")
    with mariadb.connect("farmlokal_used") as user, user.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        assert cursor.fetchall() in ((), [])
        cursor.execute("CREATE TABLE held (id INT)")
        user.begin()
        cursor.execute("SELECT * FROM held")
        mariadb.drop_database("farmlokal_used")
    assert not mariadb.rows("SHOW DATABASES LIKE 'farmlokal\\_used'")


def test_committed_rows_survive_a_kill(breakable_mariadb: PrivateMariaDB) -> None:
    server = breakable_mariadb
    server.create_database("farmlokal_kept")
    server.execute("CREATE TABLE kept (id INT PRIMARY KEY)", database="farmlokal_kept")
    server.execute("INSERT INTO kept VALUES (1)", database="farmlokal_kept")
    port = server.port
    server.kill()
    with pytest.raises(pymysql.err.OperationalError):
        server.rows("SELECT 1")
    server.restart()
    assert server.port == port
    assert server.rows("SELECT id FROM kept", database="farmlokal_kept") == [{"id": 1}]
    server.drop_database("farmlokal_kept")


async def test_a_frozen_mariadb_accepts_and_never_answers(
    breakable_mariadb: PrivateMariaDB,
) -> None:
    breakable_mariadb.freeze()
    reader, writer = await asyncio.open_connection(LOOPBACK, breakable_mariadb.port)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await reader.read(1)
    breakable_mariadb.resume()
    async with asyncio.timeout(5):
        assert await reader.read(1)
    writer.close()
    await writer.wait_closed()


def test_handler_reads_and_explain_tell_a_seek_from_a_scan(mariadb: SqlServer, table: str) -> None:
    seek = "SELECT id FROM rows_kept WHERE word = %s"
    rows, reads = mariadb.handler_reads(seek, ("Öl-7",), database=table)
    assert rows == [{"id": 7}]
    assert sum(reads.values()) <= 2
    _, reads = mariadb.handler_reads(
        "SELECT COUNT(*) FROM rows_kept IGNORE INDEX (word) WHERE word LIKE %s",
        ("%9",),
        database=table,
    )
    assert sum(reads.values()) >= 1000
    (plan,) = mariadb.explain(seek, ("Öl-7",), database=table)
    assert plan["key"] == "word"


def test_the_general_log_holds_the_statements_of_its_block_alone(
    mariadb: SqlServer, table: str
) -> None:
    mariadb.rows("SELECT 'before'")
    with mariadb.general_log() as logged:
        mariadb.rows(COMMITTED, database=table)
        assert [sql for sql in logged() if "rows_kept" in sql] == [COMMITTED]
        mariadb.rows("SELECT 'inside'")
    mariadb.rows("SELECT 'after'")
    statements = logged()
    assert "SELECT 'inside'" in statements
    assert not {"SELECT 'before'", "SELECT 'after'"} & set(statements)
    assert mariadb.rows("SELECT @@global.general_log AS active") == [{"active": 0}]


def test_two_private_servers_of_a_kind_do_not_meet(
    private_mariadb: PrivateMariaDB, mariadb_programs: MariaDBPrograms
) -> None:
    with PrivateMariaDB(mariadb_programs, options=["--max-connections=11"]) as other:
        assert other.port != private_mariadb.port
        assert other.rows("SELECT @@max_connections AS most") == [{"most": 11}]
        directory = other.directory
    assert not directory.exists()


@pytest.mark.one_redis
def test_the_queues_redis_keeps_acknowledged_writes_through_a_kill(
    fresh_queue_redis: PrivateRedis,
) -> None:
    with fresh_queue_redis.client() as client:
        client.set("kept", "1")
        fresh_queue_redis.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("kept")
        fresh_queue_redis.restart()
        assert client.get("kept") == b"1"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.one_redis
def test_the_caches_redis_forgets_all_in_a_restart(fresh_cache_redis: PrivateRedis) -> None:
    with fresh_cache_redis.client() as client:
        client.set("gone", "1")
        fresh_cache_redis.restart()
        assert client.get("gone") is None
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-lru"}


@pytest.mark.one_redis
def test_a_frozen_redis_times_out_and_answers_once_resumed(fresh_redis: PrivateRedis) -> None:
    fresh_redis.freeze()
    assert fresh_redis.frozen
    with fresh_redis.client(timeout_s=0.1) as client:
        began_at = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        assert time.monotonic() - began_at < 2
    fresh_redis.revive()
    with fresh_redis.client() as client:
        assert client.ping()


def test_a_redis_with_a_password_serves_its_url_only(redis_program: Path) -> None:
    with PrivateRedis(redis_program, password="not-a-secret") as server:
        with server.client() as client:
            assert client.ping()
        no_retry = Retry(NoBackoff(), 0)
        stranger = redis.Redis(host=LOOPBACK, port=server.port, socket_timeout=2, retry=no_retry)
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


@pytest.mark.one_redis
def test_a_server_retries_when_another_took_its_port(
    redis_server: PrivateRedis,
    private_mariadb: PrivateMariaDB,
    redis_program: Path,
    mariadb_programs: MariaDBPrograms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for server in (PrivateRedis(redis_program), PrivateMariaDB(mariadb_programs)):
        offered = iter([redis_server.port, redis_server.port, private_mariadb.port, free_port()])
        monkeypatch.setattr("tests.servers.private.free_port", lambda ports=offered: next(ports))
        with server:
            assert server.alive
            assert server.port not in (redis_server.port, private_mariadb.port)
