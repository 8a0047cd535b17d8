"""The document and the page for people, as the API serves them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx
import pytest

from api.app import ROUTES
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".png": "image/png",
    ".json": "application/json",
}


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    with running_api(mariadb, redis_server, tmp_path_factory.mktemp("docs")) as started:
        yield started


@pytest.fixture(scope="module")
def client(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client() as opened:
        yield opened


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [str(given[name]) for name in ("src", "href") if name in given]
        self.inline += (tag == "script" and "src" not in given) + (tag == "style")


def test_the_document_has_the_routes_that_are_served(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    served = {(route.method.lower(), route.template) for route in ROUTES}
    described = {
        (method, path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == served
    assert document["openapi"].startswith("3.1.")


def test_everything_the_page_loads_is_its_own(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    references = _References()
    references.feed(page.text)
    assert references.inline == 0
    assert "docs/swagger-ui-bundle.js" in references.found
    for reference in references.found:
        assert re.fullmatch(r"[a-z0-9./-]+", reference), "relative, so of the same host"
        answer = client.get(f"/{reference}")
        assert answer.status_code == 200, reference
        expected = TYPES["." + reference.rpartition(".")[2]]
        assert answer.headers["content-type"].startswith(expected), reference
        assert re.fullmatch(r"public, max-age=\d+", answer.headers["cache-control"])
        again = client.get(f"/{reference}", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304


def test_the_start_of_the_page_asks_no_other_host(client: httpx.Client) -> None:
    """The style sheet and our script name no URL; Swagger UI's own is held by the policy."""
    assert "//" not in re.sub(r"^//.*$", "", client.get("/docs/start.js").text, flags=re.M)
    assert "validatorUrl: null" in client.get("/docs/start.js").text
    style = client.get("/docs/swagger-ui.css").text
    assert re.findall(r"@import|url\((?![\"']?data:)", style) == []


def test_a_strict_policy(client: httpx.Client) -> None:
    for path in ("/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"):
        policy = client.get(path).headers["content-security-policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"


@pytest.mark.parametrize(
    "name", ["index.html", "swagger-ui.css.map", "..%2Fpages.py", "%2e%2e%2fpages.py", "START.JS"]
)
def test_no_other_file_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code == 404


def test_the_examples_work(api: RunningApi) -> None:
    """A reader who sends the document's own examples gets what it promises."""
    with api.client(api.key) as client:
        document = client.get("/openapi.json").json()
        bodies = {
            path: document["paths"][path]["post"]["requestBody"]["content"]["application/json"][
                "example"
            ]
            for path in ("/v1/farms", "/v1/categories", "/v1/products")
        }
        client.post(
            "/v1/categories", json={"slug": "dairy-and-eggs", "name": "n"}
        ).raise_for_status()
        client.delete("/v1/categories/eggs")
        bodies["/v1/products"]["farm"] = api.farm
        for path, body in bodies.items():
            created = client.post(path, json=body)
            # The category of the examples is there already.
            assert created.status_code == (409 if path == "/v1/categories" else 201), created.text
            if created.is_success:
                example = document["paths"][path]["post"]["responses"]["201"]["content"]
                shown = example["application/json"]["example"]
                assert list(created.json()) == list(shown), json.dumps(shown)
