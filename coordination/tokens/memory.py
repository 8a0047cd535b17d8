"""What one process remembers of one provider: the token, what was rejected, and what failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from coordination.errors import BadCredentials, ProviderUnavailable
from coordination.tokens.token import MARGIN_S, Failure, Token

__all__ = ["Memory", "error_of"]

_LAST_MOMENT_S: Final = 5.0


@dataclass(slots=True)
class Memory:
    """One per provider and process; plain state that the event loop alone touches.

    ``floor``: a token will do only if its fence is above it.
    """

    provider: str
    token: Token | None = None
    refresh_at: float = 0.0
    looked_at: float = float("-inf")
    """When Redis last said, or could not be asked, whether there is a newer token."""
    floor: int = 0
    newest: int = 0
    """The highest fence this process has met."""
    failure: Failure | None = None
    faults_in_a_row: int = 0
    obtaining: asyncio.Task[Token] | None = field(default=None, repr=False)
    looking: asyncio.Task[str] | None = field(default=None, repr=False)

    def learn(self, token: Token, refresh_at: float) -> None:
        """Remember a token, unless one as new is remembered."""
        self.succeed(token.fence)
        if self.token is None or token.fence > self.token.fence:
            self.token, self.refresh_at = token, refresh_at

    def succeed(self, fence: int) -> None:
        """There was a token of this fence: what failed before it is over."""
        self.newest = max(self.newest, fence)
        self.failure = None
        self.faults_in_a_row = 0

    def reject(self, fence: int) -> None:
        """A partner's API refused the token of this fence, which was met here."""
        # A number that was never met would keep out every token to come.
        self.floor = max(self.floor, min(fence, self.newest))

    def fresh(self, now: float) -> Token | None:
        """The token, while its margin has not begun."""
        token = self.valid(now)
        return token if token is not None and now < token.expires_at - MARGIN_S else None

    def at_hand(self, now: float) -> Token | None:
        """The token, unless it might expire on its way to the partner."""
        token = self.valid(now)
        return token if token is not None and now < token.expires_at - _LAST_MOMENT_S else None

    def valid(self, now: float) -> Token | None:
        """The token, if it has neither expired nor been rejected."""
        token = self.token
        if token is None or token.fence <= self.floor or now >= token.expires_at:
            return None
        return token

    def standing_failure(self, now: float) -> Failure | None:
        """Why the provider is left alone for now, if it is."""
        return self.failure if self.failure is not None and now < self.failure.until else None


def error_of(provider: str, failure: Failure, now: float) -> BadCredentials | ProviderUnavailable:
    """What callers are told of it."""
    kind = BadCredentials if failure.refused else ProviderUnavailable
    return kind(provider, failure.reason, max(0.0, failure.until - now))
