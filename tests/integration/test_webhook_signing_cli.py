"""`farmlokal webhooks send|refused|explain` as operators meet them: from a 401 to its reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from api.signatures import Verified, sign
from models.webhooks.schemes import Scheme
from ops.cli.commands import app
from tests.databases import DATABASES, database_url
from tests.integration.stub_api import stub_api
from tests.polling import eventually
from tests.ports import free_port
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer
from tests.signatures import check, offered

BODY = b'{"type": "news.of-no-known-kind", "occurred_at": "2026-01-01T00:00:00Z", "data": {}}'
PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
OURS = ("DATABASE_URL", "REDIS_URL", "QUEUE_REDIS_URL", "CACHE_REDIS_URL", "SEALING_SECRET")


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an operator sits: a directory with the file to send."""

    file: str
    url: str

    def run(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        result = CliRunner().invoke(app, arguments, input=stdin)
        # A defect would come out as an exception of its own.
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    def ask(self, *arguments: str, stdin: bytes = b"") -> tuple[int, dict[str, Any]]:
        """Exit code and the answer in JSON."""
        code, out, _ = self.run(*arguments, "--json", stdin=stdin)
        return code, orjson.loads(out)

    def send(self, name: str, *more: str) -> tuple[int, dict[str, Any]]:
        return self.ask("webhooks", "send", name, self.file, "--url", self.url, *more)

    def add(self, name: str, scheme: Scheme, *more: str) -> str | None:
        """Add a partner; returns the secret that was made."""
        code, answer = self.ask("partners", "add", name, "--all-farms", "--scheme", scheme, *more)
        assert code == 0
        secret: str | None = answer["secret"]
        return secret


def seated(monkeypatch: pytest.MonkeyPatch, home: Path, url: str, redis_url: str) -> str:
    """Set the operator's environment; returns the path of the file to send."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FARMLOKAL_HOME", str(home))
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.chdir(home)
    (home / "event.json").write_bytes(BODY)
    return str(home / "event.json")


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    with running_api(mariadb, redis_server, tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def desk(
    api: RunningApi,
    mariadb: SqlServer,
    redis_server: PrivateRedis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Desk:
    """Beside a running API, with its database and Redis."""
    url = mariadb.url(api.database)
    return Desk(seated(monkeypatch, tmp_path, url, redis_server.url), api.url)


@pytest.fixture(params=DATABASES)
def lone_desk(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Desk:
    """With a database of either kind; neither the API nor Redis is there."""
    url = database_url(request.param, tmp_path, request)
    nowhere = f"127.0.0.1:{free_port()}"
    file = seated(monkeypatch, tmp_path, url, f"redis://{nowhere}/0")
    desk = Desk(file, f"http://{nowhere}")
    assert desk.run("migrate")[0] == 0
    return desk


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_file_is_sent_and_accepted_by_every_scheme(desk: Desk, scheme: Scheme) -> None:
    name = f"sends-{scheme}"
    desk.add(name, scheme)
    code, answer = desk.send(name, "--id", f"evt-{scheme}")
    assert (code, answer["status"], answer["ok"]) == (0, 202, True)
    assert answer["id"] == f"evt-{scheme}"
    assert answer["answer"]["state"] == "pending"
    code, again = desk.send(name, "--id", f"evt-{scheme}")
    assert (code, again["status"]) == (0, 200)
    assert again["answer"]["receipt"] == answer["answer"]["receipt"]
    assert desk.ask("webhooks", "refused", name)[1]["refusals"] == []


def test_a_partner_with_a_public_key_needs_the_private_one_given(desk: Desk) -> None:
    """We cannot sign as such a partner, which is what the scheme is for."""
    desk.add("asymmetric", Scheme.STANDARD, "--secret", PUBLIC)
    code, answer = desk.send("asymmetric")
    assert code == 2
    assert "--secret" in answer["error"]
    code, answer = desk.send("asymmetric", "--secret", PRIVATE)
    assert (code, answer["status"]) == (0, 202)


def test_a_refusal_is_kept_and_explained(desk: Desk) -> None:
    """The whole way of an operator whom a partner asks: "why 401?"."""
    desk.add("puzzled", Scheme.HMAC)
    wrong, late = "a-secret-nobody-agreed-on", str(int(time.time()) - 1_000)
    assert desk.send("puzzled", "--secret", wrong)[1]["status"] == 401
    eventually(lambda: len(listed(desk)) == 1)
    code, answer = desk.send("puzzled", "--at", late, "--id", "evt-late")
    assert (code, answer["ok"], answer["status"]) == (1, False, 401)
    refusals = eventually(lambda: found if len(found := listed(desk)) == 2 else None)
    assert [refusal["reason"] for refusal in refusals] == ["too_old", "mismatch"]
    assert refusals[0]["headers"]["x-idempotency-key"] == ["evt-late"]
    assert refusals[0]["headers"]["x-webhook-timestamp"] == [late]

    code, told = desk.ask("webhooks", "explain", "puzzled")
    assert (code, told["ok"]) == (0, True)
    assert [finding["kind"] for finding in told["findings"]] == ["signer", "clock"]
    code, told = desk.ask("webhooks", "explain", "puzzled", "--number", "2")
    assert (code, told["ok"]) == (1, False)
    assert [finding["kind"] for finding in told["findings"]] == ["unexplained"]
    code, told = desk.ask("webhooks", "explain", "puzzled", "--number", "3")
    assert (code, told["ok"]) == (1, False)
    assert "number 3" in told["error"]

    code, out, errors = desk.run("webhooks", "refused", "puzzled")
    assert code == 0
    assert "too_old" in out
    assert all(refusal["request_id"] in out for refusal in refusals), "to be found in the logs"
    assert "explain puzzled" in errors
    code, out, _ = desk.run("webhooks", "explain", "puzzled")
    assert code == 0
    assert "behind our clock" in out
    assert wrong not in out


def listed(desk: Desk) -> list[dict[str, Any]]:
    code, answer = desk.ask("webhooks", "refused", "puzzled")
    assert code == 0
    found: list[dict[str, Any]] = answer["refusals"]
    return found


def test_a_secret_that_expired_is_named(desk: Desk) -> None:
    old = desk.add("rotated", Scheme.GITHUB)
    assert old is not None
    code, _ = desk.ask("partners", "rotate", "rotated", "--overlap", "0")
    assert code == 0
    headers = sign(Scheme.GITHUB, old, BODY, event_id="e", now_s=0)
    code, told = desk.ask("webhooks", "explain", "rotated", "--file", dumped(desk, headers))
    assert code == 0
    assert [finding["kind"] for finding in told["findings"]] == ["signer", "expired_secret"]
    assert old not in str(told)


def dumped(desk: Desk, headers: dict[str, str], body: bytes = BODY, *, line: bytes = b"") -> str:
    """Write a captured request; returns its path."""
    lines = [f"{name.title()}: {value}".encode("latin-1") for name, value in headers.items()]
    path = Path(desk.file).with_name("dump")
    path.write_bytes(b"\r\n".join([*([line] if line else []), *lines, b"", body]))
    return str(path)


def test_a_captured_request_is_explained_without_redis(lone_desk: Desk) -> None:
    """`--file` needs the secrets alone."""
    secret = lone_desk.add("captured", Scheme.STANDARD)
    assert secret is not None
    compact = orjson.dumps(orjson.loads(BODY))
    headers = sign(Scheme.STANDARD, secret, compact, event_id="e", now_s=1_700_000_000)
    file = dumped(lone_desk, headers, line=b"POST /v1/webhooks/captured HTTP/1.1")
    asked = ("webhooks", "explain", "captured", "--file", file)
    code, told = lone_desk.ask(*asked, "--at", "1700000001")
    assert code == 0
    assert [finding["kind"] for finding in told["findings"]] == ["signer", "deviation"]
    assert "compact" in told["findings"][1]["detail"]
    code, told = lone_desk.ask(*asked)
    assert [finding["kind"] for finding in told["findings"]] == ["signer", "deviation", "clock"]

    path = b"/v1/webhooks/events/0190a1b2-0000-7000-8000-000000000001"
    headers = sign(Scheme.STANDARD, secret, path, event_id="e", now_s=1_700_000_000)
    dumped(lone_desk, headers, b"", line=b"GET " + path + b" HTTP/1.1")
    code, told = lone_desk.ask(*asked, "--at", "1700000001")
    assert [finding["kind"] for finding in told["findings"]] == ["valid"], "a GET signs its path"

    for dump in (b"", b"no blank line: x", b"no colon\n\nbody", b" : x\n\n", b"\n\n"):
        Path(file).write_bytes(dump)
        code, told = lone_desk.ask(*asked)
        assert (code, told["ok"]) == (2, False)
    code, told = lone_desk.ask("webhooks", "explain", "captured")
    assert code == 3, "what was kept is in Redis, which is away"


def test_that_a_partner_is_disabled_is_said_first(lone_desk: Desk) -> None:
    """A valid signature alone would leave the operator with no reason for the 401."""
    secret = lone_desk.add("retired", Scheme.GITHUB)
    assert secret is not None
    headers = sign(Scheme.GITHUB, secret, BODY, event_id="evt", now_s=0)
    file = dumped(lone_desk, headers, BODY, line=b"POST /v1/webhooks/retired HTTP/1.1")
    asked = ("webhooks", "explain", "retired", "--file", file)
    for change, kinds in (("enable", []), ("disable", ["inactive_partner"])):
        assert lone_desk.run("partners", change, "retired")[0] == 0
        code, told = lone_desk.ask(*asked)
        assert code == 0
        assert [finding["kind"] for finding in told["findings"]] == [*kinds, "valid"]


def test_sending_overrides_and_failures(lone_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = lone_desk.add("posts", Scheme.STRIPE)
    assert secret is not None
    code, answer = lone_desk.send("posts")
    assert code == 3
    assert "did not answer" in answer["error"]
    assert lone_desk.send("nobody")[0] == 1
    assert lone_desk.ask("webhooks", "refused", "nobody")[0] == 1
    assert lone_desk.ask("webhooks", "explain", "nobody")[0] == 1
    assert lone_desk.send("posts", "--id", "é")[0] == 2
    assert lone_desk.send("posts", "--url", "ftp://127.0.0.1")[0] == 2
    with stub_api() as api:
        desk = Desk(lone_desk.file, api.url)
        assert desk.send("posts", "--at", "1700000000")[0] == 0
        code, _ = desk.send("posts", "--scheme", "github", "--secret", "another-secret-0123")
        assert code == 0
        api.statuses.append(0)
        assert desk.send("posts")[0] == 3, "the connection was closed without an answer"
        code, out, _ = desk.run(
            "webhooks", "send", "posts", "-", "--url", f"{api.url}/", stdin=BODY
        )
        assert (code, out) == (0, '202 Accepted\n{"receipt": "r-1"}\n')
        monkeypatch.setenv("PORT", str(api.port))
        assert desk.run("webhooks", "send", "posts", desk.file)[0] == 0, "our own API, as set up"
    by_stripe, by_github, _, by_stdin, _ = api.arrivals
    assert {arrival.path for arrival in api.arrivals} == {"/v1/webhooks/posts"}
    assert by_stripe.headers["content-type"] == "application/json"
    request = offered(by_stripe.headers, by_stripe.body)
    assert isinstance(check(Scheme.STRIPE, request, secret, now_s=1_700_000_000), Verified)
    request = offered(by_github.headers, by_github.body)
    assert isinstance(check(Scheme.GITHUB, request, "another-secret-0123"), Verified)
    assert by_stdin.body == BODY


def test_with_scheme_and_secret_no_database_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A partner's engineer has neither our settings nor our database."""
    nowhere = free_port()
    file = seated(
        monkeypatch,
        tmp_path,
        f"mysql://nobody@127.0.0.1:{nowhere}/none",
        f"redis://127.0.0.1:{nowhere}/0",
    )
    with stub_api() as api:
        desk = Desk(file, api.url)
        code, _ = desk.send("any", "--scheme", "standard", "--secret", PRIVATE)
        assert code == 0
    request = offered(api.arrivals[0].headers, api.arrivals[0].body)
    assert isinstance(check(Scheme.STANDARD, request, PUBLIC, now_s=time.time()), Verified)
