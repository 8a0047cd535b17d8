"""What one request costs: processor time of each process, statements, Redis commands, and the rate.

The rate is that of one web process beside its load generator, its database, its Redis and its
worker on this machine, so it is a lower bound. Processor time is the process's own, whatever else
runs, and is what the arithmetic goes by. Work that a request leaves to the worker is waited for and
counted with it.
"""

from __future__ import annotations

import json
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import psutil
import redis

from api.signatures import sign
from models.webhooks.schemes import Scheme
from ops.bench.load import measure
from ops.bench.stack import PARTNER, Stack

__all__ = ["Cost", "Serving"]

_DRAIN_WITHIN_S: Final = 120.0
_MOST_A_ROUND: Final = 20_000
"""Requests that a script has ready; after them it begins anew."""
_GROUPS: Final = ("web 1", "cache Redis", "queue Redis", "mariadb", "worker")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request of a kind; medians over the rounds."""

    name: str
    per_s: float
    """Of one web process, all it needs being on the same machine."""
    p99_ms: float
    cpu_ms: dict[str, float]
    """Processor time by process."""
    statements: float
    commands: float
    """Of the cache's Redis."""


class Serving:
    """Measures one kind after the other on a running stack of one web process."""

    def __init__(self, stack: Stack, home: Path, rounds: int, seconds: int) -> None:
        self._stack = stack
        self._home = home
        self._rounds = rounds
        self._seconds = seconds
        self._base = stack.bases[0]
        self._database = urlsplit(stack.database_url).path[1:]
        self._ids = self._shuffled_ids()
        self._products = self._some_products()

    def measure_all(self) -> list[Cost]:
        """Each kind, several rounds of it."""
        product = f"/v1/products/{next(self._ids)}"
        return [
            self._cost("list, hit", lambda: None, "/v1/products?limit=20"),
            self._cost("product, hit", lambda: None, product),
            self._cost("list, miss", self._new_lists),
            self._cost("product, miss", self._new_products),
            self._cost("product changed", self._changes, connections=8),
            self._cost("webhook", self._deliveries),
        ]

    def numbered_per_s(self, changes: int = 50_000) -> float:
        """How many changes the sequencer numbers in a second, of a backlog."""
        with self._stack.account.cursor(self._database) as cursor:
            inserted = cursor.execute(
                "INSERT INTO product_changes (product_id, farm_id, sku, kind, version, created_at)"
                " SELECT id, farm_id, sku, 'updated', 1, created_at FROM products LIMIT %s",
                (changes,),
            )
            waiting, began_at = inserted, time.monotonic()
            first = 0.0
            while waiting and time.monotonic() < began_at + _DRAIN_WITHIN_S:
                time.sleep(0.02)
                cursor.execute("SELECT COUNT(*) FROM product_changes WHERE seq IS NULL")
                row = cursor.fetchone()
                waiting = int(row[0]) if row else 0
                if not first and waiting < inserted:
                    first, begun_with = time.monotonic(), waiting
            if waiting:
                raise RuntimeError(f"{waiting} changes were not numbered in time")
        took_s = time.monotonic() - first
        return begun_with / took_s if first and took_s > 0 else 0.0

    def _cost(
        self,
        name: str,
        script: Callable[[], Path | None],
        path: str = "/",
        *,
        connections: int = 32,
    ) -> Cost:
        rates, tails = [], []
        spent: list[dict[str, float]] = []
        for _ in range(self._rounds):
            file = script()
            self._drain()
            before = self._read()
            run = measure(
                self._base + path, connections=connections, seconds=self._seconds, script=file
            )
            self._drain()
            after = self._read()
            answered = run.requests_per_s * self._seconds
            spent.append({key: (after[key] - before[key]) / answered for key in after})
            rates.append(run.requests_per_s)
            tails.append(run.p99_ms)
        middle = {key: statistics.median(one[key] for one in spent) for key in spent[0]}
        cpu_ms = {group: middle[group] * 1000 for group in _GROUPS}
        return Cost(
            name,
            statistics.median(rates),
            statistics.median(tails),
            cpu_ms,
            middle["statements"],
            middle["commands"],
        )

    def _drain(self) -> None:
        """Wait until the worker has nothing left of what the requests caused."""
        ends_at = time.monotonic() + _DRAIN_WITHIN_S
        while time.monotonic() < ends_at:
            text = httpx.get(f"{self._base}/metrics", timeout=10).text
            waiting = sum(
                float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.startswith(("queue_depth{", "outbox_pending ", "webhook_oldest_pending"))
            )
            if not waiting:
                return
            time.sleep(0.2)
        raise RuntimeError("the worker did not finish in time")

    def _read(self) -> dict[str, float]:
        found = {}
        for name, child in self._stack.children:
            if name in _GROUPS:
                leader = psutil.Process(child.pid)
                times = [
                    process.cpu_times() for process in (leader, *leader.children(recursive=True))
                ]
                found[name] = sum(each.user + each.system for each in times)
        with self._stack.account.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
            row = cursor.fetchone()
            found["statements"] = float(row[1]) if row else 0.0
        client = redis.Redis.from_url(self._stack.cache_url)
        info: Any = client.info("stats")
        client.close()
        found["commands"] = float(info["total_commands_processed"])
        return found

    def _shuffled_ids(self) -> Iterator[str]:
        """Of all products, each once, in no order."""
        with self._stack.account.cursor(self._database) as cursor:
            cursor.execute("SELECT LOWER(HEX(id)) FROM products ORDER BY RAND(1)")
            ids = [str(row[0]) for row in cursor.fetchall()]
        for each in ids:
            yield f"{each[:8]}-{each[8:12]}-{each[12:16]}-{each[16:20]}-{each[20:]}"

    def _some_products(self) -> list[dict[str, Any]]:
        page = httpx.get(f"{self._base}/v1/products?limit=100", timeout=10).raise_for_status()
        found: list[dict[str, Any]] = page.json()["data"]
        return found

    def _new_lists(self) -> Path:
        """Pages that no earlier request asked for, each along one index."""
        first = secrets.randbelow(10**9) + 10**6
        return self._script(
            f"local n = {first}",
            'n = n + 1; return wrk.format("GET",'
            ' "/v1/products?sort=price&order=desc&max_price=" .. n)',
        )

    def _new_products(self) -> Path:
        ids = [each for _, each in zip(range(_MOST_A_ROUND), self._ids, strict=False)]
        return self._script(
            f"local ids, n = {_lua(ids)}, 0",
            f'n = n % {len(ids)} + 1; return wrk.format("GET", "/v1/products/" .. ids[n])',
        )

    def _changes(self) -> Path:
        ids = [product["id"] for product in self._products]
        return self._script(
            f"local ids, n = {_lua(ids)}, {secrets.randbelow(10**6)}\n"
            f'local headers = {{["authorization"] = "Bearer {self._stack.key}",'
            ' ["content-type"] = "application/merge-patch+json"}',
            f'n = n + 1; return wrk.format("PATCH", "/v1/products/" .. ids[n % {len(ids)} + 1],'
            ' headers, \'{"stock": \' .. n .. "}")',
        )

    def _deliveries(self) -> Path:
        """Signed beforehand: wrk cannot."""
        now_s, signed = time.time(), []
        occurred_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
        for number in range(_MOST_A_ROUND):
            about = self._products[number % len(self._products)]
            data = {"farm": about["farm"]["id"], "sku": about["sku"], "stock": number}
            body = json.dumps(
                {"type": "inventory.updated", "occurred_at": occurred_at, "data": data}
            )
            headers = sign(
                Scheme.STANDARD,
                self._stack.secret,
                body.encode(),
                event_id=f"size_{secrets.token_hex(8)}",
                now_s=now_s,
            )
            fields = ", ".join(f'["{name}"] = "{value}"' for name, value in headers.items())
            fields += ', ["content-type"] = "application/json"'
            signed.append(f"{{{{{fields}}}, '{body}'}}")
        return self._script(
            f"local signed, n = {{{', '.join(signed)}}}, 0",
            f'n = n % {len(signed)} + 1; return wrk.format("POST", "/v1/webhooks/{PARTNER}",'
            " signed[n][1], signed[n][2])",
        )

    def _script(self, state: str, request: str) -> Path:
        file = self._home / "requests.lua"
        file.write_text(f"{state}\nrequest = function()\n  {request}\nend\n")
        return file


def _lua(texts: list[str]) -> str:
    return "{" + ", ".join(f'"{text}"' for text in texts) + "}"
