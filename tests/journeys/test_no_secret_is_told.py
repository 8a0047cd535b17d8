"""One of everything, failures included, with secrets that can be recognised: nobody tells them.

Looked through are all answers, all lines of all processes, what operators' commands print, and all
that stands in the database and in Redis.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordination.sealing import Sealer
from models import api_keys
from models.partners import partners
from models.webhooks.schemes import Scheme
from tests.databases import migrated, settings_for
from tests.echoing_partner import EchoingPartner
from tests.leaks import leaks_in
from tests.oauth_provider import CLIENT_ID, CLIENT_SECRET, OAuthServer
from tests.polling import eventually
from tests.processes import ApiProcess, SchedulerProcess, WorkerProcess, environment_for
from tests.servers import PrivateMariaDB, PrivateRedis, SqlServer
from tests.webhook_senders import Sender

REPOSITORY = Path(__file__).resolve().parents[2]
DATABASE_PASSWORD = "Database+Pass/word%7-" + secrets.token_hex(4)
REDIS_PASSWORD = "RedisPassword-" + secrets.token_hex(4)
SEALING_SECRET = "Sealing-Secret-of-more-than-32-characters-" + secrets.token_hex(4)
CURSOR_SECRET = "Cursor-Secret-of-more-than-32-characters-" + secrets.token_hex(4)
UNKNOWN_KEY = f"fl_{'Unknown' * 6}"
USER = "shop"
SLACK_S = 30.0


class Story:
    """The servers, the processes, and what was said so far."""

    def __init__(
        self, home: Path, mariadb: PrivateMariaDB, redis: PrivateRedis, partner: EchoingPartner
    ) -> None:
        self.home = home
        self.mariadb = mariadb
        self.redis = redis
        self.partner = partner
        self.provider = OAuthServer()
        self.database = f"farmlokal_{secrets.token_hex(6)}"
        self.said: dict[str, bytes] = {}
        self.statuses: set[int] = set()
        self.keys: dict[str, str] = {}
        self.senders: dict[str, Sender] = {}
        self.newer: dict[str, str] = {}
        """The secrets that the senders do not use yet."""

    @property
    def secrets(self) -> dict[str, str]:
        """All that nobody may tell, by names for people."""
        return {
            "database password": DATABASE_PASSWORD,
            "Redis password": REDIS_PASSWORD,
            "SEALING_SECRET": SEALING_SECRET,
            "CURSOR_SECRET": CURSOR_SECRET,
            "OAuth client secret": CLIENT_SECRET,
            "an unknown key": UNKNOWN_KEY,
            **{f"key {name}": key for name, key in self.keys.items()},
            **{
                f"webhook secret {name}": s.secret.removeprefix("whsec_")
                for name, s in self.senders.items()
            },
            **{
                f"newer webhook secret {name}": secret.removeprefix("whsec_")
                for name, secret in self.newer.items()
            },
            **{f"token {n}": token for n, token in enumerate(self.provider.issued)},
        }

    @property
    def environment(self) -> dict[str, str]:
        account = SqlServer(self.mariadb.host, self.mariadb.port, USER, DATABASE_PASSWORD)
        provider = {
            "token_url": self.provider.url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        supply = {
            "base_url": self.partner.url,
            "provider": "farms",
            "attempt_ms": 500,
            "deadline_ms": 900,
        }
        return environment_for(
            self.home,
            database_url=account.url(self.database),
            redis_url=self.redis.url,
            LOG_LEVEL="debug",
            SEALING_SECRET=SEALING_SECRET,
            CURSOR_SECRET=CURSOR_SECRET,
            OAUTH_PROVIDERS=json.dumps({"farms": provider}),
            PARTNER_SERVICES=json.dumps({"supply": supply}),
            PARTNER_RETRY_DELAYS_MS="20",
            SUPPLY_SERVICE="supply",
            SUPPLY_FRESH_S="1",
            SUPPLY_REFRESH_LEASE_MS="1000",
            SWEEP_INTERVAL_S="1",
            DATABASE_CONNECT_TIMEOUT_MS="500",
            DATABASE_ACQUIRE_TIMEOUT_MS="500",
        )

    async def furnish(self) -> None:
        """Tables, an account that may use them, keys and partners."""
        self.mariadb.create_database(self.database)
        who = f"'{USER}'@'{self.mariadb.host}'"
        self.mariadb.execute(f"CREATE OR REPLACE USER {who} IDENTIFIED BY '{DATABASE_PASSWORD}'")
        self.mariadb.execute(f"GRANT ALL ON `{self.database}`.* TO {who}")
        sealer = Sealer([SEALING_SECRET])
        async with migrated(settings_for(self.home, self.mariadb.url(self.database))) as db:
            for name, scopes in {"all": api_keys.SCOPES, "ops": ["ops:read"], "late": []}.items():
                chosen = scopes or ["catalog:write"]
                self.keys[name], _ = await api_keys.create(db, name, chosen)
            for scheme in Scheme:
                added, secret = await partners.add(
                    db, sealer, name=scheme.value, scheme=scheme, farms=None
                )
                self.senders[scheme.value] = Sender(scheme.value, scheme, secret)
                _, newer = await partners.rotate(db, sealer, added.name, overlap_s=600, secret=None)
                self.newer[scheme.value] = newer

    def ask(
        self, api: ApiProcess, method: str, path: str, *, key: str | None = "all", **more: Any
    ) -> httpx.Response:
        """Ask, and keep what was answered, headers too."""
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers.setdefault("authorization", f"Bearer {self.keys.get(key, key)}")
        with httpx.Client(base_url=api.url, timeout=20, trust_env=False) as client:
            answer = client.request(method, path, headers=headers, **more)
        place = f"answer {len(self.said)} {method} {path.partition('?')[0]} {answer.status_code}"
        self.said[place] = repr(answer.headers.raw).encode() + answer.content
        self.statuses.add(answer.status_code)
        return answer

    def command(self, *arguments: str, **environment: str) -> None:
        """Run `farmlokal` as an operator does, and keep what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", "from ops.cli.app import main; main()", *arguments],
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                "PYTHONPATH": str(REPOSITORY),
                **self.environment,
                **environment,
            },
            cwd=self.home,
            capture_output=True,
            timeout=60,
            check=False,
        )
        place = f"command {len(self.said)} {' '.join(arguments)} -> {done.returncode}"
        self.said[place] = done.stdout + done.stderr

    def table_gone(self, table: str, *, back: bool = False) -> None:
        """Take a table away, or give it back."""
        names = (f"{table}_gone", table) if back else (table, f"{table}_gone")
        self.mariadb.execute(f"RENAME TABLE {names[0]} TO {names[1]}", database=self.database)

    def keep_what_is_stored(self) -> None:
        """All rows of all tables, and all keys of Redis."""
        tables = self.mariadb.rows("SHOW TABLES", database=self.database)
        for table in (str(next(iter(row.values()))) for row in tables):
            rows = self.mariadb.rows(f"SELECT * FROM `{table}`", database=self.database)
            self.said[f"table {table}"] = b"\n".join(
                value if isinstance(value, bytes) else str(value).encode()
                for row in rows
                for value in row.values()
            )
        with self.redis.client() as client:
            for name in client.scan_iter():
                # Whatever its type.
                self.said[f"Redis {name!r}"] = client.dump(name) or b""

    def keep_what_was_logged(self) -> None:
        """All files of all processes; metrics too."""
        for path in self.home.rglob("*"):
            if path.is_file():
                self.said[str(path.relative_to(self.home))] = path.read_bytes()


