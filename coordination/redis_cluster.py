"""A cluster's nodes behind the one interface of a Redis client: each command to its key's node.

redis-py's own asyncio cluster client is not used, for what it does when a node is away. It learns
the map of slots on the path of requests, and one node that hangs meanwhile closes the connections
to all others; it does not learn at all when the caller's deadline ends a command, nor after a
pipeline; it raises an error that is no ``RedisError``. Here every node has an ordinary client with
the purpose's own timeouts and no retry, a pipelining one for what goes to several nodes at once,
and the map is learnt beside the requests.

A command is sent once. Redirections inside the known set of primaries are followed, once. A
redirection to a server that was none of the primaries means that one was replaced: the command
fails as if the server were away, and ``replaced`` grows, for replication is asynchronous and the
new primary may lack writes that the old one acknowledged. See docs/decisions/0008.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import redis.asyncio as aioredis
from redis.asyncio.client import Pipeline
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, ResponseError
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as Unanswered

from coordination.cluster_map import Ranges, SlotMap, key_of, ranges_of
from coordination.pipelining import PipeliningClient
from coordination.redis_urls import Address

__all__ = ["ClusterClient"]

_log = logging.getLogger(__name__)
_LEARN_EVERY_S: Final = 0.25
_ASKED_AT_MOST: Final = 7
Argument = bytes | str | int
_REDIRECTIONS: Final[Mapping[str, type[AskError]]] = {"MOVED": MovedError, "ASK": AskError}


class ClusterClient(aioredis.Redis):
    """Opens nothing until its first command. ``aclose()`` may be called twice.

    Commands go by their first key; a script's keys must share a slot. ``ping`` asks every primary.
    """

    def __init__(
        self,
        seeds: Sequence[Address],
        open_node: Callable[[Address], aioredis.Redis],
        open_pipe: Callable[[Address], PipeliningClient],
    ) -> None:
        """How to open one node's client, and the one by which flushes go to it."""
        self._open_node = open_node
        self._open_pipe = open_pipe
        self._pipes: dict[Address, PipeliningClient] = {}
        self._seeds = tuple(seeds)
        self._closed = False
        self._nodes: dict[Address, aioredis.Redis] = {}
        self._map = SlotMap()
        self._learning: asyncio.Task[None] | None = None
        self._learnt_at = float("-inf")
        self._leaving: set[asyncio.Task[Any]] = set()
        self.replaced = 0
        """How often a server was met as a primary that had been none."""
        # The base class wants a pool; a seed's serves, and nothing is ever asked of it directly.
        super().__init__(connection_pool=self._node(self._seeds[0]).connection_pool)

    @property
    def pools(self) -> list[aioredis.ConnectionPool]:
        """The pool of each node there is a client for."""
        return [node.connection_pool for node in self._nodes.values()]

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command to its key's node. Raises redis-py's errors."""
        if not self._map.primaries:
            await self._learn_first()
        if args[0] == "PING":
            return await self._pinged(args, options)
        address = self._owner(args)
        try:
            return await self._send(address, args, options)
        except (MovedError, AskError) as redirection:
            return await self._redirected(redirection, address, args, options)
        except ClusterDownError as error:
            self._learn_soon()
            raise _down() from error
        except (Disconnected, Unanswered, OSError, asyncio.CancelledError):
            # Cancelled is most often the caller's deadline, which ends before the library's own.
            self._learn_soon()
            raise

    def pipeline(self, transaction: bool = False, shard_hint: str | None = None) -> Pipeline:
        """Commands that go out together, in one flush per node. Not a transaction, ever."""
        if transaction:
            raise ValueError("a transaction cannot span a cluster's nodes")
        return _Flush(self)

    async def flush(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send all at once, each to its key's node; the raw replies in order, errors among them."""
        if not self._map.primaries:
            await self._learn_first()
        addresses = [self._owner(args) for args in commands]
        pipes = [self._pipe(address) for address in addresses]
        sent = [pipe.execute(*args) for pipe, args in zip(pipes, commands, strict=True)]
        try:
            replies = await asyncio.gather(*sent, return_exceptions=True)
        except asyncio.CancelledError:
            self._learn_soon()
            raise
        for index, reply in enumerate(replies):
            if isinstance(reply, BaseException):
                replies[index] = await self._mended(reply, addresses[index], commands[index])
        return replies

    async def _mended(self, error: BaseException, by: Address, args: Sequence[Argument]) -> object:
        """What takes the place of an error among a flush's replies."""
        if isinstance(error, asyncio.CancelledError):
            return Disconnected("the client is closed")
        if isinstance(error, ResponseError):
            sign, _, rest = str(error).partition(" ")
            if sign in _REDIRECTIONS:
                try:
                    return await self._redirected(_REDIRECTIONS[sign](rest), by, tuple(args), {})
                except (RedisError, OSError) as failed:
                    return failed
            if sign == "CLUSTERDOWN":
                self._learn_soon()
                return _down()
            return error
        self._learn_soon()
        return error

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Stop learning and drop all connections. Commands fail from then on."""
        self._closed = True
        tasks = [*self._leaving, *([self._learning] if self._learning else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(
            *(node.aclose() for node in self._nodes.values()),
            *(pipe.aclose() for pipe in self._pipes.values()),
        )

    async def _pinged(self, args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
        try:
            replies = await asyncio.gather(
                *(self._send(address, args, options) for address in self._map.primaries)
            )
        except (RedisError, OSError, asyncio.CancelledError):
            self._learn_soon()
            raise
        return all(replies)

    async def _redirected(
        self, where: AskError, by: Address, args: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Any:
        """Once, and only to a primary that is known. A moved slot's new owner is remembered."""
        # A node that does not know its own name leaves the host out.
        target = (where.host or by[0], int(where.port))
        self._learn_soon()
        if isinstance(where, MovedError):
            is_new = target not in self._map.primaries
            self._map.move(where.slot_id, target)
            if is_new:
                self.replaced += 1
                raise Disconnected("the primary of this key was replaced")
            return await self._send(target, args, options)
        if target not in self._map.primaries:
            raise Disconnected("this key is on its way to a server not known yet")
        asking = self._node(target).pipeline(transaction=False)
        asking.execute_command("ASKING")
        asking.execute_command(*args, **options)
        return (await asking.execute())[1]

    async def _send(
        self, address: Address, args: tuple[Any, ...], options: Mapping[str, Any]
    ) -> Any:
        node = self._node(address)
        return await node.execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def _owner(self, args: Sequence[Any]) -> Address:
        owner = self._map.owner(key_of(args))
        if owner is None:
            self._learn_soon()
            raise Disconnected("no node serves this key's slot")
        return owner

    def _node(self, address: Address) -> aioredis.Redis:
        if self._closed:
            # What was left running must not open connections that nobody closes.
            raise Disconnected("the client is closed")
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = self._open_node(address)
        return node

    def _pipe(self, address: Address) -> PipeliningClient:
        if self._closed:
            raise Disconnected("the client is closed")
        pipe = self._pipes.get(address)
        if pipe is None:
            pipe = self._pipes[address] = self._open_pipe(address)
        return pipe

    async def _learn_first(self) -> None:
        self._learn_soon(at_once=True)
        if self._learning is not None:
            await asyncio.shield(self._learning)
        if not self._map.primaries:
            raise Disconnected("no node of the cluster tells its slots")

    def _learn_soon(self, *, at_once: bool = False) -> None:
        if self._learning is not None and not self._learning.done():
            return
        now = time.monotonic()
        if at_once or now - self._learnt_at >= _LEARN_EVERY_S:
            self._learnt_at = now
            self._learning = asyncio.create_task(self._learn())

    async def _learn(self) -> None:
        """Adopt the map that most of those asked agree on, without waiting for who is silent."""
        servers = self._map.servers
        known = random.sample(servers, min(len(servers), _ASKED_AT_MOST))
        asked = list(dict.fromkeys([*known, *self._seeds]))
        questions = [asyncio.create_task(self._map_of(address)) for address in asked]
        told: Counter[Ranges] = Counter()
        try:
            for answer in asyncio.as_completed(questions):
                told.update(filter(None, [await answer]))
                if told and told.most_common(1)[0][1] > len(asked) // 2:
                    break
        finally:
            for question in questions:
                if not question.done():
                    question.cancel()
                    self._leave(question)
        if told:
            self._adopt(told.most_common(1)[0][0])

    async def _map_of(self, address: Address) -> Ranges | None:
        try:
            reply = await self._send(address, ("CLUSTER SLOTS",), {})
        except (RedisError, OSError):
            return None
        return ranges_of(reply, asked_of=address[0]) or None

    def _adopt(self, ranges: Ranges) -> None:
        before, self._map = self._map, SlotMap(ranges)
        if before.primaries and self._map.primaries - before.primaries:
            self.replaced += 1
            _log.warning("A cluster has another primary than before")
        known = {*self._map.servers, *self._seeds}
        self._drop({*self._nodes, *self._pipes} - known)

    def _drop(self, gone: Iterable[Address]) -> None:
        for address in gone:
            if address in self._nodes:
                self._leave(asyncio.create_task(self._nodes.pop(address).aclose()))
            if address in self._pipes:
                self._leave(asyncio.create_task(self._pipes.pop(address).aclose()))

    def _leave(self, task: asyncio.Task[Any]) -> None:
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


class _Flush(Pipeline):
    """Collects as redis-py's pipeline does, and leaves the sending to ``ClusterClient.flush``."""

    def __init__(self, cluster: ClusterClient) -> None:
        super().__init__(cluster.connection_pool, {}, transaction=False, shard_hint=None)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack, self.command_stack = self.command_stack, []
        # Its options say how to read replies; those asked for in this way are read as they come.
        replies = await self._cluster.flush([args for args, _ in stack])
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies


def _down() -> Disconnected:
    # Its own class is that of commands refused, after which a server is asked again at once.
    return Disconnected("the cluster is down")
