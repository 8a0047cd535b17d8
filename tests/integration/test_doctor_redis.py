"""The doctor looks at every server behind a URL, and says which one is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordination.settings import load_settings
from ops.doctor.finding import Finding, Verdict
from ops.doctor.redis_servers import examine_redis
from tests.servers import PrivateRedisCluster, PrivateSentinels


@pytest.fixture(scope="module")
def cluster(redis_program: Path) -> Iterator[PrivateRedisCluster]:
    with PrivateRedisCluster(redis_program, maxmemory_policy="volatile-lru") as server:
        yield server


def said(findings: list[Finding], area: str, name: str) -> list[tuple[Verdict, str]]:
    return [(one.verdict, one.detail) for one in findings if (one.area, one.name) == (area, name)]


def test_each_node_of_a_cluster_and_each_sentinel_is_examined(
    cluster: PrivateRedisCluster, redis_program: Path
) -> None:
    """What all agree on is said once; the one that differs, or is away, by its name."""
    with PrivateSentinels(redis_program) as sentinels:
        settings = load_settings(queue_redis_url=sentinels.url, cache_redis_url=cluster.url)
        findings = examine_redis(settings)
        assert len(said(findings, "redis cache", "reachable")) == len(cluster.nodes)
        policies = said(findings, "redis cache", "maxmemory-policy")
        assert policies == [(Verdict.FINE, "volatile-lru")]
        ((verdict, alone),) = said(findings, "redis cache", "replicas")
        assert (verdict, alone.count(":")) == (Verdict.ADVICE, len(cluster.nodes))
        assert len(said(findings, "redis queue", "reachable")) == len(sentinels.servers)
        assert [found[0] for found in said(findings, "redis queue", "sentinels")] == [Verdict.FINE]

        with cluster.nodes[1].client() as client:
            client.config_set("maxmemory-policy", "noeviction")
        sentinels.sentinels[0].kill()
        findings = examine_redis(settings)
        odd = [detail for _, detail in said(findings, "redis cache", "maxmemory-policy")]
        assert f"noeviction (on 127.0.0.1:{cluster.nodes[1].port})" in odd
        away = said(findings, "redis queue", "sentinels")
        assert (Verdict.ADVICE, f"127.0.0.1:{sentinels.sentinels[0].port} silent") in away


def test_a_cluster_or_sentinels_that_are_away_are_unreachable() -> None:
    """As one server that is away is; no traceback, and no secret."""
    settings = load_settings(
        queue_redis_url="redis+sentinel://:hunter2@127.0.0.1:1/shop",
        cache_redis_url="redis+cluster://:hunter2@127.0.0.1:1",
    )
    findings = examine_redis(settings)
    assert [one.verdict for one in findings] == [Verdict.UNREACHABLE] * 2
    assert "hunter2" not in repr(findings)