@pytest.fixture
def story(
    breakable_mariadb: PrivateMariaDB, redis_program: Path, tmp_path: Path
) -> Iterator[Story]:
    with (
        PrivateRedis(redis_program, password=REDIS_PASSWORD) as redis,
        EchoingPartner() as partner,
    ):
        told = Story(tmp_path, breakable_mariadb, redis, partner)
        try:
            with told.provider:
                yield told
        finally:
            breakable_mariadb.revive()
            breakable_mariadb.drop_database(told.database)
            breakable_mariadb.execute(f"DROP USER IF EXISTS '{USER}'@'{breakable_mariadb.host}'")


@pytest.mark.timeout(180)
def test_nothing_tells_a_secret(story: Story) -> None:
    asyncio.run(story.furnish())
    environment = story.environment
    with (
        ApiProcess(environment) as api,
        WorkerProcess(environment) as worker,
        SchedulerProcess(environment) as scheduler,
    ):
        product = sell(story, api)
        misuse(story, api)
        receive(story, api)
        call_partner(story, api, product)
        operate(story)
        take_tables_away(story, api, product)
        take_servers_away(story, api, product)
        story.keep_what_is_stored()
        for process in (api, worker, scheduler):
            process.terminate()
    start_wrongly(story)
    story.keep_what_was_logged()

    # It is no proof unless all of it happened.
    assert {200, 201, 202, 204, 304, 400, 401, 403, 404, 412, 422, 500, 503} <= story.statuses
    logged = b"".join(text for place, text in story.said.items() if "processes" in place)
    for expected in (b'"stack"', b"Unexpected error", b"Request completed", b'"refused"'):
        assert expected in logged
    assert story.provider.issued
    assert any("Bearer token-" in shown for shown in story.partner.shown)
    assert len(story.said) > 80
    leaks = leaks_in(story.said, story.secrets)
    assert not leaks, "\n".join(leaks)


