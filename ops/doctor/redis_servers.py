"""What the queue's and the cache's Redis are, and should be: every server of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import redis
from redis.exceptions import AuthenticationError, RedisError

from coordination.settings import Settings
from ops.addresses import server_name
from ops.doctor.finding import Finding, advice, failed, fine, unreachable
from ops.doctor.redis_nodes import RedisNode, ask, nodes_behind

__all__ = ["examine_redis"]

_OLDEST = (6, 2)


def examine_redis(settings: Settings) -> list[Finding]:
    """Both roles, even when one server plays both."""
    queue, cache = settings.effective_queue_redis_url, settings.effective_cache_redis_url
    findings = _examine("queue", "QUEUE_REDIS_URL", queue, shared=queue == cache)
    if cache != queue:
        findings += _examine("cache", "CACHE_REDIS_URL", cache, shared=False)
    return findings


def _examine(role: str, variable: str, url: str, *, shared: bool) -> list[Finding]:
    area = f"redis {role}" if not shared else "redis"
    try:
        nodes, found = nodes_behind(area, url)
    except (RedisError, OSError) as error:
        return [_away(area, variable, server_name(url), error)]
    return found + _agreed({node.name: _examine_node(area, role, variable, node) for node in nodes})


def _examine_node(area: str, role: str, variable: str, node: RedisNode) -> list[Finding]:
    try:
        info = ask(node.url, _info)
    except (RedisError, OSError) as error:
        return [_away(area, variable, server_name(node.url), error)]
    version = str(info.get("redis_version", "0"))
    found = [fine(area, "reachable", f"{server_name(node.url)}, version {version}")]
    if _numbers(version) < _OLDEST:
        found.append(failed(area, "version", version, "Redis 6.2 or newer is needed."))
    if role == "queue":
        return [*found, _persistence(area, info), _queue_eviction(area, info)]
    return [*found, *_cache_memory(area, info)]


def _away(area: str, variable: str, name: str, error: Exception) -> Finding:
    if isinstance(error, AuthenticationError):
        todo = f"Put the right user and password into {variable} or REDIS_URL."
        return unreachable(area, f"{name} refuses the password", todo)
    todo = f"Start it, or correct {variable} or REDIS_URL."
    return unreachable(area, f"{name}: {_first_line(error)}", todo)


def _agreed(by_node: Mapping[str, list[Finding]]) -> list[Finding]:
    """What is true of all nodes once, and what is true of some with their names."""
    found: dict[Finding, list[str]] = {}
    for name, findings in by_node.items():
        for finding in findings:
            found.setdefault(finding, []).append(name)
    return [
        finding
        if len(names) == len(by_node) or finding.name == "reachable"
        else replace(finding, detail=f"{finding.detail} (on {', '.join(names)})")
        for finding, names in found.items()
    ]


def _persistence(area: str, info: Mapping[str, object]) -> Finding:
    if str(info.get("aof_enabled")) == "1":
        return fine(area, "appendonly", "yes")
    return advice(
        area,
        "appendonly",
        "no: hints waiting in the queue are gone after a restart, until the sweep sends new ones",
        "Set appendonly yes, appendfsync everysec.",
    )


def _queue_eviction(area: str, info: Mapping[str, object]) -> Finding:
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return fine(area, "maxmemory-policy", policy)
    return failed(
        area,
        "maxmemory-policy",
        f"{policy}: messages, locks and leases may vanish when memory runs out",
        "Set maxmemory-policy noeviction.",
    )


def _cache_memory(area: str, info: Mapping[str, object]) -> list[Finding]:
    found = []
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "volatile-lru":
        found.append(fine(area, "maxmemory-policy", policy))
    else:
        found.append(advice(area, "maxmemory-policy", policy, "Set maxmemory-policy volatile-lru."))
    if str(info.get("maxmemory", "0")) == "0":
        todo = "Set maxmemory, or nothing is evicted before the machine runs out."
        found.append(advice(area, "maxmemory", "no limit", todo))
    if str(info.get("aof_enabled")) == "1":
        todo = "Set appendonly no: what is in the cache can be rebuilt, and writing it costs time."
        found.append(advice(area, "appendonly", "yes", todo))
    return found


def _info(client: redis.Redis) -> Mapping[str, object]:
    answer = client.info()
    return answer if isinstance(answer, dict) else {}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
