"""Reads from a replica on real replication: which go there, and what becomes of them without it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol
from uuid import UUID

import orjson
import pytest

from coordination.cache import Ground
from coordination.cache_entry import Answer
from coordination.errors import DatabaseUnavailable
from models.catalog import listing, product_writes
from models.catalog.products import fetch_product, fill_product
from models.catalog.query import ListQuery, Sort
from models.migrate import migrate
from models.replicas.replica import ReplicaState
from models.replicas.servers import HeartbeatServer
from models.resources import Resources, open_resources
from ops.doctor.finding import Verdict
from ops.doctor.replicas import examine_replicas
from tests.catalogue import add_product
from tests.databases import settings_for
from tests.integration.conftest import HintLog
from tests.polling import eventually_async
from tests.servers import MariaDBPrograms, PrivateMariaDB, PrivateRedis
from tests.servers.replication import ReplicaServer, primary_server, replica_server

_LAG_MS = 400
_CHECK_MS = 50
_SETTLED_MS = _LAG_MS + 1_001
"""Just more than what sends a read to a replica."""
_SETTLED = Ground(_SETTLED_MS, b"")
_BUSY_MACHINE_S = 10.0


@pytest.fixture(scope="module")
def primary(mariadb_programs: MariaDBPrograms) -> Iterator[PrivateMariaDB]:
    with primary_server(mariadb_programs) as server:
        yield server


@pytest.fixture(scope="module")
def followed(mariadb_programs: MariaDBPrograms, primary: PrivateMariaDB) -> Iterator[ReplicaServer]:
    with replica_server(mariadb_programs, primary) as server:
        yield server


@pytest.fixture
def replica(followed: ReplicaServer) -> Iterator[ReplicaServer]:
    """One that a test may break: it follows again afterwards."""
    yield followed
    followed.go_on()


@pytest.fixture
def database(primary: PrivateMariaDB, replica: ReplicaServer) -> Iterator[str]:
    """The name of a new database on both."""
    name = f"farmlokal_{secrets.token_hex(6)}"
    primary.create_database(name)
    yield name
    replica.revive()
    primary.drop_database(name)


class _Opens(Protocol):
    """Opens resources that find replicas at these URLs, by default at the replica's."""

    def __call__(
        self, *replica_urls: str, **settings: object
    ) -> AbstractAsyncContextManager[Resources]: ...


@pytest.fixture
def opens(
    primary: PrivateMariaDB,
    replica: ReplicaServer,
    database: str,
    tmp_path: Path,
    fresh_redis: PrivateRedis,
    hint_log: HintLog,
) -> _Opens:
    @asynccontextmanager
    async def opened(*replica_urls: str, **others: object) -> AsyncIterator[Resources]:
        settings = settings_for(
            tmp_path,
            primary.url(database),
            redis_url=fresh_redis.url,
            database_replica_urls=",".join(replica_urls or (replica.url(database),)),
            **{
                "database_replica_lag_ms": _LAG_MS,
                "database_replica_check_ms": _CHECK_MS,
                **others,
            },
        )
        await migrate(settings)
        resources = await open_resources(settings, hint_log)
        try:
            yield resources
        finally:
            await resources.close()

    return opened


@pytest.fixture
async def resources(opens: _Opens) -> AsyncIterator[Resources]:
    """With one replica, which may be read from."""
    async with opens() as opened:
        await _until(opened, ReplicaState.OK)
        yield opened


async def _until(resources: Resources, *states: ReplicaState) -> None:
    await eventually_async(
        lambda: tuple(resources.reading.states().values()) == states, deadline_s=_BUSY_MACHINE_S
    )


def _price(answer: Answer) -> str:
    return str(orjson.loads(answer.body)["price"])


async def _fill(resources: Resources, product_id: UUID, settled_ms: int = _SETTLED_MS) -> str:
    return _price(await fill_product(resources, product_id, Ground(settled_ms, b"")))


async def _priced(resources: Resources, product_id: UUID, price: str) -> None:
    await product_writes.patch_product(resources, product_id, {"price": price}, None)


def _of_products(statements: list[str]) -> list[str]:
    return [text for text in statements if "products" in text or "categories" in text]


@pytest.mark.parametrize(
    "query",
    [
        ListQuery(),
        ListQuery(category="fruit"),
        ListQuery(q="apple", category="fruit"),
        ListQuery(q="apple", category="fruit", sort=Sort.RELEVANCE),
    ],
    ids=["all", "category", "words", "ranked"],
)
async def test_all_statements_of_a_settled_fill_go_to_the_replica(
    resources: Resources, primary: PrivateMariaDB, replica: ReplicaServer, query: ListQuery
) -> None:
    """A page put together from two servers could show what neither ever held."""
    await add_product(resources.db)
    replica.catch_up()
    with primary.general_log() as at_primary, replica.general_log() as at_replica:
        answer = await listing.fill_list(resources, query, _SETTLED)
        assert b"Apple" in answer.body
        assert _of_products(at_primary()) == []
        searched = query.q is not None
        steps = (query.category is not None) + 1 + searched + (query.sort is Sort.RELEVANCE)
        assert len(_of_products(at_replica())) == steps


