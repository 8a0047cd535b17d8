"""The configuration that we ship for HAProxy: what it repeats, hides, replaces and remembers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.ports import LOOPBACK
from tests.servers import PrivateHAProxy
from tests.upstream import Upstream


@pytest.fixture
def upstreams() -> Iterator[tuple[Upstream, Upstream]]:
    both = (Upstream(), Upstream())
    yield both
    for upstream in both:
        upstream.close()


@pytest.fixture
def haproxy(
    haproxy_program: Path, upstreams: tuple[Upstream, Upstream]
) -> Iterator[PrivateHAProxy]:
    ports = [upstream.port for upstream in upstreams]
    with PrivateHAProxy(haproxy_program, blue=ports[:1], green=ports[1:]) as server:
        server.wait_until_serving("blue1", "green1")
        yield server


@pytest.fixture
def client(haproxy: PrivateHAProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=haproxy.url, trust_env=False, timeout=10) as opened:
        yield opened


def test_a_clients_word_about_its_address_is_replaced(client: httpx.Client) -> None:
    """The limiter counts by it: whoever could choose it would have no limit."""
    told = {"x-forwarded-for": "192.0.2.9", "forwarded": "for=192.0.2.9", "x-real-ip": "192.0.2.9"}
    seen = client.get("/v1/products", headers=told).text.lower()
    assert "192.0.2.9" not in seen
    assert f"x-forwarded-for: {LOOPBACK}\n" in seen


def test_request_ids_pass_in_both_directions(client: httpx.Client) -> None:
    answer = client.get("/v1/products", headers={"x-request-id": "of-the-client"})
    assert answer.headers["x-request-id"] == "of-the-client"
    assert client.get("/v1/products").headers["x-request-id"] == "ours"


@pytest.mark.parametrize("path", ["/health/ready", "/metrics", "/%68ealth/live", "/metrics/x"])
def test_what_is_for_the_inside_cannot_be_reached(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_only_what_changes_nothing_is_repeated_elsewhere(
    haproxy: PrivateHAProxy, client: httpx.Client, upstreams: tuple[Upstream, Upstream]
) -> None:
    """A process that dies with a request in hand may have done what was asked."""
    upstreams[0].rude = True
    assert {client.get("/v1/products").status_code for _ in range(6)} == {200}
    assert upstreams[0].reached > 0
    upstreams[1].rude = True
    before = sum(upstream.reached for upstream in upstreams)
    # On a connection that has carried an answer, the proxy would pass on the hanging up itself.
    answer = httpx.post(f"{haproxy.url}/v1/products", trust_env=False)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert sum(upstream.reached for upstream in upstreams) == before + 1


def test_what_reached_nobody_is_sent_elsewhere_whatever_it_is(
    haproxy: PrivateHAProxy, client: httpx.Client, upstreams: tuple[Upstream, Upstream]
) -> None:
    """Also in the second before a health check has found out."""
    upstreams[0].close()
    assert {client.post("/v1/products").status_code for _ in range(10)} == {200}


def test_nobody_there_is_a_problem_that_says_when_to_come_again(
    haproxy: PrivateHAProxy, client: httpx.Client
) -> None:
    haproxy.drain("blue1")
    haproxy.drain("green1")
    answer = client.get("/v1/products")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["status"] == 503


def test_who_drains_gets_nothing_new_even_after_the_proxy_was_killed(
    haproxy: PrivateHAProxy, client: httpx.Client, upstreams: tuple[Upstream, Upstream]
) -> None:
    """Its state file says so, which is written with each change."""
    haproxy.drain("blue1")
    haproxy.kill()
    haproxy.restart()
    haproxy.wait_until_serving("green1")
    before = upstreams[0].reached
    with httpx.Client(base_url=haproxy.url, trust_env=False) as anew:
        assert {anew.get("/v1/products").status_code for _ in range(10)} == {200}
    assert upstreams[0].reached == before
    haproxy.admit("blue1")
    haproxy.wait_until_serving("blue1", "green1")
