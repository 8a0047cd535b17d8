"""Where the database is, in the words of Tortoise and of the drivers."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from coordination.settings import Settings

__all__ = ["mysql_credentials", "tortoise_config"]


def tortoise_config(settings: Settings) -> dict[str, Any]:
    """Tortoise's configuration for the database that the settings name."""
    parts = urlsplit(settings.effective_database_url)
    if parts.scheme == "sqlite":
        connection: dict[str, Any] = {
            "engine": "models.sqlite_engine",
            "credentials": {
                "file_path": unquote(parts.path)[1:]
                if parts.path.startswith("//")
                else unquote(parts.path),
                # First, so that the pragmas after it wait for other processes too.
                "busy_timeout": settings.database_query_timeout_ms,
                "journal_mode": "WAL",
                "synchronous": "FULL",
                "foreign_keys": "ON",
            },
        }
    else:
        connection = {
            "engine": "models.mysql_engine",
            "credentials": mysql_credentials(parts, settings),
        }
    return {
        "connections": {"default": connection},
        "apps": {
            "models": {
                "models": ["models.tables"],
                "migrations": "models.migrations",
                "default_connection": "default",
            }
        },
        "use_tz": False,
    }


def mysql_credentials(
    parts: SplitResult, settings: Settings, *, connections: int | None = None
) -> dict[str, Any]:
    """What a client of the MySQL engine takes, for a pool of so many ``connections``."""
    return {
        "host": parts.hostname,
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": unquote(parts.path[1:]),
        "minsize": 1,
        "maxsize": connections or settings.database_pool_size,
        "connect_timeout": max(1, settings.database_connect_timeout_ms // 1000),
        "charset": "utf8mb4",
        **_session(settings),
    }


def _session(settings: Settings) -> dict[str, str | None]:
    """What each connection sets for itself. Without, it must be so in the server's configuration.

    A proxy that shares connections, as Vitess' does, would have to reserve one for each of ours.
    """
    if "session_variables" in settings.database_without:
        return {"sql_mode": None}  # Tortoise would set one of its own
    return {
        "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
        # The second lets go of the locks of a process that froze in a transaction. We give a
        # transaction up well before. MySQL has nothing like it and reads a comment.
        "init_command": "SET innodb_lock_wait_timeout = "
        f"{max(1, settings.database_query_timeout_ms // 1000)}"
        f" /*M! , idle_transaction_timeout = {_idle_transaction_s(settings)} */",
    }


def _idle_transaction_s(settings: Settings) -> int:
    """Longer than ``Database.transaction`` bears with, in whole seconds."""
    patience_ms = settings.database_acquire_timeout_ms + settings.database_query_timeout_ms
    return 2 * patience_ms // 1000 + 2