@pytest.mark.parametrize("settled_ms", [0, _SETTLED_MS - 1])
async def test_what_was_voided_lately_is_read_on_the_primary(
    resources: Resources, replica: ReplicaServer, settled_ms: int
) -> None:
    """The replica may be as far behind as its bound allows."""
    product_id, _ = await add_product(resources.db)
    replica.catch_up()
    with replica.general_log() as at_replica:
        assert await _fill(resources, product_id, settled_ms) == "1.00"
        assert _of_products(at_replica()) == []


async def test_a_replica_that_falls_behind_is_not_read_from_until_it_has_caught_up(
    resources: Resources, replica: ReplicaServer
) -> None:
    """Nobody who asks after a write gets less, however long the replica lags; nor is it cached."""
    product_id, _ = await add_product(resources.db)
    replica.catch_up()
    replica.hold_back()
    await _priced(resources, product_id, "2.00")
    ends_at = time.monotonic() + 3 * _SETTLED_MS / 1000
    while time.monotonic() < ends_at:
        assert _price((await fetch_product(resources, product_id, None)).answer) == "2.00"
        await resources.plane.void([product_id], [])
        await asyncio.sleep(0.01)
    assert resources.reading.states() == {"replica-1": ReplicaState.LAGGING}
    assert await _fill(resources, product_id) == "2.00"
    replica.go_on()
    await _until(resources, ReplicaState.OK)
    with replica.general_log() as at_replica:
        assert await _fill(resources, product_id) == "2.00"
        assert _of_products(at_replica())


async def test_a_read_that_a_frozen_replica_holds_is_answered_by_the_primary(
    resources: Resources, replica: ReplicaServer
) -> None:
    """Within the same request, and within a second; nothing of it stays behind."""
    await add_product(resources.db)
    replica.catch_up()

    async def pages(number: int = 20) -> None:
        fills = (listing.fill_list(resources, ListQuery(), _SETTLED) for _ in range(number))
        assert all(b"Apple" in page.body for page in await asyncio.gather(*fills))

    await pages()
    replica.freeze()
    began_at = time.monotonic()
    await pages()
    # The replica is given more for a list than for its heartbeat.
    assert time.monotonic() - began_at < resources.settings.list_timeout_ms / 1000
    began_at = time.monotonic()
    await pages(1)
    assert time.monotonic() - began_at < 0.5, "nobody else waits for it"
    replica.resume()
    await _until(resources, ReplicaState.OK)
    with replica.general_log() as at_replica:
        await pages()
        assert len(_of_products(at_replica())) == 20, "its pool is whole"


async def test_a_replica_that_died_is_used_again_once_it_is_back(
    resources: Resources, replica: ReplicaServer
) -> None:
    """No read fails meanwhile, and no connection of before is tried again."""
    product_id, _ = await add_product(resources.db)
    replica.catch_up()
    await asyncio.gather(*(_fill(resources, product_id) for _ in range(10)))
    replica.kill()
    assert await _fill(resources, product_id) == "1.00"
    await _until(resources, ReplicaState.UNAVAILABLE)
    assert await _fill(resources, product_id) == "1.00"
    replica.restart()
    await _until(resources, ReplicaState.OK)
    with replica.general_log() as at_replica:
        for _ in range(10):
            await _fill(resources, product_id)
        assert len(_of_products(at_replica())) == 10


async def test_a_farm_made_just_now_is_known_although_that_voids_nothing(
    resources: Resources, replica: ReplicaServer
) -> None:
    """Its maker asks for its products, and a replica that lacks it may not deny it."""
    replica.hold_back()
    now = "2026-01-01 00:00:00.000000"
    farm = await resources.db.insert(
        "INSERT INTO farms (name, city, state, created_at, updated_at)"
        " VALUES ('Farm', '', '', %s, %s)",
        [now, now],
        purpose="test",
    )
    assert resources.reading.states() == {"replica-1": ReplicaState.OK}
    page = await listing.fill_list(resources, ListQuery(farm=farm), _SETTLED)
    assert orjson.loads(page.body)["data"] == []


async def test_a_replica_that_refuses_what_the_primary_allows_only_costs_time(
    opens: _Opens, primary: PrivateMariaDB, replica: ReplicaServer, database: str
) -> None:
    """An account without the right to read products, say: its heartbeat alone looks well."""
    async with opens() as resources:
        product_id, _ = await add_product(resources.db)
    account = f"'half_{secrets.token_hex(4)}'@'127.0.0.1'"
    primary.execute(f"CREATE USER {account} IDENTIFIED BY 'half'")
    primary.execute(f"GRANT SELECT ON `{database}`.replica_heartbeat TO {account}")
    replica.catch_up()
    user = account.split("'")[1]
    url = f"mysql://{user}:half@{replica.host}:{replica.port}/{database}"
    async with opens(url) as resources:
        await _until(resources, ReplicaState.OK)
        assert await _fill(resources, product_id) == "1.00"
        assert resources.reading.states() == {"replica-1": ReplicaState.UNAVAILABLE}
    primary.execute(f"DROP USER {account}")


