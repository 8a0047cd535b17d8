"""Glances of all who come at one moment, asked about together.

To be asked costs the server more than to look, so a question is about several reads, each counted
and looked at by itself (``coordination.gathering`` says which go together).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeAlias, TypeGuard, get_args

from redis.exceptions import InvalidResponse, NoScriptError, RedisError

from coordination import keys
from coordination.cache import AnswerCache
from coordination.cache_ahead import Glance
from coordination.cache_look import Reply
from coordination.cache_plane import Unanswered
from coordination.cache_read import ReadPlan
from coordination.gathering import Gathering
from coordination.pipelining import words
from coordination.rate_limit import LimitRequest
from coordination.scripts import digest, source

__all__ = ["ENOUGH", "Glances", "Question"]

_log = logging.getLogger(__name__)
_SCRIPT: Final = "read_each"
# The server does nothing else meanwhile, and what one question saves grows little beyond it.
ENOUGH: Final = 8
"""Reads of one question."""
# Of a question, beside its keys: the command, the script and their number, and the terms.
_WORDS: Final = 9
_WORDS_OF_EACH: Final = 4
_REPLY_LENGTH: Final = len(get_args(Reply))
_P = ParamSpec("_P")


class Question:
    """What is asked about one plan's entry, laid out once for all who ask: bytes for one server.

    Only whom the limiter counts, the token and what is known of the entry are filled in.
    """

    __slots__ = ("keys", "number", "shape")

    def __init__(self, plan: ReadPlan) -> None:
        others = [plan.entry, *plan.generations, *plan.watched]
        self.number = 1 + len(others)
        self.keys = words(*others)
        self.shape = words(len(plan.generations), self.number)


_One: TypeAlias = tuple[Glance, Question]


class Glances:
    """One process's, of those that are counted by the same terms. Belongs to one loop."""

    __slots__ = ("_by_digest", "_cache", "_gathering", "_in_full", "_terms")

    def __init__(self, cache: AnswerCache, terms: LimitRequest) -> None:
        settings = cache.plane.settings
        lease_ms = settings.cache_fill_lease_ms
        self._cache = cache
        self._gathering: Gathering[_One] = Gathering(self._ask, ENOUGH)
        self._by_digest = words("EVALSHA", digest(_SCRIPT))
        self._in_full = words("EVAL", source(_SCRIPT))
        self._terms = words(
            terms.limit,
            terms.window_s * 1000,
            terms.cost,
            2 * lease_ms,
            lease_ms,
            settings.cache_warm_lease_ms,
        )

    def ask(self, glance: Glance, question: Question) -> bool:
        """Ask whether the answer at hand may be sent; ``glance`` is told.

        Returns false where none is at hand, or nobody can be asked: then nothing is asked, and
        nobody will be told. Otherwise it is told later, never before this returns. ``question``: of
        its plan.
        """
        near, gathering = self._cache.at_hand(glance.plan.entry), self._gathering
        if near is None or not (gathering.waits or self._cache.plane.takes_offers()):
            return False
        glance.begin(near)
        gathering.add((glance, question))
        return True

    def _ask(self, those: list[_One]) -> None:
        _Asked(self, self._cache, those).send()

    def offer(self, asked: _Asked, *, in_full: bool) -> bool:
        """Have them asked about, at once. False, and nothing is done, where nobody can be asked.

        ``in_full``: with the script's text, for a server that does not know it.
        """
        command = self.command(asked.those, in_full=in_full)
        if not self._cache.plane.offer(command, asked, at_once=True):
            return False
        self._gathering.begun()
        return True

    def over(self) -> None:
        """A question is under way no more: the next may go."""
        self._gathering.over()

    def command(self, those: list[_One], *, in_full: bool = False) -> bytes:
        """The bytes of one question; all of them have begun."""
        number, script_keys, arguments = 0, [], []
        for glance, question in those:
            number += question.number
            key = keys.rate_limit(glance.client).encode()
            script_keys.append(b"$%d\r\n%b\r\n%b" % (len(key), key, question.keys))
            token, known = glance.token.encode(), glance.near[0].encode()
            arguments.append(
                b"$%d\r\n%b\r\n$%d\r\n%b\r\n%b"
                % (len(token), token, len(known), known, question.shape)
            )
        return b"*%d\r\n%b%b%b%b%b" % (
            _WORDS + number + _WORDS_OF_EACH * len(those),
            self._in_full if in_full else self._by_digest,
            words(number),
            b"".join(script_keys),
            self._terms,
            b"".join(arguments),
        )


