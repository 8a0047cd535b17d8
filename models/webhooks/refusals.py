"""The last deliveries of each partner whose signature was refused, for operators to look into.

Kept in the cache for a day, and never the whole request: the headers that signing involves, and so
much of the body as most webhooks have. What is only of the unknown is not kept at all. Losing all
of it costs nothing but an explanation.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.errors import CacheUnavailable
from coordination.metrics import CACHE_FAULTS
from models.webhooks.schemes import HEADERS

__all__ = ["KEPT_HEADERS", "Refusal", "note", "recent"]

_log = logging.getLogger(__name__)
_KEPT: Final = 20
_TTL_S: Final = 86_400
_BODY_BYTES: Final = 65_536
_VALUE_CHARACTERS: Final = 2_048
_VALUES: Final = 4
_MOST_UNDER_WAY: Final = 8

KEPT_HEADERS: Final = frozenset(
    name
    for names in HEADERS.values()
    for name in (names.signature, names.timestamp, *names.ids)
    if name is not None
) | {
    "content-type",
    # What senders put in their place by mistake.
    "x-hub-signature",
    "svix-id",
    "svix-timestamp",
    "svix-signature",
}
"""Nothing else of a request is kept; ``Authorization`` and cookies least of all."""

# Strong references: the loop itself keeps only weak ones to its tasks.
_under_way: Final[set[asyncio.Task[None]]] = set()


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused delivery. ``body_bytes`` is how long the body was, of which ``body`` begins.

    As given to ``note`` it may hold all headers and the whole body; as read by ``recent`` it has
    what was kept.
    """

    reason: str
    received_at_s: float
    request_id: str
    headers: Mapping[str, Sequence[str]]
    body: bytes
    body_bytes: int

    @property
    def is_cut(self) -> bool:
        """Whether a part of the body was not kept, so that no signature can be computed."""
        return len(self.body) < self.body_bytes


async def note(plane: CachePlane, partner: str, refusal: Refusal) -> None:
    """Keep it for the operators, without making the request wait for that.

    Never raises. With the cache away, or more refusals at once than are worth keeping, it is
    dropped and counted (``cache_faults_total``).
    """
    if len(_under_way) >= _MOST_UNDER_WAY:
        CACHE_FAULTS.labels("push", "flooded").inc()
        return
    task = asyncio.create_task(_push(plane, partner, refusal))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)


async def recent(plane: CachePlane, partner: str) -> list[Refusal]:
    """The last refusals, at most twenty, the latest first. Raises ``CacheUnavailable``."""
    found: list[Refusal] = []
    for stored in await plane.pushed(keys.webhook_refused(partner)):
        try:
            found.append(_unpacked(stored))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            # Another release may have written it.
            _log.warning("Passed over a kept refusal that is not legible")
    return found


async def _push(plane: CachePlane, partner: str, refusal: Refusal) -> None:
    try:
        await plane.push(keys.webhook_refused(partner), _packed(refusal), most=_KEPT, ttl_s=_TTL_S)
    except CacheUnavailable:
        _log.debug("A refusal was not kept")  # counted where the cache was asked
    except Exception:
        # Nobody waits for this task, so nobody else would tell.
        CACHE_FAULTS.labels("push", "defect").inc()
        _log.exception("A refusal could not be kept")


def _packed(refusal: Refusal) -> bytes:
    headers = {
        name: [value[:_VALUE_CHARACTERS] for value in values[:_VALUES]]
        for name, values in refusal.headers.items()
        if name in KEPT_HEADERS
    }
    # The standard library's: header text may hold lone surrogates, which orjson refuses.
    return json.dumps(
        {
            "reason": refusal.reason,
            "received_at_s": refusal.received_at_s,
            "request_id": refusal.request_id,
            "headers": headers,
            "body": base64.b64encode(refusal.body[:_BODY_BYTES]).decode(),
            "body_bytes": refusal.body_bytes,
        }
    ).encode()


def _unpacked(stored: bytes) -> Refusal:
    kept: dict[str, Any] = json.loads(stored)
    return Refusal(
        reason=str(kept["reason"]),
        received_at_s=float(kept["received_at_s"]),
        request_id=str(kept["request_id"]),
        headers={str(name): [str(v) for v in values] for name, values in kept["headers"].items()},
        body=base64.b64decode(kept["body"]),
        body_bytes=int(kept["body_bytes"]),
    )
