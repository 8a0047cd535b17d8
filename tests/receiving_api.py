"""One API process that takes in webhooks, partners of every scheme, and looks at what it stored."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from models.webhooks.schemes import Scheme
from tests.problem_answers import assert_problem
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer
from tests.webhook_senders import Sender, add_senders

__all__ = ["ReceivingApi", "accepted", "receiving_api", "refused", "repeated"]

_SENDERS = (
    *(Sender(scheme.value, scheme) for scheme in Scheme),
    Sender("retired", is_active=False),
    Sender("slow", rate_limit=3),
)


@dataclass(frozen=True, slots=True)
class ReceivingApi:
    """``senders``: one named like each scheme, ``retired`` (inactive), ``slow`` (3 a minute)."""

    api: RunningApi
    senders: dict[str, Sender]
    server: SqlServer
    redis: PrivateRedis

    def post(
        self,
        sender: Sender,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        address: str | None = None,
        path: str | None = None,
    ) -> httpx.Response:
        """Post, properly signed by default, from an address that nobody else has by default."""
        fields = sender.headers(body) if headers is None else headers
        own = address or f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"
        with self.api.client() as client:
            return client.post(
                path or sender.path,
                content=body,
                headers=[
                    (name.encode(), value.encode("latin-1"))
                    for name, value in {"x-forwarded-for": own, **fields}.items()
                ],
            )

    def row(self, receipt: str) -> dict[str, Any]:
        """The stored event."""
        sql = "SELECT * FROM webhook_events WHERE receipt = UNHEX(%s)"
        (row,) = self.server.rows(sql, (receipt.replace("-", ""),), database=self.api.database)
        return row

    def count(self) -> int:
        """How many events are stored."""
        sql = "SELECT COUNT(*) AS n FROM webhook_events"
        return int(self.server.rows(sql, database=self.api.database)[0]["n"])

    def metric(self, sample: str) -> float:
        """The sum of the samples that begin like this."""
        with self.api.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample))


@contextmanager
def receiving_api(
    mariadb: SqlServer, redis: PrivateRedis, home: Path, **environment: str
) -> Iterator[ReceivingApi]:
    """Start it, believing ``X-Forwarded-For``, on a database of its own."""
    environment = {"TRUSTED_PROXIES": "127.0.0.0/8", **environment}
    with running_api(mariadb, redis, home, **environment) as api:
        senders = asyncio.run(add_senders(home, mariadb.url(api.database), _SENDERS))
        yield ReceivingApi(api, senders, mariadb, redis)


def accepted(answer: httpx.Response) -> str:
    """Assert that it was stored just now; returns the receipt."""
    assert answer.status_code == 202, answer.text
    receipt: str = answer.json()["receipt"]
    assert answer.json() == {"receipt": receipt, "state": "pending", "duplicate": False}
    return receipt


def repeated(answer: httpx.Response) -> str:
    """Assert that it was known; returns the receipt."""
    assert answer.status_code == 200, answer.text
    receipt: str = answer.json()["receipt"]
    assert answer.json() == {"receipt": receipt, "duplicate": True}
    return receipt


def refused(
    answer: httpx.Response, expected: int, kind: str, place: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Assert that it is a complete problem; returns it."""
    return assert_problem(
        answer.status_code,
        {name.lower(): value for name, value in answer.headers.items()},
        answer.content,
        expected=expected,
        kind=kind,
        place=place,
    )
