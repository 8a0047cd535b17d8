"""Every bad input that the contract names: its exact status, and a problem that names the place."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.bad_inputs import BODIES, HEADERS, JSON, PATHS, QUERIES, Bad
from tests.problem_answers import assert_problem
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    with running_api(mariadb, redis_server, tmp_path_factory.mktemp("bad")) as started:
        yield started


@pytest.fixture(scope="module")
def client(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client(api.key) as opened:
        yield opened


@pytest.mark.parametrize("bad", [*QUERIES, *PATHS, *BODIES, *HEADERS], ids=str)
def test_is_refused(bad: Bad, api: RunningApi, client: httpx.Client) -> None:
    farm_url = f"/v1/farms/{api.farm}"
    method, _, target = bad.request.partition(" ")
    for mark, value in {"{id}": api.product_id, "{farm}": api.farm, "{farm_url}": farm_url}.items():
        target = target.replace(mark, str(value))
    # A URL object is sent as it is written; httpx would mend a string's broken escapes.
    url = httpx.URL(api.url).copy_with(raw_path=target.replace(" ", "%20").encode())
    request = client.build_request(method, url, content=bad.content, headers=bad.headers)
    answer = client.send(request)
    assert_problem(
        answer.status_code,
        answer.headers,
        answer.content,
        expected=bad.status,
        kind=bad.kind,
        place=bad.place,
    )
    if bad.status == 405:
        assert answer.headers["allow"]
    if bad.status == 401:
        assert answer.headers["www-authenticate"] == 'Bearer realm="farmlokal"'


@pytest.mark.parametrize("method_and_path", ["POST /v1/products", "DELETE /v1/products/{id}"])
def test_writing_takes_a_key_with_the_scope(api: RunningApi, method_and_path: str) -> None:
    """Refused before the body is looked at: who may not write learns nothing about it."""
    method, path = method_and_path.replace("{id}", api.product_id).split()
    for key, status, kind in ((None, 401, "unauthorized"), (api.reader_key, 403, "forbidden")):
        with api.client(key) as other:
            answer = other.request(method, path, content=b"{", headers=JSON)
        problem = (answer.status_code, answer.headers, answer.content)
        assert_problem(*problem, expected=status, kind=kind)


def test_a_flood_of_unknown_members_is_answered_briefly(client: httpx.Client) -> None:
    flood = json.dumps({f"member-{n}": n for n in range(20_000)})
    answer = client.post("/v1/products", content=flood, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20
    assert len(answer.content) < 8_000


def cursor_of(client: httpx.Client, query: str) -> str:
    cursor = client.get(f"/v1/products?{query}").json()["page"]["next_cursor"]
    assert isinstance(cursor, str)
    return cursor


def refused_cursor(client: httpx.Client, path: str, kind: str, **query: str) -> None:
    answer = client.get(path, params=query)
    problem = (answer.status_code, answer.headers, answer.content)
    assert_problem(*problem, expected=400, kind=kind, place=("parameter", "cursor"))


def test_cursors_of_other_queries_are_refused(client: httpx.Client) -> None:
    cursor = cursor_of(client, "limit=2&sort=price")
    assert client.get("/v1/products", params={"sort": "price", "cursor": cursor}).is_success
    for query in ({}, {"sort": "name"}, {"sort": "price", "order": "desc"}, {"category": "eggs"}):
        refused_cursor(client, "/v1/products", "invalid-cursor", cursor=cursor, **query)
    refused_cursor(client, "/v1/farms", "invalid-cursor", cursor=cursor)
    refused_cursor(client, "/v1/categories", "invalid-cursor", cursor=cursor)


def test_altered_cursors_are_refused(client: httpx.Client) -> None:
    """Each of its bytes counts, those of the signature and those of the position."""
    cursor = cursor_of(client, "limit=2")
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    altered = [
        base64.urlsafe_b64encode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).decode()
        for at in range(len(raw))
    ]
    for other in (*altered, cursor[:-4], cursor + "AAAA", "A", "=", "é", "not a cursor"):
        refused_cursor(client, "/v1/products", "invalid-cursor", cursor=other)


def test_a_cursor_of_a_search_that_is_no_longer_kept_has_expired(
    client: httpx.Client, redis_server: PrivateRedis
) -> None:
    cursor = cursor_of(client, "q=ducks&limit=2")
    assert client.get("/v1/products", params={"q": "ducks", "cursor": cursor}).is_success
    redis_server.flush()
    refused_cursor(client, "/v1/products", "cursor-expired", q="ducks", cursor=cursor, limit="1")


def test_over_the_limit(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """429 with when to come back; health answers all the same."""
    home = tmp_path_factory.mktemp("limited")
    # The three that furnish it count against its key, these against the address.
    limits = {"RATE_LIMIT_REQUESTS": "8", "RATE_LIMIT_WINDOW_S": "3600"}
    with running_api(mariadb, redis_server, home, **limits) as api, api.client() as client:
        answers = [client.get("/v1/farms") for _ in range(9)]
        assert [answer.status_code for answer in answers] == [200] * 8 + [429]
        last = answers[-1]
        problem = assert_problem(429, last.headers, last.content, expected=429, kind="")
        assert problem["violated-policies"] == ["default"]
        assert 1 <= int(last.headers["retry-after"]) <= 2 * 3600
        assert last.headers["ratelimit-policy"] == '"default";q=8;w=3600'
        assert last.headers["ratelimit"].startswith('"default";r=0;t=')
        assert client.get("/nope").status_code == 429
        assert client.get("/health/live").status_code == 200
