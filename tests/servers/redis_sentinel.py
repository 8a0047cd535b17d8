"""A private Redis with a replica, watched by three sentinels, all on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import redis

from tests.polling import eventually
from tests.ports import LOOPBACK
from tests.servers.private import UsedByWith
from tests.servers.redis_server import PrivateRedis

__all__ = ["SERVICE", "PrivateSentinels"]

SERVICE = "farmlokal"
_SENTINELS = 3
_QUORUM = 2
_DOWN_AFTER_MS = 1_000
_DEADLINE_S = 30.0


class _SentinelProcess(PrivateRedis):
    """One sentinel. It keeps what it learns in its configuration, so it is written once."""

    _name = "sentinel"

    def __init__(self, program: Path, primary: PrivateRedis) -> None:
        super().__init__(program)
        self._primary = primary

    def _command(self) -> list[str | Path]:
        configuration = self.directory / f"sentinel-{self.port}.conf"
        if not configuration.exists():
            configuration.write_text(
                f"port {self.port}\nbind {LOOPBACK}\ndir {self.directory}\n"
                f"sentinel monitor {SERVICE} {LOOPBACK} {self._primary.port} {_QUORUM}\n"
                f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {SERVICE} 3000\n"
            )
        return [self._program, configuration, "--sentinel"]

    def knows(self) -> tuple[int, int, str]:
        """How many replicas and other sentinels it sees, and the primary's flags."""
        with self.client() as client:
            state = cast("dict[str, Any]", client.sentinel_master(SERVICE))
        return state["num-slaves"], state["num-other-sentinels"], state["flags"]

    def primary_port(self) -> int:
        """Where it says that the primary is."""
        with self.client() as client:
            place = client.sentinel_get_master_addr_by_name(SERVICE)
        return int(cast("tuple[str, int]", place)[1])


class PrivateSentinels(UsedByWith):
    """Used as ``PrivateRedis`` is, by ``with``. ``kill`` and ``freeze`` strike the primary of now.

    A primary that is away is replaced about a second later.
    """

    def __init__(
        self, program: Path, *, appendonly: bool = False, maxmemory_policy: str = "noeviction"
    ) -> None:
        more = {"repl-diskless-sync-delay": "0"}
        self.servers = [
            PrivateRedis(
                program, appendonly=appendonly, maxmemory_policy=maxmemory_policy, more=more
            )
            for _ in range(2)
        ]
        self.sentinels = [_SentinelProcess(program, self.servers[0]) for _ in range(_SENTINELS)]

    @property
    def url(self) -> str:
        places = ",".join(f"{LOOPBACK}:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{places}/{SERVICE}"

    @property
    def primary(self) -> PrivateRedis:
        """Who the first sentinel that answers says is the primary."""
        standing = next(one for one in self.sentinels if one.alive and not one.frozen)
        port = standing.primary_port()
        return next(server for server in self.servers if server.port == port)

    def start(self) -> None:
        """Start it all; returns once every sentinel knows the replica and the other sentinels."""
        for server in self.servers:
            server.start()
        with self.servers[1].client() as client:
            client.replicaof(LOOPBACK, self.servers[0].port)
        for sentinel in self.sentinels:
            sentinel.start()
        self._settled()

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A synchronous client of the primary, for the test's own looks and changes."""
        with self.primary.client() as client:
            yield client

    def flush(self) -> None:
        """Empty it."""
        self.primary.flush()

    def kill(self) -> PrivateRedis:
        """SIGKILL the primary; returns it."""
        primary = self.primary
        primary.kill()
        return primary

    def freeze(self) -> PrivateRedis:
        """SIGSTOP the primary; returns it."""
        primary = self.primary
        primary.freeze()
        return primary

    def await_failover(self, away: PrivateRedis) -> None:
        """Return once every sentinel names another primary than this."""
        for sentinel in self.sentinels:
            eventually(
                lambda one=sentinel: one.primary_port() != away.port,  # type: ignore[misc]
                deadline_s=_DEADLINE_S,
                interval_s=0.02,
            )

    def revive(self) -> None:
        """Undo whatever a test did to it; who is the primary stays as it has become."""
        for one in (*self.servers, *self.sentinels):
            one.revive()
        self._settled()

    def close(self) -> None:
        """End it and delete its data. May be called twice."""
        # The sentinels first: they would make a replica of what is ending.
        for one in (*self.sentinels, *self.servers):
            one.close()

    def _settled(self) -> None:
        # A server that is made a replica drops its clients.
        eventually(self._whole, deadline_s=_DEADLINE_S, interval_s=0.05, retry_on=redis.RedisError)

    def _whole(self) -> bool:
        seen = {sentinel.knows() for sentinel in self.sentinels}
        if seen != {(1, _SENTINELS - 1, "master")}:
            return False
        primary = self.primary
        (other,) = (server for server in self.servers if server is not primary)
        with other.client() as client:
            link = client.info("replication")
        return link.get("master_link_status") == "up" and link["master_port"] == primary.port
