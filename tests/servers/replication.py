"""Real replication between private MariaDB servers, whose lag a test decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.polling import eventually
from tests.servers.binaries import MariaDBPrograms
from tests.servers.mariadb_server import PrivateMariaDB

__all__ = ["ReplicaServer", "primary_server", "replica_server"]

_PRIMARY = ("--server-id=1", "--log-bin=changes", "--binlog-format=ROW", "--sync-binlog=1")


@contextmanager
def primary_server(programs: MariaDBPrograms) -> Iterator[PrivateMariaDB]:
    """A server that replicas can follow from its beginning on."""
    with PrivateMariaDB(programs, options=_PRIMARY) as server:
        yield server


class ReplicaServer(PrivateMariaDB):
    """Follows ``primary`` by GTID, with the same account; read-only to everyone but its threads.

    Its own start creates the account, which is why it writes no binary log of its own.
    """

    def __init__(
        self, programs: MariaDBPrograms, primary: PrivateMariaDB, *, server_id: int = 2
    ) -> None:
        super().__init__(programs, options=(f"--server-id={server_id}", "--read-only=ON"))
        self._primary = primary
        # The primary's users come by replication too.
        self.password = primary.password

    def follow(self) -> None:
        """Begin at the primary's first change; return once everything it has now is here."""
        self.execute(
            "CHANGE MASTER TO MASTER_HOST=%s, MASTER_PORT=%s, MASTER_USER=%s, MASTER_PASSWORD=%s,"
            " MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1",
            (self._primary.host, self._primary.port, self._primary.user, self._primary.password),
        )
        self.execute("START SLAVE")
        self.catch_up()

    def catch_up(self, deadline_s: float = 30.0) -> None:
        """Return once everything that the primary has now is here."""
        position = self._primary.rows("SELECT @@global.gtid_binlog_pos AS gtid")[0]["gtid"]

        def has_come() -> bool:
            waited = self.rows("SELECT MASTER_GTID_WAIT(%s, 0.2) AS code", (position,))
            return bool(waited[0]["code"] == 0)

        eventually(has_come, deadline_s=deadline_s, describe=self._replication)

    def hold_back(self) -> None:
        """Apply nothing more, as if something long were being applied."""
        self.execute("STOP SLAVE SQL_THREAD")

    def delay(self, seconds: int) -> None:
        """Apply everything so much later than the primary did; 0: at once."""
        self.execute("STOP SLAVE")
        self.execute(f"CHANGE MASTER TO MASTER_DELAY={seconds:d}")
        self.execute("START SLAVE")

    def go_on(self) -> None:
        """Follow again as before, whatever was done to it."""
        self.revive()
        self.delay(0)

    def _replication(self) -> str:
        return str(self.rows("SHOW SLAVE STATUS"))


@contextmanager
def replica_server(
    programs: MariaDBPrograms, primary: PrivateMariaDB, *, server_id: int = 2
) -> Iterator[ReplicaServer]:
    """A replica that has caught up."""
    with ReplicaServer(programs, primary, server_id=server_id) as server:
        server.follow()
        yield server
