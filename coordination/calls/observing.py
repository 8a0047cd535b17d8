"""Counts calls by how they ended, and their time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from coordination.errors import (
    CircuitOpen,
    PartnerBusy,
    PartnerGarbled,
    PartnerRefused,
    PartnerThrottled,
    PartnerUnavailable,
)
from coordination.metrics import PARTNER_CALL_DURATION, PARTNER_CALLS

__all__ = ["observed"]

_OUTCOMES: Final[Mapping[type[PartnerUnavailable], str]] = {
    PartnerThrottled: "throttled",
    PartnerGarbled: "garbled",
    PartnerBusy: "busy",
    CircuitOpen: "open",
}


@contextmanager
def observed(service: str, clock: Callable[[], float]) -> Iterator[None]:
    """Count the call made inside; ``metrics.PARTNER_CALLS`` lists the outcomes."""
    began_at = clock()
    # Whatever else is raised comes from getting a token.
    outcome = "token"
    try:
        yield
        outcome = "ok"
    except PartnerRefused:
        outcome = "refused"
        raise
    except PartnerUnavailable as error:
        outcome = _OUTCOMES.get(type(error), "failed")
        raise
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    finally:
        PARTNER_CALLS.labels(service, outcome).inc()
        PARTNER_CALL_DURATION.labels(service).observe(clock() - began_at)
