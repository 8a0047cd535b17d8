"""What a partner answered, read up to a limit, and what its status means for us.

The table of the architecture description: 4xx is our fault and final, 5xx and no answer are theirs
and may pass. 408, 425 and 429 ask us to come back; redirects are not followed, and are refusals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx
import orjson

from coordination.breakers.circuit import Outcome
from coordination.errors import PartnerGarbled

__all__ = ["Answer", "ask_again", "outcome_of", "read_answer"]

_ASK_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_FAULT: Final = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. ``headers`` by lower-case name; repeated ones are joined by commas."""

    service: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """The body's value. Raises ``PartnerGarbled`` when it is no JSON."""
        try:
            value: object = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise PartnerGarbled(
                self.service, "its answer is no JSON", status=self.status
            ) from None
        return value

    @property
    def is_good(self) -> bool:
        """Whether it is what was asked for: 2xx, or 304 to a conditional request."""
        return 200 <= self.status < 300 or self.status == 304


def outcome_of(status: int) -> Outcome:
    """What an answer with this status means for the breaker."""
    if status >= _SERVER_FAULT:
        return Outcome.FAULT
    return Outcome.REFUSED if status >= 400 else Outcome.SUCCESS


def ask_again(status: int) -> bool:
    """Whether the partner wants the same request later."""
    return status in _ASK_AGAIN


async def read_answer(service: str, response: httpx.Response, most_bytes: int) -> Answer:
    """Read it, never more than ``most_bytes``. Of 500 and above the body is left alone.

    Raises ``PartnerGarbled`` when it is longer or encoded, and httpx's transport errors.
    """
    body = bytearray()
    if response.status_code < _SERVER_FAULT:
        # We ask for identity: unpacking could turn a small answer into a huge one.
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise PartnerGarbled(service, "its answer is encoded", status=response.status_code)
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > most_bytes:
                raise PartnerGarbled(service, "its answer is too long", status=response.status_code)
    return Answer(service, response.status_code, dict(response.headers), bytes(body))
