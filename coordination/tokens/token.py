"""Tokens and what a provider grants, as values; how long each is kept, and when it is renewed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["MARGIN_S", "Failure", "Grant", "Token", "refresh_after_s"]

MARGIN_S: Final = 60.0
"""A token is shared until this long before it expires."""

_JITTER: Final = 0.1
_SOONEST_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token. Its value is left out of ``repr``.

    ``expires_at``: seconds by the clock of the store it came from. ``fence``: grows with each token
    of a provider; name it when the token is rejected.
    """

    value: str = field(repr=False)
    expires_at: float
    fence: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a provider answered."""

    value: str = field(repr=False)
    expires_in_s: int
    refresh_in_s: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no token, and until when nobody asks the provider again.

    ``until``: seconds by the store's clock.
    """

    refused: bool
    reason: str
    until: float


def refresh_after_s(grant: Grant, jitter: float) -> float:
    """When to renew it, in seconds after it was asked for. ``jitter``: 0 up to 1.

    Half of what is kept of its life (MSAL does so for lifetimes of two hours or more; here for
    all), or what the provider's ``refresh_in`` says; up to a tenth earlier, so that tokens obtained
    together are not renewed together.
    """
    kept_s = grant.expires_in_s - MARGIN_S
    after_s = kept_s / 2 if grant.refresh_in_s is None else min(grant.refresh_in_s, kept_s)
    return max(_SOONEST_S, after_s * (1 - _JITTER * jitter))
