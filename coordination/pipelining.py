"""One connection to Redis that carries many commands at once, for the path every read takes.

Commands share writes, and replies come in their order, so a command costs a few microseconds of
this process; redis-py takes a connection and some twenty times that for each (docs/decisions/0018).
One write is under way at a time: what is asked meanwhile goes together when its replies are there,
so the busier the process, the fewer the writes; but what is many in one already is not held back.
It knows no cluster and no sentinel, and it repeats nothing: what was under way when the connection
broke, or the server fell silent, fails.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import SSLConnection, parse_url
from redis.exceptions import RedisError

__all__ = ["PipeliningClient", "Taker", "packed", "words"]

_log = logging.getLogger(__name__)
Argument = bytes | str | int
Disconnected = exceptions.ConnectionError
Unanswered = exceptions.TimeoutError
# A timer later than this part of its time has measured this process, not the server.
_LATE: Final = 0.1
_SECOND_CHANCES: Final = 2
# From the socket to the reply: the loop reads in one turn what arrived in the one before.
_TURNS: Final = 5
_MOST_UNDER_WAY: Final = 10_000
_REFUSALS: Final[tuple[tuple[str, type[RedisError]], ...]] = (
    ("NOSCRIPT", exceptions.NoScriptError),
    ("LOADING", exceptions.BusyLoadingError),
    ("NOAUTH", exceptions.AuthenticationError),
    ("WRONGPASS", exceptions.AuthenticationError),
)


class Taker(Protocol):
    """Who gets a reply: a future, or one that needs no turn of the loop to hear of it.

    Its methods are called in the middle of reading replies, and raise nothing.
    """

    def done(self) -> bool:
        """Whether the reply is no longer wanted."""

    def set_result(self, reply: object, /) -> None:
        """Integers, bytes, ``None`` and lists of these."""

    def set_exception(self, error: Exception, /) -> None:
        """One of redis-py's, as ``PipeliningClient.execute`` raises them."""


def packed(*arguments: Argument) -> bytes:
    """A command as it is sent."""
    # Its stub knows commands of one word only.
    return cast(bytes, hiredis.pack_command(arguments))  # type: ignore[arg-type]


def words(*arguments: Argument) -> bytes:
    """A part of a command, without the number of words before it."""
    return packed(*arguments).partition(b"\r\n")[2]