class _Asked:
    """Some that are asked about together. A ``Taker`` of the reply."""

    __slots__ = ("_asked_at", "_cache", "_glances", "_in_full", "those")

    def __init__(self, glances: Glances, cache: AnswerCache, those: list[_One]) -> None:
        self._glances = glances
        self._cache = cache
        self.those = those
        self._in_full = False

    def send(self) -> None:
        """Ask by the script's digest, or with its text."""
        self._asked_at = self._cache.plane.now()
        if not self._glances.offer(self, in_full=self._in_full):
            # Not here: the last of them may only just be asking.
            asyncio.get_running_loop().call_soon(self._decline)

    def done(self) -> bool:
        """Told in any case: whoever asked may have left, but a lease must be seen to."""
        return False

    def set_result(self, reply: object) -> None:
        """Tell each whether it is a hit."""
        if not _is_readable(reply, len(self.those)):
            _log.error("The cache's reply could not be read")
            self.set_exception(InvalidResponse("not what the script returns"))
            return
        self._cache.plane.answered()
        # First, so that the server is at work meanwhile.
        self._glances.over()
        now_ms = reply[0]
        for (glance, _), previous, current in zip(
            self.those, reply[1::2], reply[2::2], strict=True
        ):
            if previous >= 0:
                _tell(glance.confirmed, previous, current, now_ms)
            elif isinstance(current, RedisError):
                _tell(glance.failed, self._cache.plane.fault("read", current, self._asked_at))
            else:
                _tell(glance.found, current)

    def set_exception(self, error: Exception) -> None:
        """Tell what came instead of an answer."""
        self._glances.over()
        if isinstance(error, NoScriptError) and not self._in_full:
            # A server that was restarted. Nothing was counted.
            self._in_full = True
            self.send()
            return
        fault = self._cache.plane.fault("read", error, self._asked_at)
        for glance, _ in self.those:
            if isinstance(fault, Unanswered):
                self._cache.give_back(glance.plan, glance.token)
            _tell(glance.failed, fault)

    def _decline(self) -> None:
        """Leave all of them to their ordinary way."""
        for glance, _ in self.those:
            _tell(glance.go_on, None)


def _tell(tell: Callable[_P, None], *what: _P.args, **more: _P.kwargs) -> None:
    try:
        tell(*what, **more)
    except Exception:
        # It promised to raise nothing; one that breaks must not cost the others what is theirs.
        _log.exception("A glance could not be told")


def _is_readable(reply: object, number: int) -> TypeGuard[list[Any]]:
    """Whether it says something about each of so many."""
    if not isinstance(reply, list) or len(reply) != 1 + 2 * number:
        return False
    if set(map(type, reply)) == {int} and min(reply) >= 0:
        return True  # hits, all of them
    return isinstance(reply[0], int) and all(
        isinstance(previous, int)
        and (isinstance(current, int) if previous >= 0 else _is_account(current))
        for previous, current in zip(reply[1::2], reply[2::2], strict=True)
    )


def _is_account(found: object) -> bool:
    """What stands for one that is no hit: ``read.lua``'s reply, or why there is none."""
    return isinstance(found, RedisError) or (
        isinstance(found, list) and len(found) == _REPLY_LENGTH
    )
