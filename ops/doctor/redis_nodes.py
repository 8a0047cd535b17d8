"""The servers behind a Redis URL, and how they stand together: a cluster's nodes, what sentinels
watch. It asks each server by itself, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from coordination.redis_urls import Address, RedisUrl, Topology, parse_redis_url
from ops.doctor.finding import Finding, advice, failed, fine

__all__ = ["RedisNode", "ask", "nodes_behind"]

T = TypeVar("T")
_ENOUGH_SENTINELS: Final = 3


@dataclass(frozen=True, slots=True)
class RedisNode:
    """One server; ``url`` is its own."""

    name: str
    url: str


def nodes_behind(area: str, url: str) -> tuple[list[RedisNode], list[Finding]]:
    """Each server there is, and what is to be said of them as a whole. Raises redis-py's errors."""
    target = parse_redis_url(url)
    if target.topology is Topology.CLUSTER:
        return _of_cluster(area, target)
    if target.topology is Topology.SENTINEL:
        return _of_sentinels(area, target)
    return [RedisNode("", url)], []


def ask(url: str, question: Callable[[redis.Redis], T]) -> T:
    """What one server answers within seconds. Raises redis-py's errors."""
    client = redis.Redis.from_url(
        url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
    )
    with closing(client):
        return question(client)


def _of_cluster(area: str, target: RedisUrl) -> tuple[list[RedisNode], list[Finding]]:
    urls = [target.server_url(address) for address in target.addresses]
    slots, state = _first(urls, _told_by_cluster)
    addresses: list[Address] = []
    alone = []
    for _, _, *servers in slots:
        places = [
            (_text(server[0]) or target.addresses[0][0], int(server[1])) for server in servers
        ]
        addresses += places
        if len(places) == 1:
            alone.append(_name(places[0]))
    healthy = state.get("cluster_state") == "ok"
    detail = f"{state.get('cluster_state')}, {state.get('cluster_slots_ok')} of 16384 slots served"
    todo = "See which nodes are away: redis-cli --cluster check HOST:PORT."
    found = [fine(area, "cluster", detail) if healthy else failed(area, "cluster", detail, todo)]
    if alone:
        todo = "Give each primary a replica, or its part of the keys is away as long as it is."
        found.append(advice(area, "replicas", f"none of {', '.join(sorted(set(alone)))}", todo))
    return _nodes(target, addresses), found


def _told_by_cluster(client: redis.Redis) -> tuple[list[Any], Mapping[str, str]]:
    slots = client.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
    info = _text(client.execute_command("CLUSTER", "INFO"))  # type: ignore[no-untyped-call]
    pairs = (line.partition(":") for line in info.splitlines())
    return slots, {name: value for name, _, value in pairs}


def _of_sentinels(area: str, target: RedisUrl) -> tuple[list[RedisNode], list[Finding]]:
    silent, told = [], []
    refusal: RedisError | None = None
    for address in target.addresses:
        try:
            told.append(
                ask(target.sentinel_url(address), lambda one: _watched(one, target.service))
            )
        except (RedisError, OSError) as error:
            refusal = error if isinstance(error, RedisError) else refusal
            silent.append(_name(address))
    if not told:
        raise refusal or redis.ConnectionError("no sentinel answers")
    primary, replicas = told[0]
    place = (str(primary["ip"]), int(primary["port"]))
    sentinels = int(primary["num-other-sentinels"]) + 1
    detail = f"{_name(place)} is the primary, says {len(told)} of {len(target.addresses)} asked"
    found = [fine(area, "sentinels", detail)]
    if silent:
        found.append(advice(area, "sentinels", f"{', '.join(silent)} silent", "Start them again."))
    if sentinels < _ENOUGH_SENTINELS:
        todo = "Run three on three machines: two cannot outvote one that is wrong."
        found.append(advice(area, "sentinels", f"{sentinels} in all", todo))
    if not replicas:
        todo = "Add one: there is nobody to take the primary's place."
        found.append(advice(area, "replicas", "none", todo))
    return _nodes(target, [place, *replicas]), found


def _watched(sentinel: redis.Redis, service: str) -> tuple[Mapping[str, Any], list[Address]]:
    # Declared wider than what these clients get.
    primary = cast("Mapping[str, Any]", sentinel.sentinel_master(service))
    replicas = sentinel.sentinel_slaves(service)
    return primary, [(str(one["ip"]), int(one["port"])) for one in replicas]


def _first(urls: Sequence[str], question: Callable[[redis.Redis], T]) -> T:
    last: Exception = redis.ConnectionError("no server answers")
    for url in urls:
        try:
            return ask(url, question)
        except (RedisError, OSError) as error:
            last = error
    raise last


def _nodes(target: RedisUrl, addresses: Iterable[Address]) -> list[RedisNode]:
    return [
        RedisNode(_name(address), target.server_url(address))
        for address in dict.fromkeys(addresses)
    ]


def _name(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _text(raw: object) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw or "")
