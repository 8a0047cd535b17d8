"""Migrated databases for tests: the server's kind as a parameter, opened on the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from coordination.settings import Settings, load_settings
from models.database import Database, open_database
from models.migrate import migrate

__all__ = ["DATABASES", "database_url", "migrated", "settings_for"]

DATABASES = ("mariadb", "sqlite")


def database_url(kind: str, home: Path, request: Any) -> str:
    """The URL of an empty database of this kind, from a fixture's ``request``."""
    if kind == "sqlite":
        return f"sqlite:///{home / 'test.db'}"
    return str(request.getfixturevalue("fresh_database"))


def settings_for(home: Path, url: str, **others: object) -> Settings:
    """Settings of a test's own process."""
    return load_settings(environment="test", farmlokal_home=home, database_url=url, **others)


@asynccontextmanager
async def migrated(settings: Settings) -> AsyncIterator[Database]:
    """A database with the newest schema; one at a time, because Tortoise keeps it globally."""
    await migrate(settings)
    db = await open_database(settings)
    try:
        yield db
    finally:
        await db.close()
