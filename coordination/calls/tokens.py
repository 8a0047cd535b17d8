"""What the calling of partners needs of access tokens; ``coordination.tokens`` gives it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Token", "Tokens"]


class Token(Protocol):
    """What of an access token is needed here."""

    @property
    def value(self) -> str:
        """Sent as a bearer token."""

    @property
    def fence(self) -> int:
        """Tells it from the provider's other tokens."""


class Tokens(Protocol):
    """Where access tokens come from; see ``coordination.tokens``."""

    async def token(self, provider: str, /) -> Token:
        """A valid one. Raises typed errors of its own."""

    async def rejected(self, provider: str, fence: int, /) -> object:
        """The API answered 401 to it: do not give it again."""