class PipeliningClient:
    """Connects when first used, and anew after a fault. ``aclose()`` may be called twice.

    ``url``: redis://, rediss:// or unix://. ``timeout_s``: for connecting, and for each answer.
    """

    def __init__(self, url: str, *, timeout_s: float, name: str) -> None:
        self._options: dict[str, Any] = dict(parse_url(url))
        self._timeout_s = timeout_s
        self._name = name
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self._closed = False

    @property
    def under_way(self) -> int:
        """Commands that wait for their answer."""
        return 0 if self._connection is None else len(self._connection.pending)

    @property
    def takes_offers(self) -> bool:
        """Whether a connection stands that can carry another command."""
        connection = self._connection
        return (
            connection is not None
            and not connection.is_broken
            and len(connection.pending) < _MOST_UNDER_WAY
        )

    async def execute(self, *arguments: Argument) -> object:
        """The reply: integers, bytes, ``None`` and lists of these.

        A caller that is cancelled leaves the command under way. Raises redis-py's exceptions:
        ``ConnectionError`` and ``TimeoutError`` when it may or may not have been done,
        ``ResponseError`` when the server refused it.
        """
        connection = self._connection
        if connection is None or connection.is_broken:
            connection = await self._connected()
        return await connection.send(arguments)

    def offer(self, command: bytes, taker: Taker, *, at_once: bool = False) -> bool:
        """Have a ``packed`` command sent, if one can be. Otherwise nothing happens.

        ``taker`` is told later, never before this returns. ``at_once``: whatever is under way; for
        commands that are many in one already.
        """
        connection = self._connection
        if connection is None or not self.takes_offers:
            return False
        connection.ask(command, taker, at_once=at_once)
        return True

    async def aclose(self) -> None:
        """Drop the connection; what is under way fails."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            self._connection.abort(Disconnected("closed"))

    async def _connected(self) -> _Connection:
        if self._closed:
            raise Disconnected("the client is closed")
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._settle)
        # One attempt for all who wait, whoever of them leaves.
        return await asyncio.shield(self._connecting)

    def _settle(self, attempt: asyncio.Task[_Connection]) -> None:
        self._connecting = None
        if not attempt.cancelled() and attempt.exception() is None:
            self._connection = attempt.result()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        options = self._options

        def protocol() -> _Connection:
            return _Connection(loop, self._timeout_s)

        try:
            async with asyncio.timeout(self._timeout_s):
                if "path" in options:
                    _, connection = await loop.create_unix_connection(protocol, options["path"])
                else:
                    _, connection = await loop.create_connection(
                        protocol,
                        options.get("host", "localhost"),
                        options.get("port", 6379),
                        ssl=_ssl_context(options),
                    )
        except TimeoutError:
            raise Unanswered("no connection in time") from None
        except OSError as error:
            raise Disconnected("no connection") from error
        try:
            await asyncio.gather(*(connection.send(words) for words in self._greeting()))
        except BaseException:
            connection.abort(Disconnected("the server refused the connection"))
            raise
        return connection

    def _greeting(self) -> list[tuple[Argument, ...]]:
        options = self._options
        words: list[tuple[Argument, ...]] = []
        if options.get("password"):
            user = options.get("username")
            words.append(("AUTH", *([user] if user else []), options["password"]))
        if options.get("db"):
            words.append(("SELECT", options["db"]))
        words.append(("CLIENT", "SETNAME", f"farmlokal-{self._name}"))
        return words


class _Connection(asyncio.Protocol):
    """Bytes out, replies in, and a watch over the oldest command that is still unanswered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(protocolError=Disconnected, replyError=_refusal)
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self.pending: deque[tuple[Taker, float]] = deque()
        self._timer: asyncio.Handle | None = None
        self._chances = _SECOND_CHANCES
        self.is_broken = False

    def send(self, arguments: tuple[Argument, ...]) -> asyncio.Future[object]:
        """Ask; the future is the reply."""
        future: asyncio.Future[object] = self._loop.create_future()
        self.ask(packed(*arguments), future)
        return future

    def ask(self, command: bytes, taker: Taker, *, at_once: bool = False) -> None:
        """Write now, or at the end of this turn of the loop, or when all else is answered."""
        if self.is_broken:
            taker.set_exception(Disconnected("the connection broke"))
            return
        if len(self.pending) >= _MOST_UNDER_WAY:
            taker.set_exception(Disconnected("too many commands are under way"))
            return
        if not self.pending and not at_once:
            self._loop.call_soon(self._write)
        self._outgoing.append(command)
        due_at = self._loop.time() + self._timeout_s
        self.pending.append((taker, due_at))
        if self._timer is None:
            self._watch(due_at)
        if at_once:
            self._write()

    def abort(self, reason: RedisError) -> None:
        """Break the connection; everything under way fails for ``reason``."""
        self.is_broken = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        while self.pending:
            taker, _ = self.pending.popleft()
            self._deliver([(taker, reason)])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop calls this first."""
        self._transport = transport  # type: ignore[assignment]  # a stream's, by how it was made

    def data_received(self, data: bytes) -> None:
        """Hand each complete reply to the oldest command."""
        reader, pending = self._reader, self.pending
        self._chances = _SECOND_CHANCES
        answered: list[tuple[Taker, object]] = []
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                answered.append((pending.popleft()[0], reply))
        except (Disconnected, IndexError):
            self._deliver(answered)
            self.abort(Disconnected("the server said something unexpected"))
            return
        if len(pending) == len(self._outgoing):
            # All that was under way is answered; the server works on the next while we do on these.
            self._write()
        self._deliver(answered)

    @staticmethod
    def _deliver(answered: list[tuple[Taker, object]]) -> None:
        for taker, reply in answered:
            try:
                if taker.done():
                    continue  # who asked has left
                if isinstance(reply, RedisError):
                    taker.set_exception(reply)
                else:
                    taker.set_result(reply)
            except Exception:
                # One that breaks must not cost the others their replies.
                _log.exception("A reply could not be taken")

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop calls this last."""
        self.abort(Disconnected("the connection broke"))

    def _write(self) -> None:
        if self._outgoing and self._transport is not None and not self.is_broken:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _watch(self, until: float) -> None:
        self._timer = self._loop.call_at(until, self._look, until)

    def _look(self, was_due_at: float) -> None:
        """As ``coordination.patience``: our own lateness is not the server's silence."""
        self._timer = None
        if not self.pending:
            return
        oldest, due_at = self.pending[0]
        now = self._loop.time()
        if now < due_at:
            self._watch(due_at)
        elif self._chances and now - was_due_at > self._timeout_s * _LATE:
            self._chances -= 1
            self._watch(now + self._timeout_s)
        else:
            self._timer = self._loop.call_soon(self._turn, oldest, _TURNS)

    def _turn(self, oldest: Taker, left: int) -> None:
        if left:
            self._timer = self._loop.call_soon(self._turn, oldest, left - 1)
            return
        self._timer = None
        if not self.pending:
            return
        if self.pending[0][0] is oldest:
            self.abort(Unanswered("the server did not answer in time"))
        else:
            self._watch(self.pending[0][1])


def _refusal(text: str) -> RedisError:
    for sign, kind in _REFUSALS:
        if text.startswith(sign):
            return kind(text)
    return exceptions.ResponseError(text)


def _ssl_context(options: dict[str, Any]) -> ssl.SSLContext | None:
    if options.get("connection_class") is not SSLConnection:
        return None
    others = {name: value for name, value in options.items() if name != "connection_class"}
    read: Callable[[], ssl.SSLContext] = SSLConnection(**others).ssl_context.get
    return read()
