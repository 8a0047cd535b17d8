"""The database frozen or killed under load: cached reads go on, others are told "later"."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.polling import eventually
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateMariaDB, PrivateRedis

_CACHED = "/v1/products?limit=5"


@dataclass
class _Load:
    """Readers of one cached list, and readers of lists nobody asked for before."""

    cached: Counter[int] = field(default_factory=Counter)
    fresh: Counter[int] = field(default_factory=Counter)
    bodies: list[str] = field(default_factory=list)

    def forget(self) -> None:
        self.cached.clear()
        self.fresh.clear()


@contextmanager
def _under_load(api: RunningApi) -> Iterator[_Load]:
    load, stopping, numbers = _Load(), threading.Event(), count(1)

    def read_cached() -> None:
        with api.client() as client:
            while not stopping.is_set():
                load.cached[client.get(_CACHED).status_code] += 1
                time.sleep(0.005)  # a steady pace, not as fast as it goes

    def read_fresh() -> None:
        with api.client() as client:
            while not stopping.is_set():
                answer = client.get(f"/v1/products?limit=5&max_price={next(numbers)}")
                load.fresh[answer.status_code] += 1
                if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    assert int(answer.headers["retry-after"]) >= 1
                    load.bodies.append(answer.json()["type"])
                time.sleep(0.005)

    readers = [threading.Thread(target=work) for work in (read_cached, read_fresh) * 4]
    for reader in readers:
        reader.start()
    try:
        yield load
    finally:
        stopping.set()
        for reader in readers:
            reader.join(timeout=30)


@pytest.fixture
def api(
    breakable_mariadb: PrivateMariaDB, fresh_redis: PrivateRedis, tmp_path: Path
) -> Iterator[RunningApi]:
    """One that gives up on the database quickly; its cached list does not run out meanwhile."""
    patience = {
        "DATABASE_ACQUIRE_TIMEOUT_MS": "300",
        "DATABASE_QUERY_TIMEOUT_MS": "700",
        "LIST_TIMEOUT_MS": "500",
        "CACHE_FILL_WAIT_MS": "300",
        "CACHE_LIST_TTL_S": "300",
        "CACHE_LIST_SOFT_TTL_S": "300",
    }
    with running_api(breakable_mariadb, fresh_redis, tmp_path, **patience) as running:
        yield running


def _only_statuses(load: _Load) -> None:
    """Nothing but answers and honest refusals, and the cached list without exception."""
    assert set(load.cached) == {200}
    assert set(load.fresh) <= {200, 503}
    assert set(load.bodies) <= {"urn:farmlokal:problem:unavailable"}


def test_frozen_then_killed_then_back(api: RunningApi, breakable_mariadb: PrivateMariaDB) -> None:
    """No cached read fails, no pool stays poisoned, nobody has to restart anything."""
    with api.client() as client:
        assert client.get(_CACHED).status_code == httpx.codes.OK
    with _under_load(api) as load:
        eventually(lambda: load.fresh[200] >= 20 and load.cached[200] >= 20, deadline_s=10)

        breakable_mariadb.freeze()
        eventually(lambda: load.fresh[503] >= 8, deadline_s=15)
        breakable_mariadb.resume()
        load.forget()
        eventually(lambda: load.fresh[200] >= 50, deadline_s=10)
        _only_statuses(load)

        breakable_mariadb.kill()
        eventually(lambda: load.fresh[503] >= 50, deadline_s=15)
        with api.client() as client:
            assert client.get("/health/ready").status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert client.get("/health/live").status_code == httpx.codes.OK
        breakable_mariadb.restart()
        load.forget()
        eventually(lambda: load.fresh[200] >= 50, deadline_s=15)
        load.forget()
        eventually(lambda: load.fresh[200] >= 50, deadline_s=15)
        assert load.fresh[503] == 0, "the pool must hold no dead connection any more"
        _only_statuses(load)
    errors = [line for line in api.process.logs() if line["level"] == "error"]
    assert errors == []
