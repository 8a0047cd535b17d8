"""Notices that a database server answers nobody, and lets statements fail at once until it does.

Without it each request would wait out its whole patience while a server hangs. Failures in a row
and silence are only a suspicion: a statement of ours may be slow, and a pool may be used up by our
own load. What decides is a trivial question on a connection of its own. While that stays without an
answer it is repeated, by this process once every ``DATABASE_BREAKER_PAUSE_MS`` and by nobody else;
the first answer to anything ends it. A server that answers with an error is there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Final

from coordination.cooldown import Cooldown
from coordination.errors import DatabaseUnavailable
from coordination.metrics import DATABASE_FAULTS
from coordination.patience import Patience
from coordination.settings import Settings
from models.database_errors import Fault

__all__ = ["Question", "ServerWatch"]

_log = logging.getLogger(__name__)
_COMPLAIN_EVERY_S: Final = 60.0

Question = Callable[[], Awaitable[None]]
"""Returns once the server said anything; raises when it did not."""


class ServerWatch:
    """One per server and process, used on one event loop. ``close()`` may be called twice.

    ``name`` is for the log. Without a ``question`` (SQLite: a file hangs nobody) it never leaves
    the server alone. ``on_silence`` is called when it begins to.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        question: Question | None,
        on_silence: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._question = question
        self._on_silence = on_silence
        self._pause_s = settings.database_breaker_pause_ms / 1000
        self._answer_within_s = settings.database_acquire_timeout_ms / 1000
        self._cooldown = Cooldown(settings.database_breaker_failures, self._pause_s, clock)
        self.now = clock
        self._answered_at = clock()
        self._waiting: dict[asyncio.Timeout, float] = {}
        """The deadlines of what is under way, the oldest first, and when each began."""
        self._asking: asyncio.Task[None] | None = None
        self._closed = False
        self._complained_at: dict[str, float] = {}
        self.is_away = False
        """Whether statements fail at once."""

    async def close(self) -> None:
        """Ask no more."""
        self._closed = True
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def admit(self) -> None:
        """Raise ``DatabaseUnavailable`` while the server is being left alone."""
        if self.is_away:
            DATABASE_FAULTS.labels("paused").inc()
            raise DatabaseUnavailable("The database does not answer at present.")

    def patience(self, seconds: float) -> _Patience:
        """``asyncio.timeout`` that ends early when the server turns out to be away."""
        return _Patience(self, seconds)

    def _began(self, deadline: asyncio.Timeout) -> None:
        began_at = self.now()
        if self._waiting:
            oldest = next(iter(self._waiting.values()))
            if began_at - max(oldest, self._answered_at) > self._answer_within_s:
                self._ask()
        self._waiting[deadline] = began_at

    def answered(self) -> None:
        """The server said something, if only that it will not do it."""
        self._answered_at = self.now()
        self._cooldown.succeeded()
        if self.is_away:
            self.is_away = False
            _log.info("Database answers again", extra={"server": self._name})

    def unanswered(self, began_at: float) -> None:
        """What began then, by ``now()``, met a broken connection, none, or no answer in time."""
        if self._cooldown.failed(began_at):
            self._ask()

    def complain(self, fault: Fault, said: str) -> None:
        """Tell operators what the server refuses and why, once a minute and reason."""
        reason, now = str(fault.reason), self.now()
        if now - self._complained_at.get(reason, float("-inf")) >= _COMPLAIN_EVERY_S:
            self._complained_at[reason] = now
            _log.error(
                "Database refuses",
                extra={
                    "server": self._name,
                    "reason": reason,
                    "code": fault.code,
                    "said": said[:500],
                },
            )

    def _ask(self) -> None:
        if self._question is None or self._closed:
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_until_answered(self._question))

    async def _ask_until_answered(self, question: Question) -> None:
        while not await self._is_answered(question):
            if not self.is_away:
                self.leave_alone()
            await asyncio.sleep(self._pause_s)
        self.answered()

    async def _is_answered(self, question: Question) -> bool:
        began_at = self.now()
        try:
            async with Patience(self._answer_within_s):
                await question()
        except Exception as error:  # noqa: BLE001, RUF100 - whatever it is, there was no answer
            _log.debug("No answer to a trivial question", extra={"reason": repr(error)})
            # Somebody else may have had one meanwhile.
            return self._answered_at > began_at
        return True

    def leave_alone(self) -> None:
        """Cut off what is under way, and let all statements fail until something is answered."""
        self.is_away = True
        _log.warning(
            "Database does not answer; statements fail at once until it does",
            extra={"server": self._name, "cut_off": len(self._waiting)},
        )
        at_once = asyncio.get_running_loop().time()
        for deadline in self._waiting:
            with suppress(RuntimeError):  # it has just passed by itself
                deadline.reschedule(at_once)
        self._on_silence()


class _Patience:
    """``ServerWatch.patience``; a generator would cost a miss several times as much."""

    __slots__ = ("_deadline", "_watch")

    def __init__(self, watch: ServerWatch, seconds: float) -> None:
        self._watch = watch
        self._deadline = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._deadline.__aenter__()
        self._watch._began(self._deadline)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._watch._waiting[self._deadline]
        await self._deadline.__aexit__(kind, error, trace)
