"""`Idempotency-Key` over HTTP: one effect and one answer, however often and at once it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest

from tests.polling import eventually
from tests.problem_answers import assert_problem
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

RUNNING = "SELECT id FROM idempotency_keys WHERE state = 'running'"


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    with running_api(mariadb, redis_server, tmp_path_factory.mktemp("idempotent")) as started:
        yield started


@pytest.fixture(scope="module")
def client(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client(api.key) as opened:
        yield opened


def new_product(api: RunningApi, **changes: object) -> dict[str, object]:
    whole = {"sku": str(uuid4()), "name": "n", "category": "eggs", "farm": api.farm, "price": "1"}
    return {**whole, **changes}


def test_a_repeated_post_gets_the_first_answer(client: httpx.Client, api: RunningApi) -> None:
    body, key = new_product(api), {"idempotency-key": f'"{uuid4()}"'}
    first = client.post("/v1/products", json=body, headers=key)
    again = client.post("/v1/products", json=body, headers=key)
    unquoted = {"idempotency-key": key["idempotency-key"].strip('"')}
    bare = client.post("/v1/products", json=body, headers=unquoted)
    assert first.status_code == 201
    assert "idempotent-replayed" not in first.headers
    for replayed in (again, bare):
        assert (replayed.status_code, replayed.content) == (201, first.content)
        assert replayed.headers["idempotent-replayed"] == "true"
        for name in ("location", "etag", "content-type", "cache-control"):
            assert replayed.headers[name] == first.headers[name]
        assert replayed.headers["x-request-id"] != first.headers["x-request-id"]
    skus = [item["sku"] for item in client.get("/v1/products?limit=100").json()["data"]]
    assert skus.count(body["sku"]) == 1


def test_a_refusal_is_repeated_too(client: httpx.Client, api: RunningApi) -> None:
    """The stored problem comes again, even when the reason for it is gone."""
    slug = f"c-{uuid4()}"
    key = {"idempotency-key": str(uuid4())}
    body = new_product(api, category=slug)
    first = client.post("/v1/products", json=body, headers=key)
    assert first.status_code == 422
    assert client.post("/v1/categories", json={"slug": slug, "name": "n"}).status_code == 201
    again = client.post("/v1/products", json=body, headers=key)
    assert (again.status_code, again.content) == (422, first.content)
    assert again.headers["content-type"] == "application/problem+json"
    assert client.post("/v1/products", json=body).status_code == 201


def test_a_key_with_another_body_or_target_is_refused(
    client: httpx.Client, api: RunningApi
) -> None:
    body, key = new_product(api), {"idempotency-key": str(uuid4())}
    assert client.post("/v1/products", json=body, headers=key).status_code == 201
    other = client.post("/v1/products", json={**body, "stock": 1}, headers=key)
    elsewhere = client.post("/v1/categories", json={"slug": "x", "name": "x"}, headers=key)
    for answer in (other, elsewhere):
        problem = (answer.status_code, answer.headers, answer.content)
        assert_problem(*problem, expected=422, kind="idempotency-key-reused")


def test_a_malformed_body_does_not_use_the_key_up(client: httpx.Client, api: RunningApi) -> None:
    """What never became a request leaves nothing behind."""
    body, key = new_product(api), {"idempotency-key": str(uuid4())}
    headers = {**key, "content-type": "application/json"}
    assert client.post("/v1/products", content="{", headers=headers).status_code == 400
    assert client.post("/v1/products", json=body, headers=key).status_code == 201


def test_a_repeat_while_the_first_still_runs(
    client: httpx.Client, api: RunningApi, mariadb: SqlServer
) -> None:
    """The first is held by a lock on its farm; its repeat is told to wait, and later answered."""
    body, key = new_product(api), {"idempotency-key": str(uuid4())}

    def post() -> httpx.Response:
        return client.post("/v1/products", json=body, headers=key)

    with (
        ThreadPoolExecutor(1) as pool,
        mariadb.connect(api.database) as held,
        held.cursor() as cursor,
    ):
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM farms WHERE id = %s FOR UPDATE", (api.farm,))
        first = pool.submit(post)
        eventually(
            lambda: mariadb.rows(RUNNING, database=api.database),
            deadline_s=3,
        )
        refused = post()
        cursor.execute("ROLLBACK")
        created = first.result(timeout=20)
    problem = (refused.status_code, refused.headers, refused.content)
    assert_problem(*problem, expected=409, kind="request-in-progress")
    assert int(refused.headers["retry-after"]) >= 1
    assert created.status_code == 201
    assert post().headers["idempotent-replayed"] == "true"


def test_fifty_equal_posts_at_once_create_one_product(
    client: httpx.Client, api: RunningApi
) -> None:
    body, key = new_product(api), {"idempotency-key": str(uuid4())}
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(lambda _: client.post("/v1/products", json=body, headers=key), range(50))
        )
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {201, 409}
    created = {answer.content for answer in answers if answer.status_code == 201}
    assert len(created) == 1
    originals = [
        answer
        for answer in answers
        if answer.status_code == 201 and "idempotent-replayed" not in answer.headers
    ]
    assert len(originals) == 1
    product_id = json.loads(created.pop())["id"]
    skus = [item["sku"] for item in client.get("/v1/products?limit=100").json()["data"]]
    assert skus.count(str(body["sku"])) == 1
    assert client.get(f"/v1/products/{product_id}").json()["sku"] == body["sku"]


def test_a_replay_takes_the_key_that_wrote(client: httpx.Client, api: RunningApi) -> None:
    """Whoever may not write learns nothing from another's idempotency key."""
    body, key = new_product(api), {"idempotency-key": str(uuid4())}
    assert client.post("/v1/products", json=body, headers=key).status_code == 201
    for presented, status in ((None, 401), (api.reader_key, 403)):
        with api.client(presented) as other:
            assert other.post("/v1/products", json=body, headers=key).status_code == status
