"""What only a cluster does: split a read, move slots, lose one node, put another in its place."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from coordination import keys
from coordination.cache import AnswerCache, Ground, Outcome, ReadPlan
from coordination.cache_entry import Answer, answer_of
from coordination.clients import open_lock_client, ping, replacements
from coordination.jobs import SWEEP, Sweep, message, open_broker
from coordination.rate_limit import LimitRequest
from coordination.redis_cluster import ClusterClient
from tests.caching import LIFETIME, PLAN, Source, cache_process
from tests.databases import settings_for
from tests.polling import eventually_async
from tests.ports import LOOPBACK, free_port
from tests.servers import PrivateRedisCluster

PRODUCT = UUID("01890000-0000-7000-8000-000000000001")
PRODUCT_PLAN = ReadPlan("product", keys.product(PRODUCT), (keys.GENERATION_ALL,), LIFETIME)
ANYBODY = LimitRequest("anybody", 1_000_000, 60)


@pytest.fixture(scope="module")
def running(redis_program: Path) -> Iterator[PrivateRedisCluster]:
    with PrivateRedisCluster(redis_program, replicas=True) as server:
        yield server


@pytest.fixture
def cluster(running: PrivateRedisCluster) -> Iterator[PrivateRedisCluster]:
    running.flush()
    yield running
    running.revive()


@pytest.fixture
async def cache(tmp_path: Path, cluster: PrivateRedisCluster) -> AsyncIterator[AnswerCache]:
    async with cache_process(tmp_path, cluster, cache_timeout_ms=2_000) as opened:
        yield opened


def calls(cluster: PrivateRedisCluster) -> dict[str, int]:
    """How often each command ran on any node since the last look."""
    found: dict[str, int] = {}
    for node in cluster.nodes:
        with node.client() as client:
            for command, facts in client.info("commandstats").items():
                name = command.removeprefix("cmdstat_")
                found[name] = found.get(name, 0) + int(facts["calls"])
            client.config_resetstat()
    return found


async def test_a_hit_is_one_limiter_script_and_plain_gets(
    cache: AnswerCache, cluster: PrivateRedisCluster
) -> None:
    """The path of nearly all reads costs each node one flush and no second look."""
    await cache.fetch(PLAN, Source().fill, ANYBODY)
    calls(cluster)
    fetched = await cache.fetch(PLAN, Source().fill, ANYBODY)
    made = calls(cluster)
    assert fetched.outcome is Outcome.HIT
    assert (made["evalsha"], made["get"], made.get("eval", 0)) == (1, 3, 0)


async def test_no_answered_write_is_unseen_by_any_later_read(
    tmp_path: Path, cluster: PrivateRedisCluster
) -> None:
    """Neither voidings nor reads are atomic here, and fills are slow; the promise holds."""
    version = answered = hits = 0
    older: list[tuple[str, int, int]] = []
    ends_at = asyncio.get_running_loop().time() + 20

    def enough() -> bool:
        return answered >= 60 and hits >= 60

    def goes_on() -> bool:
        return not enough() and asyncio.get_running_loop().time() < ends_at

    async def fill(ground: Ground) -> Answer:
        seen = version
        await asyncio.sleep(random.choice((0, 0.001, 0.01)))
        return answer_of(b"%d" % seen)

    async def write(cache: AnswerCache) -> None:
        nonlocal version, answered
        while goes_on():
            version += 1
            mine = version
            if await cache.plane.void([PRODUCT], [keys.GENERATION_PRODUCTS]) is not None:
                answered = max(answered, mine)
            await asyncio.sleep(random.choice((0, 0.02, 0.1)))

    async def read(cache: AnswerCache, plan: ReadPlan) -> None:
        nonlocal hits
        while goes_on():
            floor = answered
            fetched = await cache.fetch(plan, fill, ANYBODY)
            seen = int(fetched.answer.body)
            if seen < floor:
                older.append((plan.kind, seen, floor))
            hits += fetched.outcome is Outcome.HIT
            await asyncio.sleep(0.001)

    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(
                cache_process(tmp_path, cluster, cache_timeout_ms=2_000)
            )
            for _ in range(3)
        ]
        await asyncio.gather(
            *(read(cache, plan) for cache in processes for plan in (PLAN, PRODUCT_PLAN)),
            *(write(cache) for cache in processes[:2]),
        )
    assert not older, older[:5]
    assert enough(), (answered, hits)


async def test_a_voiding_one_node_does_not_acknowledge_is_owed(
    cache: AnswerCache, cluster: PrivateRedisCluster
) -> None:
    """Half a voiding is none: everything is void before this process reads again."""
    await cache.fetch(PLAN, Source().fill, None)
    before = (await cache.fetch(PLAN, Source().fill, None)).generation
    # A key of another kind in the way: this one node refuses.
    with cluster.client() as client:
        client.rpush(keys.product(PRODUCT), b"in the way")
    assert await cache.plane.void([PRODUCT], [keys.GENERATION_PRODUCTS]) is None
    fetched = await cache.fetch(PLAN, Source().fill, None)
    assert fetched.outcome is Outcome.MISS
    assert fetched.generation not in {None, before}


async def test_a_slot_on_its_way_and_one_that_moved_are_followed(
    cache: AnswerCache, cluster: PrivateRedisCluster
) -> None:
    """Moving slots between nodes costs readers nothing but a redirection."""
    await cache.fetch(PLAN, Source().fill, ANYBODY)
    slot = str(key_slot(PLAN.entry.encode()))
    source = cluster.nodes[cluster.node_of(PLAN.entry)]
    target = cluster.nodes[(cluster.node_of(PLAN.entry) + 1) % 3]
    source_id, target_id = (node.ask("CLUSTER", "MYID").decode() for node in (source, target))
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    source.ask("MIGRATE", LOOPBACK, str(target.port), PLAN.entry, "0", "1000")
    assert (await cache.fetch(PLAN, Source().fill, ANYBODY)).outcome is Outcome.HIT  # by ASK
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    assert (await cache.fetch(PLAN, Source().fill, ANYBODY)).outcome is Outcome.HIT  # by MOVED
    assert replacements(cache.plane.client)() == 0


async def test_after_a_failover_nothing_from_before_is_served(
    cache: AnswerCache, cluster: PrivateRedisCluster
) -> None:
    """The new primary may lack a voiding that the old one acknowledged."""
    await cache.fetch(PLAN, Source().fill, ANYBODY)
    before = (await cache.fetch(PLAN, Source().fill, ANYBODY)).generation
    old = cluster.node_of(PLAN.entry)
    # In order, so that nothing fails but what is sent to the wrong one: no other sign is given.
    cluster.nodes[old + 3].ask("CLUSTER", "FAILOVER")
    # For a moment of it nobody does.
    await eventually_async(
        lambda: cluster.node_of(PLAN.entry) == old + 3, retry_on=(AssertionError,)
    )
    assert (await cache.fetch(PLAN, Source().fill, ANYBODY)).outcome is Outcome.BYPASS
    # The entry itself was replicated: only its generation tells that it may be too old.
    fetched = await cache.fetch(PLAN, Source().fill, ANYBODY)
    assert fetched.outcome is Outcome.MISS
    assert fetched.generation not in {None, before}
    assert replacements(cache.plane.client)() >= 1


async def test_a_replica_that_took_over_is_found(
    cache: AnswerCache, cluster: PrivateRedisCluster
) -> None:
    """A node that is killed tells nobody who follows; the others are asked, beside the reads."""
    await cache.fetch(PLAN, Source().fill, ANYBODY)
    cluster.kill(cluster.node_of(PLAN.entry))

    async def served_again() -> bool:
        return (await cache.fetch(PLAN, Source().fill, ANYBODY)).outcome is Outcome.HIT

    await eventually_async(served_again, deadline_s=20)


async def test_one_node_away_takes_only_its_own_keys_along(
    tmp_path: Path, redis_program: Path
) -> None:
    """Without replicas, two thirds of the keys are served as if nothing had happened."""
    with PrivateRedisCluster(redis_program) as cluster:
        settings = settings_for(tmp_path, "sqlite:////nowhere", redis_url=cluster.url)
        client = open_lock_client(settings)
        names = [f"key:{number}" for number in range(30)]
        for name in names:
            await client.set(name, b"here")
        cluster.freeze(0)
        here = {name for name in names if cluster.node_of(name) != 0}
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for name in names:
            if name in here:
                assert await client.get(name) == b"here"
            else:
                with pytest.raises(RedisError):
                    await client.get(name)
        assert loop.time() - began_at < len(names) * settings.lock_timeout_ms / 1000
        assert not await ping(client)
        cluster.revive()

        async def all_there() -> bool:
            return await ping(client) and bool(await client.set(names[0], b"again"))

        await eventually_async(all_there, deadline_s=10, retry_on=Disconnected)
        await client.aclose()


async def test_a_client_that_was_closed_opens_no_connection(
    tmp_path: Path, cluster: PrivateRedisCluster
) -> None:
    """What was left running must not reach for a node that nobody asked before."""
    client = open_lock_client(settings_for(tmp_path, "sqlite:////nowhere", redis_url=cluster.url))
    assert isinstance(client, ClusterClient)
    await client.flush([("GET", "a")])
    await client.aclose()
    for name in "abcdefgh":
        with pytest.raises(Disconnected):
            await client.flush([("GET", name)])

    def connected() -> list[str]:
        found = []
        for node in cluster.nodes:
            with node.client() as looking:
                found += [row["name"] for row in looking.client_list()]
        return [name for name in found if name == "farmlokal-locks"]

    await eventually_async(lambda: not connected(), deadline_s=5)


async def test_a_cluster_that_is_away_stops_no_start(tmp_path: Path) -> None:
    """Each purpose opens without asking, fails as one server that is away, and in time."""
    url = PrivateRedisCluster.url_by([free_port(), free_port()])
    settings = settings_for(tmp_path, "sqlite:////nowhere", redis_url=url)
    broker = open_broker(settings)
    client = open_lock_client(settings)
    assert not await ping(client)
    with pytest.raises(Disconnected):
        await client.get("anything")
    with pytest.raises(Disconnected):
        await asyncio.to_thread(broker.enqueue, message(SWEEP, Sweep()))
    await client.aclose()
