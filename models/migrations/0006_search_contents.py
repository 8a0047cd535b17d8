"""Which contents the index of words has, so that a process can tell whether it still knows them.

Every statement is repeatable, because MySQL commits DDL as it goes: a run that died half-way is
simply run again.
"""

from tortoise.migrations.migration import Migration

from models.migration_operations import DialectSQL

_MYSQL = (
    """
    CREATE TABLE IF NOT EXISTS search_contents (
      id TINYINT NOT NULL PRIMARY KEY,
      version BIGINT NOT NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci""",
    "INSERT IGNORE INTO search_contents (id, version) VALUES (1, 0)",
)


class Migration(Migration):  # type: ignore[no-redef]  # the name Tortoise's loader looks for
    """SQLite has FTS5 alone."""

    dependencies = [("models", "0005_search")]  # noqa: RUF012 - Tortoise's own shape
    atomic = False
    operations = [DialectSQL(mysql=_MYSQL, sqlite=())]  # noqa: RUF012 - Tortoise's own shape