def sell(story: Story, api: ApiProcess) -> dict[str, Any]:
    """The catalogue, by someone who may; returns the product that stays."""
    farm = story.ask(
        api,
        "POST",
        "/v1/farms",
        json={"name": "Hill", "city": "Ithaca", "state": "NY", "external_id": "hill"},
    ).json()
    story.ask(api, "POST", "/v1/categories", json={"slug": "eggs", "name": "Eggs"})
    new = {"name": "Egg", "category": "eggs", "farm": farm["id"], "price": "1.00"}
    kept, dropped = (
        story.ask(
            api,
            "POST",
            "/v1/products",
            json={**new, "sku": sku},
            headers={"idempotency-key": sku},
        ).json()
        for sku in ("EGG-1", "EGG-2")
    )
    path = f"/v1/products/{kept['id']}"
    story.ask(api, "PATCH", path, json={"stock": 5})
    story.ask(api, "PATCH", path, json={"stock": 6}, headers={"if-match": '"old"'})
    story.ask(api, "DELETE", f"/v1/products/{dropped['id']}")
    page = story.ask(api, "GET", "/v1/products?limit=1&category=eggs")
    etag = page.headers["etag"]
    story.ask(api, "GET", "/v1/products?limit=1&category=eggs", headers={"if-none-match": etag})
    story.ask(api, "GET", "/v1/products/changes")
    text = b"external_id,name,city,state\ndale,Dale,Ithaca,NY\nnameless,,Ithaca,NY\n"
    job = story.ask(
        api,
        "POST",
        "/v1/imports?into=farms&policy=valid",
        content=text,
        headers={"content-type": "text/csv"},
    ).json()
    eventually(
        lambda: story.ask(api, "GET", f"/v1/imports/{job['id']}").json()["state"] == "completed",
        deadline_s=SLACK_S,
        interval_s=0.3,
    )
    story.ask(api, "GET", f"/v1/imports/{job['id']}/errors?format=csv")
    for path in ("/health/ready?strict=1", "/metrics", "/openapi.json", "/docs"):
        story.ask(api, "GET", path, key=None)
    found: dict[str, Any] = kept
    return found


def misuse(story: Story, api: ApiProcess) -> None:
    """Keys where they do not belong, and what is no request of ours."""
    key = story.keys["all"]
    for wrong in (UNKNOWN_KEY, f"{key}x", key[:-1]):
        story.ask(api, "POST", "/v1/farms", key=wrong, json={})
    for header in (f"Basic {key}", key, f"Token {key}"):
        story.ask(api, "POST", "/v1/farms", key=None, headers={"authorization": header}, json={})
    story.ask(api, "POST", "/v1/webhooks/events/replay", key="ops", json={"receipts": []})
    for query in (f"access_token={key}", f"q={key}&nope=1", f"cursor={key}", f"limit={key}"):
        story.ask(api, "GET", f"/v1/products?{query}")
    story.ask(api, "POST", "/v1/farms", json={"name": 1, "city": [], "api_key": 1})
    story.ask(api, "POST", "/v1/farms", content=b"{", headers={"content-type": "application/json"})
    story.ask(api, "GET", "/v1/nowhere", headers={"cookie": f"session={key}", "x-api-key": key})
    story.ask(api, "GET", "/v1/farms", headers={"x-request-id": f"{key} {key}"})


def receive(story: Story, api: ApiProcess) -> None:
    """Webhooks of each scheme: good, repeated, wrongly signed, and with the wrong secret."""
    for sender in story.senders.values():
        body = json.dumps(
            {
                "type": "inventory.updated",
                "timestamp": "2026-03-01T00:00:00Z",
                "data": {"farm": "hill", "sku": "EGG-1", "stock": 3},
            }
        ).encode()
        good = sender.headers(body)
        answer = story.ask(api, "POST", sender.path, key=None, content=body, headers=good)
        assert answer.status_code == 202, answer.text
        story.ask(api, "POST", sender.path, key=None, content=body, headers=good)
        story.ask(api, "POST", sender.path, key=None, content=body + b" ", headers=good)
        stranger = Sender(sender.name, sender.scheme, "whsec_" + "AAAA" * 8)
        wrong = {**stranger.headers(body), "authorization": f"Bearer {sender.secret}"}
        story.ask(api, "POST", sender.path, key=None, content=body, headers=wrong)
        receipt = f"/v1/webhooks/events/{answer.json()['receipt']}"
        story.ask(api, "GET", receipt, key="ops")
        story.ask(api, "GET", receipt, key=None, headers=sender.headers(receipt.encode()))
    story.ask(api, "GET", "/v1/webhooks/events", key="ops")


