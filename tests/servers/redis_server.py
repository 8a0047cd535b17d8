"""A private Redis (or Valkey) server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.ports import LOOPBACK
from tests.servers.private import PrivateServer

__all__ = ["PrivateRedis"]

_CALL_TIMEOUT_S = 2.0


class PrivateRedis(PrivateServer):
    """Plain by default: in memory only, never evicting.

    With `appendonly` it is what the queue needs: the file is flushed before the answer, so what was
    acknowledged survives a kill. With `maxmemory_policy="volatile-lru"` it is what the cache needs.
    """

    _name = "redis"

    def __init__(
        self,
        program: Path,
        *,
        appendonly: bool = False,
        maxmemory_policy: str = "noeviction",
        maxmemory_mb: int = 64,
        password: str | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """``more``: further options of the server, which win over the ones given here."""
        super().__init__()
        self._program = program
        self._password = password
        self._options = {
            "appendonly": "yes" if appendonly else "no",
            # The default, everysec, may put a write off while the disk is busy: a drill's verdict
            # would hang on the disk.
            "appendfsync": "always",
            "maxmemory": f"{maxmemory_mb}mb",
            "maxmemory-policy": maxmemory_policy,
        }
        if password is not None:
            self._options["requirepass"] = password
        self._options.update(more or {})

    @property
    def url(self) -> str:
        credentials = f":{self._password}@" if self._password else ""
        return f"redis://{credentials}{LOOPBACK}:{self.port}/0"

    @contextlib.contextmanager
    def client(self, *, timeout_s: float = _CALL_TIMEOUT_S) -> Iterator[redis.Redis]:
        """A synchronous client for the test's own looks and changes; values are bytes."""
        client = redis.Redis.from_url(
            self.url,
            socket_timeout=timeout_s,
            socket_connect_timeout=_CALL_TIMEOUT_S,
            # The library's own retries would hide a frozen server for a minute.
            retry=Retry(NoBackoff(), 0),
        )
        with contextlib.closing(client):
            yield client

    def flush(self) -> None:
        """Empty it."""
        with self.client() as client:
            client.flushall()

    def _command(self) -> list[str | Path]:
        command: list[str | Path] = [self._program, "--port", str(self.port)]
        command += ["--bind", LOOPBACK, "--dir", self.directory, "--save", ""]
        for option, value in self._options.items():
            command += [f"--{option}", value]
        return command

    def _answers(self) -> bool:
        # The pid tells it from another session's server that won the race for the port.
        try:
            with self.client() as client:
                client.ping()
                return bool(client.info("server")["process_id"] == self._running().pid)
        except redis.RedisError:
            return False
