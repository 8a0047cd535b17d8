"""A process's resources on a migrated database of either kind, with a real cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from tortoise.backends.base.executor import EXECUTOR_CACHE

from models.migrate import migrate
from models.resources import Resources, open_resources
from tests.big_catalogue import BigCatalogue, big_catalogue
from tests.databases import DATABASES, database_url, settings_for
from tests.import_work import import_work
from tests.servers import PrivateRedis, SqlServer


@pytest.fixture(autouse=True)
def _statements_of_one_dialect() -> None:
    # Tortoise keeps generated statements by connection name for the life of the process; here one
    # process uses both dialects under the same name, which no process of ours does.
    EXECUTOR_CACHE.clear()


@pytest.fixture(scope="session")
async def big(
    mariadb: SqlServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BigCatalogue]:
    """A large catalogue on the server, to be read only; loaded once a session."""
    async with big_catalogue(mariadb, tmp_path_factory.mktemp("big")) as catalogue:
        yield catalogue


class HintLog:
    """Stands where the broker does and keeps what was sent."""

    def __init__(self) -> None:
        self.messages: list[dramatiq.Message[Any]] = []

    def enqueue(self, message: dramatiq.Message[Any]) -> None:
        self.messages.append(message)


@pytest.fixture
def hint_log() -> HintLog:
    """The hints that `db_resources` sends."""
    return HintLog()


@pytest.fixture(params=DATABASES)
async def import_resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    """What the workers of imports work with, on MariaDB and on SQLite."""
    url = database_url(request.param, tmp_path, request)
    async with import_work(tmp_path, url, fresh_redis, hint_log) as opened:
        yield opened


@pytest.fixture(params=DATABASES)
async def db_resources(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_redis: PrivateRedis, hint_log: HintLog
) -> AsyncIterator[Resources]:
    """Opened resources on MariaDB and on SQLite."""
    url = database_url(request.param, tmp_path, request)
    settings = settings_for(tmp_path, url, redis_url=fresh_redis.url)
    await migrate(settings)
    resources = await open_resources(settings, hint_log)
    try:
        yield resources
    finally:
        await resources.close()
