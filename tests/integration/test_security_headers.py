"""What every answer says to browsers, whoever gives it: handlers, refusals, the server itself."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from api.app import ROUTES
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

DATA = "default-src 'none'; frame-ancestors 'none'"
PAGES = {"/docs", "/docs/start.js", "/openapi.json"}


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    with running_api(mariadb, redis_server, tmp_path_factory.mktemp("headers")) as started:
        yield started


@pytest.fixture(scope="module")
def client(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client(api.key) as opened:
        yield opened


def policy_of(answer: httpx.Response) -> str:
    """Its one Content-Security-Policy, after looking at what is the same everywhere."""
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("cross-origin-resource-policy") == ["same-origin"]
    # What the server runs on is nobody's business, and TLS is the proxy's.
    for absent in ("server", "x-powered-by", "strict-transport-security"):
        assert absent not in answer.headers
    (policy,) = answer.headers.get_list("content-security-policy")
    return policy


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT"])
@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
def test_every_answer_is_guarded(client: httpx.Client, path: str, method: str) -> None:
    """Found or not, taken or refused."""
    asked = path.replace("<asset>", "start.js")
    policy = policy_of(client.request(method, asked))
    if asked in PAGES and method in {"GET", "HEAD"}:
        assert "script-src 'self'" in policy
    else:
        assert policy == DATA


@pytest.mark.parametrize("path", ["/v1/products", "/v1/products/{id}", "/v1/farms", "/docs"])
def test_not_modified_is_guarded_too(api: RunningApi, client: httpx.Client, path: str) -> None:
    """A cache takes the headers of a 304 over into what it keeps."""
    asked = path.format(id=api.product_id)
    whole = client.get(asked)
    again = client.get(asked, headers={"if-none-match": whole.headers["etag"]})
    assert again.status_code == 304
    assert policy_of(again) == policy_of(whole)


def test_the_page_may_run_its_own_scripts_and_nothing_else(client: httpx.Client) -> None:
    policy = policy_of(client.get("/docs"))
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_other_sites_are_given_no_leave(client: httpx.Client) -> None:
    """No CORS: a page of another origin can read nothing here in its visitor's name."""
    answer = client.options(
        "/v1/products",
        headers={"origin": "https://evil.example", "access-control-request-method": "POST"},
    )
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    answer = client.get("/v1/products", headers={"origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control-")]
