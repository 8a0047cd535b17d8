"""What differs between MariaDB, MySQL 8, what speaks like it, and SQLite, behind one small seam.

SQL elsewhere is written once, with ``%s`` marks; the pieces that cannot be alike come from here.
Times are compared inside statements by the database's own clock (``now``). Servers that lack
something (``DATABASE_WITHOUT``) get the portable form, which costs what its user says there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from coordination.settings import DatabaseFeature

__all__ = ["MARIADB", "MYSQL", "SQLITE", "Dialect"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One kind of server. SQL texts; ``{}`` in them is filled by the caller."""

    name: Literal["mariadb", "mysql", "sqlite"]
    now: str
    """The server's UTC time, in the form time columns hold."""
    now_plus_us: str
    """The same plus ``{}`` microseconds (a ``%s`` mark or a number)."""
    upsert: str
    """Begins the clause that updates on a duplicate key; ``{}`` is the key's columns."""
    inserted: str
    """The value that was to be inserted in ``{}``, inside an upsert."""
    for_update: str
    skip_locked: str
    index_hint: str
    straight_join: str
    join: str
    pairs: str
    """What stands in ``(a, b) IN (…)`` for ``{}``, a list of ``(a, b)``."""
    nowait: str = ""
    """Goes before a statement that shall fail rather than wait for a lock; empty: cannot be."""
    without: frozenset[DatabaseFeature] = frozenset()
    """What this server cannot do."""

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.name == "sqlite"

    def has(self, feature: DatabaseFeature) -> bool:
        """Whether this server can do it."""
        return feature not in self.without

    def lacking(self, features: frozenset[DatabaseFeature]) -> Dialect:
        """The same kind of server, without these."""
        skip_locked = self.for_update if "skip_locked" in features else self.skip_locked
        return replace(self, without=features, skip_locked=skip_locked)

    def marks(self, sql: str) -> str:
        """``sql`` with the parameter marks this driver reads."""
        return sql.replace("%s", "?") if self.is_sqlite else sql

    def limited(self, select: str, timeout_ms: int) -> str:
        """A SELECT that the server itself stops after ``timeout_ms``.

        SQLite has no such statement; see ``sqlite_limits``. Without ``statement_timeout`` it is
        the SELECT as it is, and the client's deadline must do.
        """
        if not self.has("statement_timeout"):
            return select
        if self.name == "mariadb":
            return f"SET STATEMENT max_statement_time={timeout_ms / 1000:.3f} FOR {select}"
        if self.name == "mysql":
            hint = f"SELECT /*+ MAX_EXECUTION_TIME({timeout_ms:d}) */"
            return select.replace("SELECT", hint, 1)
        return select


_MARIADB_NOW: Final = "UTC_TIMESTAMP(6)"
MARIADB: Final = Dialect(
    name="mariadb",
    now=_MARIADB_NOW,
    now_plus_us=_MARIADB_NOW + " + INTERVAL {} MICROSECOND",
    upsert="ON DUPLICATE KEY UPDATE",
    inserted="VALUES({})",
    for_update="FOR UPDATE",
    skip_locked="FOR UPDATE SKIP LOCKED",
    index_hint="FORCE INDEX ({})",
    straight_join="SELECT STRAIGHT_JOIN",
    join="JOIN",
    pairs="{}",
    nowait="SET STATEMENT innodb_lock_wait_timeout = 0 FOR ",
)
MYSQL: Final = replace(MARIADB, name="mysql", nowait="")
_SQLITE_NOW: Final = "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'"
SQLITE: Final = Dialect(
    name="sqlite",
    now=f"({_SQLITE_NOW})",
    now_plus_us="(strftime('%Y-%m-%d %H:%M:%f', 'now', ({} / 1000000.0) || ' seconds') || '000')",
    upsert="ON CONFLICT ({}) DO UPDATE SET",
    inserted="excluded.{}",
    for_update="",
    skip_locked="",
    index_hint="INDEXED BY {}",
    straight_join="SELECT",
    pairs="VALUES {}",
    join="CROSS JOIN",  # SQLite keeps the written order of a CROSS JOIN
)
