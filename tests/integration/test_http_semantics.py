"""Request ids, HEAD, validators and preconditions, as clients rely on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx
import pytest

from tests.problem_answers import assert_problem
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

READS = ("/v1/products", "/v1/products/{id}", "/v1/farms", "/v1/categories/eggs", "/openapi.json")


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    with running_api(mariadb, redis_server, tmp_path_factory.mktemp("http")) as started:
        yield started


@pytest.fixture(scope="module")
def client(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client(api.key) as opened:
        yield opened


def new_product(api: RunningApi, **changes: object) -> dict[str, object]:
    whole = {"sku": str(uuid4()), "name": "n", "category": "eggs", "farm": api.farm, "price": "1"}
    return {**whole, **changes}


@pytest.mark.parametrize(
    "given", ["a", "A-b_c.9", "0" * 64, "7d444840-9dc0-41d1-b245-5ffdce74fad2"]
)
def test_a_well_formed_request_id_is_kept(client: httpx.Client, given: str) -> None:
    for path, status in (("/v1/farms", 200), ("/v1/farms/x", 400), ("/nope", 404)):
        answer = client.get(path, headers={"x-request-id": given})
        assert (answer.status_code, answer.headers["x-request-id"]) == (status, given)


@pytest.mark.parametrize(
    "given",
    [b"", b"-a", b"a b", b"0" * 65, b"a\tb", b"a,b", b'{"a":1}', b"\xc3\xa9", b"../../x", b"a;b"],
)
def test_another_request_id_is_replaced(client: httpx.Client, given: bytes) -> None:
    answer = client.get("/v1/farms", headers=[(b"x-request-id", given)])
    assert UUID(answer.headers["x-request-id"])


def test_each_request_has_an_id_of_its_own(client: httpx.Client) -> None:
    assert len({client.get("/v1/farms").headers["x-request-id"] for _ in range(20)}) == 20


@pytest.mark.parametrize("path", READS)
def test_head_says_what_get_says_without_the_body(
    client: httpx.Client, api: RunningApi, path: str
) -> None:
    path = path.replace("{id}", api.product_id)
    changing = {"x-request-id", "ratelimit", "cache-status"}
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert got.headers["content-type"] == "application/json"
    for name in (set(got.headers) | set(head.headers)) - changing:
        assert head.headers[name] == got.headers[name], name


def test_head_of_nothing(client: httpx.Client) -> None:
    answer = client.head("/v1/farms/987654321")
    assert (answer.status_code, answer.content) == (404, b"")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", READS)
def test_what_the_client_has_is_not_sent_again(
    client: httpx.Client, api: RunningApi, path: str
) -> None:
    path = path.replace("{id}", api.product_id)
    first = client.get(path)
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    for condition in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = client.get(path, headers={"if-none-match": condition})
        assert (again.status_code, again.content) == (304, b""), condition
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == first.headers["cache-control"]
        assert "content-type" not in again.headers
    for condition in ('"x"', "", etag.strip('"')):
        assert client.get(path, headers={"if-none-match": condition}).status_code == 200, condition


def test_what_may_be_kept_and_by_whom(client: httpx.Client, api: RunningApi) -> None:
    """Public reads are validated by clients and kept briefly by a CDN; all else is kept nowhere."""
    for path in ("/v1/products", f"/v1/products/{api.product_id}"):
        client.get(path)
        headers = client.get(path).headers
        assert headers["cache-control"] == "public, max-age=0, stale-if-error=60"
        assert headers["cdn-cache-control"] == "public, max-age=30"
        assert re.fullmatch(r"FarmLokal; hit; ttl=[0-9]+", headers["cache-status"])
    for path in ("/v1/categories", f"/v1/categories/{api.category}", "/v1/farms"):
        headers = client.get(path).headers
        assert headers["cache-control"] == "public, max-age=0, stale-if-error=60"
        assert headers["cdn-cache-control"] == "public, max-age=30"
    written = client.post("/v1/products", json=new_product(api))
    gone = client.delete(written.headers["location"])
    missing = client.get(written.headers["location"])
    assert [a.status_code for a in (written, gone, missing)] == [201, 204, 404]
    for answer in (written, gone, missing, client.get("/health/ready"), client.get("/metrics")):
        assert answer.headers["cache-control"] == "no-store"
        assert "cdn-cache-control" not in answer.headers


def test_no_answer_carries_an_empty_header(client: httpx.Client) -> None:
    """Sanic adds an empty Alt-Svc of its own unless it knows what is served."""
    for path in ("/v1/farms", "/health/live", "/nope", "/docs"):
        assert [name for name, value in client.get(path).headers.items() if not value] == []


def test_if_match_takes_a_list_and_a_star(client: httpx.Client, api: RunningApi) -> None:
    url = f"/v1/products/{api.product_id}"
    etag = client.get(url).headers["etag"]
    stale = '"00000000000000000000000000000000"'
    for stock, condition in ((1, f"{stale}, {etag}"), (2, "*"), (3, None)):
        headers = {} if condition is None else {"if-match": condition}
        changed = client.patch(url, json={"stock": stock}, headers=headers)
        assert (changed.status_code, changed.json()["stock"]) == (200, stock), condition
        assert changed.headers["etag"] == client.get(url).headers["etag"]
    late = client.patch(url, json={"stock": 9}, headers={"if-match": f"{stale}, {etag}"})
    problem = (late.status_code, late.headers, late.content)
    assert_problem(*problem, expected=412, kind="precondition-failed")
    assert client.get(url).json()["stock"] == 3


def test_a_lost_update_is_refused(client: httpx.Client, api: RunningApi) -> None:
    """Of many who change what they all saw, one succeeds."""
    url = f"/v1/products/{api.product_id}"
    etag = client.get(url).headers["etag"]

    def change(stock: int) -> int:
        headers = {"if-match": etag}
        return client.patch(url, json={"stock": stock}, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(change, range(100, 108)))
    assert statuses == [200] + [412] * 7


def test_delete_answers_nothing_and_then_404(client: httpx.Client, api: RunningApi) -> None:
    created = client.post("/v1/products", json=new_product(api))
    url = created.headers["location"]
    gone = client.delete(url, headers={"if-match": created.headers["etag"]})
    assert (gone.status_code, gone.content) == (204, b"")
    assert client.get(url).status_code == client.delete(url).status_code == 404
