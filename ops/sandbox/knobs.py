"""What the sandbox does wrong: typed knobs, set per scope, for a number of requests or until reset.

It owns the values and the counting down. ``faults`` acts on them.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Dial", "KnobChange", "Knobs", "Malformed", "OauthKnobs", "SupplyKnobs"]

Malformed = Literal["broken_json", "wrong_types", "huge", "truncated"]
_Millis = Annotated[int, Field(ge=0, le=600_000)]
_Seconds = Annotated[int, Field(ge=0, le=30 * 86_400)]


class Knobs(BaseModel):
    """Faults of one scope, tried in this order. The defaults behave well."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    next_requests: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="hold for so many requests, then the defaults return"
    )
    latency_ms: _Millis = Field(default=0, description="wait before anything else")
    jitter_ms: _Millis = Field(default=0, description="and up to this much more")
    hang: bool = Field(default=False, description="take the request and never answer")
    drop: bool = Field(default=False, description="close the connection instead of an answer")
    error_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0, description="the share of requests answered by error_status"
    )
    error_status: Annotated[int, Field(ge=400, le=599)] = Field(
        default=503, description="the status of those"
    )
    retry_after_s: _Seconds | None = Field(
        default=None, description="Retry-After of those, where it is 429 or 503"
    )
    malformed: Malformed | None = Field(
        default=None,
        description="spoil good answers: broken_json, wrong_types, huge (64 MiB), truncated",
    )


class OauthKnobs(Knobs):
    """Faults of ``POST /oauth/token``."""

    token_error: Literal["invalid_client", "unauthorized", "server_error"] | None = Field(
        default=None, description="refuse good credentials: by 400, 401 or 500"
    )
    expires_in: _Seconds | None = Field(
        default=300, description="the tokens' life in seconds; null: 300 and not told"
    )
    refresh_in: _Seconds | None = Field(
        default=None, description="told beside expires_in: when to renew"
    )


class SupplyKnobs(Knobs):
    """Faults of ``/supply/``."""


class KnobChange(BaseModel):
    """The body of PUT: a scope that is named gets exactly these knobs; one left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    oauth: OauthKnobs | None = None
    supply: SupplyKnobs | None = None


K = TypeVar("K", bound=Knobs)


class Dial(Generic[K]):
    """The knobs of one scope as they stand; ``defaults`` are what the process was started with."""

    def __init__(self, defaults: K) -> None:
        self._defaults = defaults
        self._set = defaults
        self._left = defaults.next_requests

    def set(self, knobs: K) -> None:
        """From the next request on."""
        self._set, self._left = knobs, knobs.next_requests

    def reset(self) -> None:
        """Back to the process's defaults."""
        # A fault of the first requests after the start is over for good by now.
        self.set(self._calm())

    def take(self) -> K:
        """The knobs for one request that has just arrived; counts it."""
        taken = self._set
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.reset()
        return taken

    def shown(self) -> dict[str, object]:
        """As they stand; ``next_requests`` tells how many requests they still hold for."""
        return {**self._set.model_dump(), "next_requests": self._left}

    def _calm(self) -> K:
        if self._defaults.next_requests is None:
            return self._defaults
        return type(self._defaults)()
