"""What the database is and should be: version, durability, strictness, clock, schema."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import Cursor
from pymysql.err import MySQLError

from coordination.errors import Unavailable
from coordination.settings import DatabaseFeature, Settings
from models.database import tortoise_config
from models.migrate import pending_migrations
from ops.doctor.finding import Finding, Verdict, advice, failed, fine, unreachable
from ops.doctor.portability import examine_portability
from ops.seed.postponed_indexes import postponed

__all__ = ["connect", "examine_database", "value_of"]

_AREA = "database"
_SKEW_S = 2.0
_TIMEOUT_S = 5


def examine_database(settings: Settings) -> list[Finding]:
    """The server first; the schema only when the server answered."""
    credentials = tortoise_config(settings)["connections"]["default"]["credentials"]
    found = (
        _examine_sqlite(Path(credentials["file_path"]))
        if "file_path" in credentials
        else _examine_mysql(credentials, settings.database_without)
    )
    if any(finding.verdict is Verdict.UNREACHABLE for finding in found):
        return found
    return [*found, _migrations(settings)]


def _migrations(settings: Settings) -> Finding:
    try:
        pending = asyncio.run(pending_migrations(settings))
    except Unavailable as error:
        return unreachable(_AREA, str(error), "See above.")
    if pending:
        return failed(
            _AREA, "migrations", f"{', '.join(pending)} pending", "Run farmlokal migrate."
        )
    return fine(_AREA, "migrations", "none pending")


def _examine_sqlite(file: Path) -> list[Finding]:
    if not file.exists():
        todo = "Run farmlokal migrate (farmlokal up does it too), or set DATABASE_URL."
        return [unreachable(_AREA, f"{file} is not there", todo)]
    try:
        # Not by sqlite3's default mode, which would create what is missing.
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=2)) as database:
            (mode,) = database.execute("PRAGMA journal_mode").fetchone()
            database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            options = {name for (name,) in database.execute("PRAGMA compile_options")}
    except sqlite3.Error as error:
        return [unreachable(_AREA, f"{file}: {error}", "Check the file and who may read it.")]
    found = [fine(_AREA, "reachable", f"SQLite {sqlite3.sqlite_version}, {file}")]
    if sqlite3.sqlite_version_info < (3, 35):
        found.append(failed(_AREA, "version", sqlite3.sqlite_version, "Use SQLite 3.35 or newer."))
    if "ENABLE_FTS5" not in options:
        todo = "Use a Python whose SQLite has FTS5."
        found.append(failed(_AREA, "full-text search", "FTS5 is not compiled in", todo))
    if mode != "wal":
        todo = "Nothing: the next process to open it for writing sets it."
        found.append(advice(_AREA, "journal_mode", str(mode), todo))
    return found


def _examine_mysql(
    credentials: dict[str, Any], without: frozenset[DatabaseFeature]
) -> list[Finding]:
    where = f"{credentials['host']}:{credentials['port']}/{credentials['database']}"
    try:
        with closing(connect(credentials)) as connection, connection.cursor() as cursor:
            version = str(value_of(cursor, "SELECT VERSION()"))
            found = [fine(_AREA, "reachable", f"{where}, {version}"), _version(version)]
            found += examine_portability(version, without)
            found += [_flush(cursor), *_binary_log(cursor), _strictness(cursor), _clock(cursor)]
            if postponed(connection) is not None:
                todo = "Run farmlokal seed with the same --products again: it builds them."
                detail = "a bulk load was killed before it had built them"
                found.append(failed(_AREA, "indexes", detail, todo))
    except (MySQLError, OSError) as error:
        todo = "Start it, or correct DATABASE_URL (host, port, user, password, database)."
        return [unreachable(_AREA, f"{where}: {error.args[-1]}", todo)]
    return found


def _version(version: str) -> Finding:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if "mariadb" in version.lower():
        if numbers >= (10, 6):
            return fine(_AREA, "version", "MariaDB 10.6 or newer")
        return failed(_AREA, "version", version, "Use MariaDB 10.6 or newer.")
    if numbers < (8, 0):
        return failed(_AREA, "version", version, "Use MySQL 8 or MariaDB 10.6, or newer.")
    todo = "Nothing, but our tests of record run on MariaDB."
    return advice(_AREA, "version", f"MySQL {version}", todo)


def _flush(cursor: Cursor) -> Finding:
    name = "innodb_flush_log_at_trx_commit"
    value = value_of(cursor, "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit")
    if value == 1:
        return fine(_AREA, name, "1")
    return failed(
        _AREA,
        name,
        f"{value}: a power cut may lose writes that were answered",
        f"SET GLOBAL {name} = 1, and put it into the server's configuration.",
    )


def _binary_log(cursor: Cursor) -> list[Finding]:
    # With a binary log InnoDB flushes only that it is prepared; the log decides what is kept.
    if not value_of(cursor, "SELECT @@GLOBAL.log_bin"):
        return []
    name = "sync_binlog"
    value = value_of(cursor, "SELECT @@GLOBAL.sync_binlog")
    if value == 1:
        return [fine(_AREA, name, "1")]
    detail = f"{value}: a power cut may lose writes that were answered"
    todo = f"SET GLOBAL {name} = 1, and put it into the server's configuration."
    return [failed(_AREA, name, detail, todo)]


def _strictness(cursor: Cursor) -> Finding:
    mode = str(value_of(cursor, "SELECT @@GLOBAL.sql_mode"))
    if "STRICT_" in mode:
        return fine(_AREA, "sql_mode", "strict")
    return advice(
        _AREA,
        "sql_mode",
        "not strict: our own connections are, other clients may store truncated values",
        "Add STRICT_TRANS_TABLES to the server's sql_mode.",
    )


def _clock(cursor: Cursor) -> Finding:
    theirs = value_of(cursor, "SELECT UTC_TIMESTAMP(6)")
    if not isinstance(theirs, datetime):
        return failed(_AREA, "clock", f"answered {theirs!r}", "Check the server.")
    skew_s = (theirs.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    if abs(skew_s) <= _SKEW_S:
        return fine(_AREA, "clock", f"{skew_s:+.1f} s from ours")
    return advice(
        _AREA,
        "clock",
        f"{skew_s:+.1f} s from this machine's",
        "Run NTP on both. Leases and due times follow the database's clock, so they stay right.",
    )


def value_of(cursor: Cursor, sql: str) -> object:
    """The first column of the first row; ``None`` without one."""
    cursor.execute(sql)
    row = cursor.fetchone()
    return row[0] if row else None


def connect(credentials: dict[str, Any]) -> pymysql.Connection[Cursor]:
    """A connection that gives up after a few seconds."""
    wanted = ("host", "port", "user", "password", "database")
    return pymysql.connect(
        **{name: credentials[name] for name in wanted},
        connect_timeout=_TIMEOUT_S,
        read_timeout=_TIMEOUT_S,
        write_timeout=_TIMEOUT_S,
    )