def call_partner(story: Story, api: ApiProcess, product: dict[str, Any]) -> None:
    """Availability: got, refused with the token repeated, broken, and without any token."""
    path = f"/v1/products/{product['id']}/availability"

    def asked(times: int) -> bool:
        story.ask(api, "GET", path)
        return len(story.partner.shown) >= times

    for status in (200, 401, 403, 500):
        story.partner.status = status
        times = len(story.partner.shown) + 1
        eventually(lambda: asked(times), deadline_s=SLACK_S, interval_s=0.3)  # noqa: B023
    # The provider repeats what it was shown, too.
    story.provider.status = 401
    story.provider.body = json.dumps(
        {"error": "invalid_client", "error_description": f"{CLIENT_SECRET} is wrong"}
    ).encode()
    story.partner.status = 401
    times = len(story.provider.asked) + 1
    eventually(
        lambda: (story.ask(api, "GET", path), len(story.provider.asked) >= times)[1],
        deadline_s=SLACK_S,
        interval_s=0.3,
    )


def operate(story: Story) -> None:
    """What operators look at."""
    for command in (
        "doctor",
        "keys list",
        "partners list --json",
        "webhooks refused standard --json",
        "webhooks explain standard",
        "webhooks explain hmac --json",
        "breakers list",
        "scheduler status --json",
    ):
        story.command(*command.split())


def take_tables_away(story: Story, api: ApiProcess, product: dict[str, Any]) -> None:
    """Each makes what needs it fail in a way that nobody foresaw."""
    sender = next(iter(story.senders.values()))
    path = f"/v1/products/{product['id']}"
    for table in ("api_keys", "farms", "outbox", "webhook_partners", "webhook_events", "imports"):
        story.table_gone(table)
        try:
            story.ask(api, "GET", "/v1/farms", key=f"fl_{table.ljust(43, 'x')}")
            story.ask(api, "GET", "/v1/farms", key="late")
            story.ask(api, "POST", "/v1/farms", json={"name": "F", "city": "C", "state": "NY"})
            story.ask(api, "PATCH", path, json={"stock": 8})
            body = b'{"type": "unheard.of"}'
            headers = sender.headers(body)
            story.ask(api, "POST", sender.path, key=None, content=body, headers=headers)
            story.ask(api, "GET", "/v1/imports")
            story.ask(api, "GET", "/metrics", key=None)
        finally:
            story.table_gone(table, back=True)


def take_servers_away(story: Story, api: ApiProcess, product: dict[str, Any]) -> None:
    """The database, then Redis: killed, and back."""
    for server in (story.mariadb, story.redis):
        server.kill()
        for method, path in (
            ("GET", "/v1/farms"),
            ("POST", "/v1/farms"),
            ("GET", f"/v1/products/{product['id']}"),
            ("GET", "/health/ready"),
            ("GET", "/health/ready?strict=1"),
            ("GET", "/metrics"),
        ):
            story.ask(api, method, path, key=UNKNOWN_KEY if method == "POST" else "all")
        story.command("doctor")
        server.revive()
        eventually(
            lambda: story.ask(api, "GET", "/health/ready?strict=1", key=None).status_code == 200,
            deadline_s=SLACK_S,
            interval_s=0.2,
        )


def start_wrongly(story: Story) -> None:
    """Settings that cannot be used are named, never repeated."""
    good = story.environment
    for name, value in {
        "DATABASE_URL": good["DATABASE_URL"].replace("mysql:", "postgres:"),
        "REDIS_URL": good["REDIS_URL"].replace("redis:", "http:"),
        "SEALING_SECRET": SEALING_SECRET[:31],
        "CURSOR_SECRET": f"{CURSOR_SECRET},short",
        "OAUTH_PROVIDERS": good["OAUTH_PROVIDERS"][:-2],
        "PARTNER_SERVICES": f'{{"supply": {{"base_url": "{CLIENT_SECRET}"}}}}',
    }.items():
        process = ApiProcess({**good, name: value})
        process.launch()
        assert process.child.wait(SLACK_S) == 2
        process.close()
    # A password that is refused, which the database says too.
    story.command("doctor", DATABASE_URL=good["DATABASE_URL"].replace("@", "x@"))
