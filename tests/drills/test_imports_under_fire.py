"""A list of 200,000 rows whose worker is killed three times: each row arrives, and once."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from coordination import keys
from models.imports.stages import OVER, Stage
from tests.big_lists import BigList, stored
from tests.fleet import Fleet, api_fleet
from tests.polling import eventually_async
from tests.ports import LOOPBACK
from tests.processes import SchedulerProcess, WorkerProcess, environment_for
from tests.servers import PrivateRedis, SqlServer

_log = logging.getLogger(__name__)
_LIST: Final = BigList(200_000)
_KILLS: Final = (
    # The counter that is watched, and between which shares of the list the worker is killed.
    ("rows_checked", 0.2, 0.7),
    ("rows_applied", 0.1, 0.4),
    ("rows_applied", 0.5, 0.8),
)
_ENVIRONMENT: Final = {
    "IMPORT_LEASE_S": "8",
    # On a machine that does nothing but import, an answer of the cache may take long; one that is
    # given up would replace the generation once more than the import does.
    "CACHE_TIMEOUT_MS": "2000",
}
_MARK: Final = b"that was all"
_UPLOAD_TIMEOUT_S: Final = 120
_END_WITHIN_S: Final = 360


@pytest.mark.timeout(600)
async def test_three_kills_leave_what_a_straight_load_leaves(
    mariadb: SqlServer,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
    tmp_path: Path,
) -> None:
    """Rows, versions, counts, change feed and caches are those of one undisturbed run."""
    async with api_fleet(
        mariadb,
        tmp_path,
        queue=fresh_queue_redis,
        cache=fresh_cache_redis,
        processes=1,
        cache_urls=(),
        **_ENVIRONMENT,
    ) as fleet:
        await asyncio.to_thread(_LIST.prepare, mariadb, fleet.database)
        file = tmp_path / "list.csv"
        await asyncio.to_thread(_LIST.write, file)
        environment = environment_for(
            tmp_path,
            database_url=mariadb.url(fleet.database),
            queue_redis_url=fresh_queue_redis.url,
            cache_redis_url=fresh_cache_redis.url,
            SWEEP_INTERVAL_S="1",
            **_ENVIRONMENT,
        )
        reader = await _reader(fleet)
        with SchedulerProcess(environment), WorkerProcess(environment) as worker:
            async with _generations(fresh_cache_redis) as replaced:
                job = await _upload(fleet, file)
                caught = await _kill_thrice(worker, mariadb, fleet.database)
                job = await _ended(fleet, job, worker)
            assert job["state"] == Stage.COMPLETED, job
            await reader.assert_renewed(fleet)
            await _assert_numbered(mariadb, fleet.database, worker)
        assert len(replaced) == 1, "the caches must be voided at the end, and once"
        assert caught, (
            "no kill met a worker with a chunk in hand: the drill was over before it hurt"
        )
        assert job["rows"] == {
            "total": _LIST.count,
            "checked": _LIST.count,
            "invalid": 0,
            "applied": _LIST.count,
            "created": _LIST.created,
            "updated": _LIST.updated,
            "unchanged": _LIST.unchanged,
            "superseded": 0,
            "failed": 0,
        }
        await asyncio.to_thread(_assert_equal, mariadb, fleet.database)
        _assert_changes(mariadb, fleet.database)


@dataclass
class _Reader:
    """Someone who had answers from the cache before the import."""

    paths: list[str] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)

    async def assert_renewed(self, fleet: Fleet) -> None:
        """At once, since the import is told to be completed; search included."""
        for path in self.paths:
            assert (await _get(fleet, path)).json() != self.answers[path], path


async def _reader(fleet: Fleet) -> _Reader:
    paths = [
        "/v1/products?limit=5",
        "/v1/products?category=kind-00&limit=5",
        f"/v1/products?q=lot{_LIST.count - 1:07}",
        f"/v1/products/{_LIST.id_to_update()}",
    ]
    reader = _Reader(paths)
    for path in paths:
        reader.answers[path] = (await _get(fleet, path)).json()
        again = await _get(fleet, path)
        assert "hit" in again.headers["cache-status"], again.headers
    return reader


async def _get(fleet: Fleet, path: str) -> httpx.Response:
    answer = await fleet.clients[0].get(path)
    answer.raise_for_status()
    return answer


@asynccontextmanager
async def _generations(cache: PrivateRedis) -> AsyncIterator[list[str]]:
    """Each replacement of ``cache:gen:all`` while the block runs, as the server saw it."""
    seen: list[str] = []
    incoming, outgoing = await asyncio.open_connection(LOOPBACK, cache.port)

    async def watch() -> None:
        # The server shows commands in their order: what comes after the mark is not asked for.
        while (line := await incoming.readline()) and _MARK not in line:
            if f'"SET" "{keys.GENERATION_ALL}"'.encode() in line:
                seen.append(line.decode().strip())

    outgoing.write(b"MONITOR\r\n")
    assert await incoming.readline() == b"+OK\r\n"
    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        try:
            yield seen
        finally:
            with cache.client() as client:
                client.echo(_MARK)
    outgoing.close()
    await outgoing.wait_closed()


async def _upload(fleet: Fleet, file: Path) -> dict[str, Any]:
    async def pieces() -> AsyncIterator[bytes]:
        with file.open("rb") as body:
            while piece := body.read(256 * 1024):
                yield piece

    began_at = time.monotonic()
    answer = await fleet.clients[0].post(
        "/v1/imports",
        params={"missing_farms": "create", "missing_categories": "create"},
        headers={"content-type": "text/csv"},
        content=pieces(),
        timeout=_UPLOAD_TIMEOUT_S,
    )
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    _log.info("Uploaded in %.1f s", time.monotonic() - began_at)
    job: dict[str, Any] = answer.json()
    return job


async def _kill_thrice(worker: WorkerProcess, server: SqlServer, database: str) -> int:
    """Kill the worker where ``_KILLS`` says; returns how many chunks it had in hand by then."""
    rng, caught = random.Random(20260517), 0
    for counter, after, before in _KILLS:
        at = rng.uniform(after, before) * _LIST.count

        async def is_there(counter: str = counter, at: float = at) -> bool:
            sql = f"SELECT {counter} AS dealt_with FROM imports"
            (row,) = await asyncio.to_thread(server.rows, sql, database=database)
            return bool(row["dealt_with"] >= at)

        await eventually_async(
            is_there, deadline_s=_END_WITHIN_S, interval_s=0.1, describe=worker.last_words
        )
        await asyncio.to_thread(worker.kill)
        held = "SELECT COUNT(*) AS n FROM import_chunks WHERE lease_token IS NOT NULL"
        caught += int(server.rows(held, database=database)[0]["n"])
        await asyncio.to_thread(worker.start)
    return caught


async def _ended(fleet: Fleet, job: dict[str, Any], worker: WorkerProcess) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = (await _get(fleet, f"/v1/imports/{job['id']}")).json()
        return found if found["state"] in OVER else None

    ended: dict[str, Any] = await eventually_async(
        look, deadline_s=_END_WITHIN_S, interval_s=0.2, describe=worker.last_words
    )
    _log.info(
        "%d rows, killed three times: %.0f rows/s applied", _LIST.count, ended["rate_per_s"] or 0
    )
    return ended


async def _assert_numbered(server: SqlServer, database: str, worker: WorkerProcess) -> None:
    """The feed gives each change its number, soon and without a gap."""
    waiting = "SELECT COUNT(*) AS n FROM product_changes WHERE seq IS NULL"
    await eventually_async(
        lambda: server.rows(waiting, database=database)[0]["n"] == 0,
        deadline_s=30,
        interval_s=0.2,
        describe=worker.last_words,
    )
    numbers = "SELECT MIN(seq) AS first, MAX(seq) AS last, COUNT(*) AS n FROM product_changes"
    changes = _LIST.created + _LIST.updated
    (found,) = server.rows(numbers, database=database)
    assert found == {"first": 1, "last": changes, "n": changes}


def _assert_equal(server: SqlServer, database: str) -> None:
    """The table, column by column, and nothing beside it."""
    pairs = enumerate(zip_longest(stored(server, database), _LIST.after()))
    differing = list(islice(((n, *pair) for n, pair in pairs if pair[0] != pair[1]), 3))
    assert differing == []
    (found,) = server.rows("SELECT COUNT(*) AS n FROM products", database=database)
    assert found["n"] == _LIST.count


def _assert_changes(server: SqlServer, database: str) -> None:
    """One change of each product that changed, at the version that the product has now."""
    (found,) = server.rows(
        "SELECT COUNT(*) AS n, COUNT(DISTINCT c.product_id) AS products,"
        " SUM(c.kind = 'created' AND c.version = 1) AS created, SUM(c.kind = 'updated') AS updated"
        " FROM product_changes c JOIN products p ON p.id = c.product_id AND p.version = c.version",
        database=database,
    )
    assert {name: int(value) for name, value in found.items()} == {
        "n": _LIST.created + _LIST.updated,
        "products": _LIST.created + _LIST.updated,
        "created": _LIST.created,
        "updated": _LIST.updated,
    }
