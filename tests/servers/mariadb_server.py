"""A private MariaDB server: small and quick to start, yet as durable as production must be."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pymysql

from tests.ports import LOOPBACK
from tests.servers.binaries import MariaDBPrograms
from tests.servers.private import PrivateServer, ServerFailedError
from tests.servers.sql import SqlServer

__all__ = ["PrivateMariaDB"]

_BOOTSTRAP_DEADLINE_S = 90
_PROBE_TIMEOUT_S = 1.0
_USER = "farmlokal"


class PrivateMariaDB(PrivateServer, SqlServer):
    """MariaDB with utf8mb4 and one account, that may do everything and only from this machine.

    A commit is flushed before it is acknowledged, so committed data survives `kill`. `options` are
    further `--name=value` arguments and win over the ones given here.
    """

    _name = "mariadb"

    def __init__(self, programs: MariaDBPrograms, *, options: Sequence[str] = ()) -> None:
        PrivateServer.__init__(self)
        # A password, because a server run by root must not serve the machine's other users.
        SqlServer.__init__(self, LOOPBACK, 0, _USER, secrets.token_hex(8))
        self._programs = programs
        self._options = tuple(options)
        self._data = self.directory / "data"
        self._accounts = self.directory / "accounts.sql"

    def start(self) -> None:
        self._create_data()
        super().start()

    def _create_data(self) -> None:
        try:
            subprocess.run(
                [
                    self._programs.install_db,
                    "--no-defaults",
                    f"--datadir={self._data}",
                    *self._own_tmpdir(),
                    "--skip-test-db",
                    # root comes in through the socket only; nobody without a password by TCP.
                    "--auth-root-authentication-method=socket",
                    "--innodb-log-file-size=64M",
                    *self._as_root(),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_BOOTSTRAP_DEADLINE_S,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise ServerFailedError(
                f"mariadb-install-db:\n{error.stdout}\n{error.stderr}"
            ) from error
        account = f"'{self.user}'@'{LOOPBACK}'"
        self._accounts.touch(mode=0o600)
        # One statement a line: that is how the server reads an init file.
        self._accounts.write_text(
            f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION;\n"
        )

    def _command(self) -> list[str | Path]:
        return [
            self._programs.server,
            "--no-defaults",  # first, or it is not obeyed
            f"--datadir={self._data}",
            *self._own_tmpdir(),
            f"--socket={self.directory / 'socket'}",
            f"--pid-file={self.directory / 'pid'}",
            f"--init-file={self._accounts}",
            f"--port={self.port}",
            f"--bind-address={LOOPBACK}",
            "--skip-networking=OFF",
            "--skip-name-resolve",
            "--max-connections=300",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=256M",
            "--innodb-log-file-size=64M",
            # A file is read and written at every stop and start for nothing here.
            "--innodb-buffer-pool-dump-at-shutdown=OFF",
            "--innodb-buffer-pool-load-at-startup=OFF",
            "--performance-schema=OFF",
            "--log-output=TABLE",
            *self._as_root(),
            *self._options,
        ]

    def _answers(self) -> bool:
        # The password is this server's alone, so no stranger on the port can answer in its place.
        try:
            # A stranger may also say nothing at all: Redis waits for the client to speak first.
            with self.connect(timeout_s=_PROBE_TIMEOUT_S) as connection:
                connection.ping(reconnect=False)
                return True
        except pymysql.MySQLError:
            return False

    def _own_tmpdir(self) -> list[str]:
        # A server that starts deletes the temporary tables it finds there, also another server's.
        return [f"--tmpdir={self.directory}"]

    def _as_root(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []
