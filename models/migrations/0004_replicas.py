"""The heartbeat that tells how far each replica has come.

Every statement is repeatable, because MySQL commits DDL as it goes: a run that died half-way is
simply run again.
"""

from tortoise.migrations.migration import Migration

from models.migration_operations import DialectSQL

_MYSQL = (
    """
    CREATE TABLE IF NOT EXISTS replica_heartbeat (
      id TINYINT NOT NULL PRIMARY KEY,
      beaten_at DATETIME(6) NOT NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci""",
    "INSERT IGNORE INTO replica_heartbeat (id, beaten_at) VALUES (1, UTC_TIMESTAMP(6))",
)

# No replicas, but one schema.
_SQLITE = (
    """
    CREATE TABLE IF NOT EXISTS replica_heartbeat (
      id INTEGER PRIMARY KEY,
      beaten_at TEXT NOT NULL
    )""",
    """
    INSERT OR IGNORE INTO replica_heartbeat (id, beaten_at)
    VALUES (1, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000')""",
)


class Migration(Migration):  # type: ignore[no-redef]  # the name Tortoise's loader looks for
    """What replicas and the primary are compared by."""

    dependencies = [("models", "0003_imports")]  # noqa: RUF012 - Tortoise's own shape
    atomic = False
    operations = [DialectSQL(mysql=_MYSQL, sqlite=_SQLITE)]  # noqa: RUF012 - Tortoise's own shape
