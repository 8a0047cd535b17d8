"""A private Redis cluster: three primaries, and replicas if asked for, all on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.retry import Retry

from tests.polling import eventually
from tests.ports import LOOPBACK, free_port
from tests.servers.private import UsedByWith
from tests.servers.redis_server import PrivateRedis

__all__ = ["PrivateRedisCluster"]

_PRIMARIES = 3
_SLOTS = 16_384
_AGREED_DEADLINE_S = 30.0
_CALL_TIMEOUT_S = 2.0


class _Node(PrivateRedis):
    """One node. Its bus has a port of its own choice: 10,000 more may be a client's."""

    _name = "redis-node"

    def start(self) -> None:
        self._options["cluster-port"] = str(free_port())
        super().start()

    @property
    def bus_port(self) -> str:
        return self._options["cluster-port"]

    def linked(self) -> bool:
        """Whether it replicates its primary."""
        return "master_link_status:up" in self.told("INFO", "replication")

    def ask(self, *command: str) -> Any:
        """The reply to one command, which this node itself is to carry out."""
        with self.client() as client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def told(self, *command: str) -> set[str]:
        """The lines of a reply that is a text of facts."""
        with self.client() as client:
            # What the client makes of such a text differs between its versions.
            client.response_callbacks.clear()
            reply: bytes = client.execute_command(*command)  # type: ignore[no-untyped-call]
        return set(reply.decode().split())


class PrivateRedisCluster(UsedByWith):
    """Used as ``PrivateRedis`` is, by ``with``. What names no node is done to all of them.

    A node that is away takes its own slots with it, no others, unless a replica takes its place.
    """

    def __init__(
        self,
        program: Path,
        *,
        appendonly: bool = False,
        maxmemory_policy: str = "noeviction",
        replicas: bool = False,
        node_timeout_ms: int = 1_000,
    ) -> None:
        options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(node_timeout_ms),
            "cluster-require-full-coverage": "no",
            # A replica that had to wait for data would never take the place of its primary.
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
        }
        self.nodes = [
            _Node(program, appendonly=appendonly, maxmemory_policy=maxmemory_policy, more=options)
            for _ in range(_PRIMARIES * (2 if replicas else 1))
        ]

    @property
    def url(self) -> str:
        return self.url_by([node.port for node in self.nodes])

    @staticmethod
    def url_by(ports: Sequence[int]) -> str:
        """The URL that names the nodes on these ports, or what stands in front of them."""
        return "redis+cluster://" + ",".join(f"{LOOPBACK}:{port}" for port in ports)

    @property
    def port(self) -> int:
        """There is none: what asks for it, to stand in front of it, is for one server."""
        pytest.skip("stands on one Redis server")

    @property
    def alive(self) -> bool:
        return all(node.alive for node in self.nodes)

    def start(self) -> None:
        """Start all nodes and have them agree on who serves which slots."""
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            if number < _PRIMARIES:
                first, last = (_SLOTS * at // _PRIMARIES for at in (number, number + 1))
                node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last - 1))
        first_node = self.nodes[0]
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", LOOPBACK, str(first_node.port), first_node.bus_port)
        self._agreed()
        for replica, primary in zip(self.nodes[_PRIMARIES:], self.nodes, strict=False):
            replica.ask("CLUSTER", "REPLICATE", primary.ask("CLUSTER", "MYID").decode())
        for replica in self.nodes[_PRIMARIES:]:
            self._until(partial(_Node.linked, replica))
            # Its link is up before its primary has heard of it, and would fail over to it.
            self._until(partial(self._is_known, replica))

    def _is_known(self, replica: _Node) -> bool:
        own = replica.ask("CLUSTER", "MYID").decode()
        primary = self.nodes[self.nodes.index(replica) - _PRIMARIES]
        known = primary.ask("CLUSTER", "REPLICAS", primary.ask("CLUSTER", "MYID").decode())
        return any(own in str(one) for one in known)

    def node_of(self, key: str) -> int:
        """The number of the node that serves this key, as the nodes see it now."""
        slot = key_slot(key.encode())
        standing = next(node for node in self.nodes if node.alive and not node.frozen)
        for first, last, primary, *_ in standing.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(n for n, node in enumerate(self.nodes) if node.port == primary[1])
        raise AssertionError(f"nobody serves {key}")

    @contextlib.contextmanager
    def client(self, *, timeout_s: float = _CALL_TIMEOUT_S) -> Iterator[redis.Redis]:
        """A synchronous client for the test's own looks and changes; values are bytes."""
        seeds = [ClusterNode(LOOPBACK, node.port) for node in self.nodes]  # type: ignore[no-untyped-call]
        client: Any = RedisCluster(
            startup_nodes=seeds,
            socket_timeout=timeout_s,
            socket_connect_timeout=_CALL_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        with contextlib.ExitStack() as stack:
            stack.callback(client.close)
            for seed in seeds:
                if seed.redis_connection is not None:  # which it forgets
                    stack.callback(seed.redis_connection.close)
            yield client

    def flush(self) -> None:
        """Empty it."""
        for node in self.nodes:
            if "role:master" in node.told("INFO", "replication"):
                node.flush()

    def stop(self, node: int | None = None) -> None:
        """Shut it down in order."""
        self._each(node, _Node.stop)

    def kill(self, node: int | None = None) -> None:
        """SIGKILL."""
        self._each(node, _Node.kill)

    def freeze(self, node: int | None = None) -> None:
        """SIGSTOP: the ports accept connections, nobody answers."""
        self._each(node, _Node.freeze)

    def resume(self, node: int | None = None) -> None:
        """Let what is frozen run on."""
        self._each(node, _Node.resume)

    def restart(self, node: int | None = None) -> None:
        """Start again on the same ports, with the data and the slots; returns once they agree."""
        self._each(node, _Node.restart)
        self._agreed()

    def revive(self) -> None:
        """Undo whatever a test did to it."""
        for node in self.nodes:
            node.revive()
        self._agreed()

    def close(self) -> None:
        """End it and delete its data. May be called twice."""
        for node in self.nodes:
            node.close()

    def _each(self, number: int | None, act: Callable[[_Node], None]) -> None:
        for node in self.nodes if number is None else [self.nodes[number]]:
            act(node)

    def _agreed(self) -> None:
        for node in self.nodes:
            self._until(partial(self._content, node))

    def _content(self, node: _Node) -> bool:
        facts = node.told("CLUSTER", "INFO")
        return {
            "cluster_state:ok",
            f"cluster_slots_ok:{_SLOTS}",
            f"cluster_known_nodes:{len(self.nodes)}",
        } <= facts

    @staticmethod
    def _until(true: Callable[[], bool]) -> None:
        eventually(true, deadline_s=_AGREED_DEADLINE_S, interval_s=0.02, retry_on=redis.RedisError)
