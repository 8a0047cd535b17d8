"""Every operation over a real socket: nobody, strangers, and keys of each scope."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from coordination.sealing import Sealer
from models import api_keys
from models.api_keys import SCOPES
from models.partners import partners
from models.webhooks.schemes import Scheme
from tests.databases import migrated, settings_for
from tests.ports import LOOPBACK
from tests.problem_answers import assert_problem
from tests.route_access import KNOWN_OTHERWISE, NEEDS_SCOPE, PUBLIC
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

UNKNOWN_KEY = f"fl_{'u' * 43}"
NO_KEYS = ("Basic Zm9vOmJhcg==", "Bearer", "Bearer a b", "fl_" + "u" * 43, "")
NOBODY_HAS = {
    "product_id": "0199a1b2-0000-7000-8000-000000000000",
    "import_id": "0199a1b2-0000-7000-8000-000000000000",
    "receipt": "0199a1b2-0000-7000-8000-000000000000",
    "slug": "nobody-has-it",
    "farm_id": "999999",
    "partner": "nobody",
    "asset": "start.js",
}
SCOPED = [
    *[(method, path, scope) for (method, path), scope in NEEDS_SCOPE.items()],
    *[("HEAD", path, scope) for (method, path), scope in NEEDS_SCOPE.items() if method == "GET"],
]


@dataclass(frozen=True, slots=True)
class Guarded:
    """``keys``: one for each scope, which has no other; ``partners``: one without any."""

    api: RunningApi
    client: httpx.Client
    keys: dict[str, str]
    partners: str

    def ask(self, method: str, path: str, authorization: str | None = None) -> httpx.Response:
        headers = {} if authorization is None else {"authorization": authorization}
        return self.client.request(method, path.format(**NOBODY_HAS), headers=headers)

    def refused(
        self, method: str, path: str, authorization: str | None, expected: int, kind: str
    ) -> httpx.Response:
        answer = self.ask(method, path, authorization)
        if method == "HEAD":
            assert (answer.status_code, answer.content) == (expected, b"")
        else:
            assert_problem(
                answer.status_code, answer.headers, answer.content, expected=expected, kind=kind
            )
        return answer


@pytest.fixture(scope="module")
def guarded(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("scopes")
    with running_api(mariadb, redis_server, home) as api, api.client() as client:
        keys, own = asyncio.run(_keys(home, mariadb.url(api.database)))
        yield Guarded(api, client, keys, own)


async def _keys(home: Path, url: str) -> tuple[dict[str, str], str]:
    settings = settings_for(home, url)
    async with migrated(settings) as db:
        sealer = Sealer(settings.sealing_secret)
        partner, _ = await partners.add(db, sealer, name="hill", scheme=Scheme.STANDARD, farms=None)
        own, _ = await api_keys.create(db, "hill", [], partner_id=partner.id)
        return {scope: (await api_keys.create(db, scope, [scope]))[0] for scope in SCOPES}, own


@pytest.mark.parametrize(("method", "path", "scope"), SCOPED)
def test_a_scope_is_enforced(guarded: Guarded, method: str, path: str, scope: str) -> None:
    for authorization in (None, *NO_KEYS, f"Bearer {UNKNOWN_KEY}"):
        answer = guarded.refused(method, path, authorization, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == 'Bearer realm="farmlokal"'
    others = [key for of, key in guarded.keys.items() if of != scope]
    for key in (*others, guarded.partners):
        guarded.refused(method, path, f"Bearer {key}", 403, "forbidden")
    allowed = guarded.ask(method, path, f"Bearer {guarded.keys[scope]}")
    assert allowed.status_code not in {401, 403}
    assert allowed.status_code < 500


@pytest.mark.parametrize(("method", "path"), sorted(PUBLIC))
def test_what_is_public_asks_for_no_key(guarded: Guarded, method: str, path: str) -> None:
    for verb in (method, "HEAD"):
        assert guarded.ask(verb, path).status_code in {200, 404}


@pytest.mark.parametrize(("method", "path"), sorted(KNOWN_OTHERWISE))
def test_who_proves_nothing_is_told_nothing(guarded: Guarded, method: str, path: str) -> None:
    wrong = [f"Bearer {UNKNOWN_KEY}"]
    if method == "POST":
        # A key is no signature, be it as good as it may.
        wrong += [f"Bearer {guarded.api.key}", f"Bearer {guarded.partners}"]
    for authorization in (None, *wrong):
        headers = {"content-type": "application/json"}
        if authorization is not None:
            headers["authorization"] = authorization
        answer = guarded.client.request(method, path.format(**NOBODY_HAS), headers=headers)
        assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("who", ["nobody", "stranger", "other scope"])
def test_a_streamed_body_is_refused_before_it_is_read(guarded: Guarded, who: str) -> None:
    """Nor is a client asked to send it: the first line that comes is the refusal's."""
    authorization, expected = {
        "nobody": ("", 401),
        "stranger": (f"Authorization: Bearer {UNKNOWN_KEY}\r\n", 401),
        "other scope": (f"Authorization: Bearer {guarded.keys['ops:read']}\r\n", 403),
    }[who]
    head = (
        "POST /v1/imports?into=products HTTP/1.1\r\nHost: farm.example\r\n"
        "Content-Type: text/csv\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n"
        f"{authorization}\r\n"
    )
    with socket.create_connection((LOOPBACK, guarded.api.process.port), timeout=20) as connection:
        connection.sendall(head.encode())
        received = b""
        while b"\r\n" not in received:
            received += connection.recv(64)
        assert received.startswith(b"HTTP/1.1 %d " % expected), received


def test_a_key_in_the_query_is_no_key(guarded: Guarded) -> None:
    """It would stand in every proxy's log."""
    answer = guarded.client.post(f"/v1/farms?access_token={guarded.api.key}", json={})
    assert answer.status_code == 401
