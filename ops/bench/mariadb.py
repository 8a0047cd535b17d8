"""The MySQL-protocol server of a benchmark: the one that DATABASE_URL names, else one of its own.

Its own is a MariaDB with the server's defaults, a commit flushed before it is acknowledged among
them, on a loopback port, in a directory that goes with the benchmark.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor
from pymysql.err import MySQLError

from coordination.errors import Misconfigured
from coordination.settings import Settings
from ops.bench.processes import START_WITHIN_S, Processes
from ops.embedded_redis import free_port

__all__ = ["Account", "provide_server", "start_server"]

_SBIN: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")
_BOOTSTRAP_WITHIN_S: Final = 90
_LOAD_WITHIN_S: Final = 600
_USER: Final = "farmlokal"


@dataclass(frozen=True, slots=True)
class Account:
    """One that may make databases and load files into them."""

    host: str
    port: int
    user: str
    password: str

    def url(self, database: str) -> str:
        """As DATABASE_URL takes it."""
        named = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"mysql://{named}@{self.host}:{self.port}/{database}"

    @contextmanager
    def cursor(self, database: str | None = None) -> Iterator[Cursor]:
        """Of a connection of its own that commits each statement."""
        connection: Connection[Cursor] = pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            local_infile=True,
            sql_mode="STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
            connect_timeout=5,
            read_timeout=_LOAD_WITHIN_S,
            write_timeout=_LOAD_WITHIN_S,
        )
        with closing(connection), connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def scratch_database(self) -> Iterator[str]:
        """The URL of an empty database, dropped at the end."""
        name = f"farmlokal_bench_{secrets.token_hex(4)}"
        with self.cursor() as cursor:
            cursor.execute(
                f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
            )
        try:
            yield self.url(name)
        finally:
            with self.cursor() as cursor:
                cursor.execute(f"DROP DATABASE `{name}`")


def provide_server(settings: Settings, processes: Processes, home: Path) -> Account:
    """Raises ``Misconfigured`` where there is none, ``RuntimeError`` when it does not start."""
    parts = urlsplit(settings.effective_database_url)
    if parts.scheme == "mysql":
        return Account(
            parts.hostname or "127.0.0.1",
            parts.port or 3306,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
        )
    return start_server(processes, home)


def start_server(processes: Processes, home: Path, *options: str) -> Account:
    """Start one whose data are in ``home``; they are made there unless they are there already.

    ``options``: further arguments of the server. Raises as ``provide_server``.
    """
    server, install = (_program(name) for name in ("mariadbd", "mariadb-install-db"))
    account = Account("127.0.0.1", free_port(), _USER, secrets.token_hex(8))
    data, common = home / "mariadb", ["--no-defaults", f"--tmpdir={home}"]
    if os.geteuid() == 0:
        common.append("--user=root")
    if not data.exists():
        subprocess.run(  # noqa: S603 - our own arguments
            [install, *common, f"--datadir={data}", "--skip-test-db"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_BOOTSTRAP_WITHIN_S,
            check=True,
        )
    accounts = home / "accounts.sql"
    accounts.touch(mode=0o600)
    named = f"'{account.user}'@'{account.host}'"
    accounts.write_text(
        f"CREATE OR REPLACE USER {named} IDENTIFIED BY '{account.password}';\n"
        f"GRANT ALL PRIVILEGES ON *.* TO {named};\n"
    )
    processes.start(
        "mariadb",
        [
            server,
            *common,
            f"--datadir={data}",
            f"--socket={home / 'mariadb.socket'}",
            f"--pid-file={home / 'mariadb.pid'}",
            f"--init-file={accounts}",
            f"--port={account.port}",
            f"--bind-address={account.host}",
            "--skip-networking=OFF",
            "--skip-name-resolve",
            *options,
        ],
    )
    _await_answer(account)
    return account


def _program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_SBIN]))
    if found is None:
        raise Misconfigured(
            f"`{name}` is needed: install your system's package mariadb-server,"
            " or name a server: DATABASE_URL=mysql://user:password@host/database"
        )
    return found


def _await_answer(account: Account) -> None:
    ends_at = time.monotonic() + START_WITHIN_S
    while True:
        try:
            with account.cursor() as cursor:
                cursor.execute("SELECT 1")
                return
        except MySQLError as error:
            if time.monotonic() > ends_at:
                raise RuntimeError("the private MariaDB did not start") from error
            time.sleep(0.1)
