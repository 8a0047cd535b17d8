"""A Redis URL says by its scheme what it names, and is refused without being repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordination.errors import Misconfigured
from coordination.redis_urls import Topology, parse_redis_url
from coordination.settings import load_settings
from ops.addresses import server_name

_NO_SENTINELS_OF_ITS_OWN = "redis+sentinel://u:p%40ss@a:1,b/shop/2?ssl_cert_reqs=none"


@pytest.mark.parametrize("url", ["redis://u:p@h:1/3", "rediss://h", "unix:///tmp/s?db=1"])
def test_one_servers_url_is_left_to_the_library(url: str) -> None:
    """What worked before clusters were known works as it did."""
    parsed = parse_redis_url(url)
    assert (parsed.topology, parsed.server_url()) == (Topology.SINGLE, url)


@pytest.mark.parametrize(
    ("url", "addresses", "server"),
    [
        ("redis+cluster://a:1,b:2", (("a", 1), ("b", 2)), "redis://a:1"),
        ("redis+cluster://a/", (("a", 6379),), "redis://a:6379"),
        ("rediss+cluster://u:p%40@a:1/0", (("a", 1),), "rediss://u:p%40@a:1"),
        ("redis+cluster://[::1]:7,[::2]", (("::1", 7), ("::2", 6379)), "redis://[::1]:7"),
    ],
)
def test_a_cluster_is_named_by_some_of_its_nodes(
    url: str, addresses: tuple[tuple[str, int], ...], server: str
) -> None:
    """Each node is then reached as one server is, by the same credentials."""
    parsed = parse_redis_url(url)
    assert (parsed.topology, parsed.addresses) == (Topology.CLUSTER, addresses)
    assert parsed.server_url(addresses[0]) == server


def test_sentinels_name_a_service_and_get_none_of_its_secrets() -> None:
    """The servers' password is not for the sentinels, and the other way round."""
    parsed = parse_redis_url(_NO_SENTINELS_OF_ITS_OWN)
    assert (parsed.topology, parsed.service) == (Topology.SENTINEL, "shop")
    assert parsed.addresses == (("a", 1), ("b", 26379))
    assert parsed.server_url(("c", 9)) == "redis://u:p%40ss@c:9/2?ssl_cert_reqs=none"
    assert parsed.sentinel_url(("a", 1)) == "redis://a:1?ssl_cert_reqs=none"
    own = parse_redis_url("rediss+sentinel://:p@a/shop?sentinel_password=q")
    assert own.server_url(("c", 9)) == "rediss://:p@c:9"
    assert own.sentinel_url(("a", 1)) == "rediss://a:1?password=q"


@pytest.mark.parametrize("name", ["REDIS_URL", "QUEUE_REDIS_URL", "CACHE_REDIS_URL"])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h/hunter2", "must begin with one of redis://"),
        ("redis+cluster:/h:1/hunter2", "must begin with one of redis://"),
        ("redis+cluster://", "host:port"),
        ("redis+cluster://u:hunter2@a:1,,b", "host:port"),
        ("redis+cluster://::1:1", "host:port"),
        ("redis+cluster://u:hun/ter2@a:1", "a port that is no number"),
        ("redis+cluster://u:hunter2@a:99999", "a port that is no number"),
        ("redis+cluster://u:hunter2@[::1", "unfinished"),
        ("redis+cluster://u:hunter2@a:1/3", "only number 0"),
        ("redis+sentinel://u:hunter2@a:1", "the service"),
        ("redis+sentinel://u:hunter2@a:1/shop/hunter2", "/SERVICE/NUMBER"),
        ("redis://u:hunter2@h:99999", "a port that is no number"),
    ],
)
def test_a_wrong_url_is_refused_by_name_and_never_repeated(
    name: str, url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with a URL is often a piece of an unescaped password."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, url)
    with pytest.raises(Misconfigured) as caught:
        load_settings()
    assert name in str(caught.value)
    assert said in str(caught.value)
    assert "hun" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:p@h:1/0", "h:1"),
        ("redis+cluster://u:p@a:1,b", "cluster of a:1, b:6379"),
        (_NO_SENTINELS_OF_ITS_OWN, "shop by sentinels a:1, b:26379"),
    ],
)
def test_servers_are_shown_without_their_secrets(url: str, shown: str) -> None:
    """Start-up and doctor print them where anyone may read."""
    assert server_name(url) == shown