async def test_reads_take_turns_and_pass_over_a_replica_that_is_away(
    opens: _Opens, replica: ReplicaServer, database: str
) -> None:
    """One that has never answered delays neither the start nor any read."""
    nobody = f"mysql://u:p@127.0.0.1:9/{database}"
    async with opens(nobody, replica.url(database), replica.url(database)) as resources:
        product_id, _ = await add_product(resources.db)
        await _until(resources, ReplicaState.UNAVAILABLE, ReplicaState.OK, ReplicaState.OK)
        replica.catch_up()
        with replica.general_log() as at_replica:
            for _ in range(6):
                await _fill(resources, product_id)
            assert len(_of_products(at_replica())) == 6


async def test_replicas_are_left_alone_while_the_primary_cannot_be_asked(
    resources: Resources, primary: PrivateMariaDB
) -> None:
    """Nobody can tell then how far behind they are; and it ends by itself."""
    primary.freeze()
    try:
        await _until(resources, ReplicaState.LAGGING)
    finally:
        primary.resume()
    await _until(resources, ReplicaState.OK)


async def test_a_heartbeat_whose_connection_broke_is_not_believed_at_once(
    resources: Resources, primary: PrivateMariaDB
) -> None:
    """The same name may lead to a server that was promoted between two looks."""
    settings = resources.settings
    heart = HeartbeatServer(settings.effective_database_url, settings, name="heart")
    try:
        assert await heart.show()
        assert await heart.show()
        (own,) = await heart.fetch("SELECT CONNECTION_ID() AS number", purpose="test")
        primary.execute(f"KILL {own['number']}")
        (idle,) = heart._pooled.idle()
        await eventually_async(lambda: bool(idle._stream_broken), deadline_s=_BUSY_MACHINE_S)
        with pytest.raises(DatabaseUnavailable):
            await heart.show()
        assert await heart.show()
    finally:
        await heart.close()


async def test_closing_does_not_wait_for_a_replica_that_hangs(
    opens: _Opens, replica: ReplicaServer
) -> None:
    """A process that is told to stop has a deadline of its own."""
    async with opens() as resources:
        product_id, _ = await add_product(resources.db)
        await _until(resources, ReplicaState.OK)
        replica.catch_up()
        await _fill(resources, product_id)
        replica.freeze()
        reading = asyncio.create_task(_fill(resources, product_id))
        await asyncio.sleep(0)
        began_at = time.monotonic()
        await resources.reading.close()
        assert time.monotonic() - began_at < _BUSY_MACHINE_S / 2
        await reading
        replica.resume()


async def test_many_processes_beat_the_heart_no_more_often_than_one(
    opens: _Opens, primary: PrivateMariaDB
) -> None:
    """Else each further process would be a further writer."""
    async with opens() as one, opens() as other, opens() as third:
        for resources in (one, other, third):
            await _until(resources, ReplicaState.OK)
        with primary.general_log() as at_primary:
            began_at = time.monotonic()
            await asyncio.sleep(20 * _CHECK_MS / 1000)
            took_s = time.monotonic() - began_at
            # Of those who try at the same moment, one does.
            beats = {text for text in at_primary() if text.startswith("UPDATE replica_heartbeat")}
        assert 1 <= len(beats) <= 1.5 * took_s * 1000 / _CHECK_MS + 2


async def test_doctor_tells_a_replica_that_follows_from_one_that_does_not(
    opens: _Opens, primary: PrivateMariaDB, replica: ReplicaServer, database: str
) -> None:
    """And one that is a second name of the primary from one that is another server."""
    async with opens(replica.url(database), primary.url(database)) as resources:

        async def examined() -> dict[str, Verdict]:
            found = await asyncio.to_thread(examine_replicas, resources.settings)
            return {finding.name: finding.verdict for finding in found}

        await _until(resources, ReplicaState.OK, ReplicaState.OK)
        assert await examined() == {
            "heartbeat": Verdict.FINE,
            "reachable": Verdict.FINE,
            "replica-1 server_id": Verdict.FINE,
            "replica-1 replication": Verdict.FINE,
            "replica-1 writes": Verdict.FINE,
            "replica-2 server_id": Verdict.ADVICE,
            "replica-2 replication": Verdict.FINE,
            "replica-2 writes": Verdict.ADVICE,
        }
        replica.hold_back()
        await _until(resources, ReplicaState.LAGGING, ReplicaState.OK)
        assert (await examined())["replica-1 replication"] is Verdict.FAILED
        replica.kill()
        found = await asyncio.to_thread(examine_replicas, resources.settings)
        assert found[1].verdict is Verdict.UNREACHABLE
        assert replica.password not in found[1].detail
