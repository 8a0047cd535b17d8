"""Stripe: ``Stripe-Signature: t=…,v1=…`` over ``t.body``; the event's id is in the body.

https://docs.stripe.com/webhooks/signature
"""

from __future__ import annotations

from typing import Final

import orjson

from api.signatures.encodings import hex_mac
from api.signatures.offers import Claim, Offered, Reason, Refused, signed_id, sole, timestamp_of
from models.webhooks.schemes import HEADERS, Scheme

__all__ = ["id_in_body", "read"]

_NAME: Final = HEADERS[Scheme.STRIPE].signature
_MOST_ITEMS: Final = 16
_MALFORMED: Final = Refused(Reason.MALFORMED_HEADER)


def read(offered: Offered) -> Claim | Refused:
    """The claim of a request. One ``t``, any number of ``v1``; other schemes are passed over."""
    text = sole(offered, _NAME)
    if isinstance(text, Refused):
        return text
    items = [item.partition("=") for item in text.split(",", _MOST_ITEMS)]
    times = [value for name, _, value in items if name == "t"]
    # Of two times one library believes the first and another the last.
    if len(items) > _MOST_ITEMS or len(times) != 1:
        return _MALFORMED
    timestamp = timestamp_of(times[0])
    macs = [mac for name, _, value in items if name == "v1" and (mac := hex_mac(value))]
    if timestamp is None or not macs:
        return _MALFORMED
    return Claim(f"{timestamp}.".encode(), tuple(macs), timestamp=timestamp)


def id_in_body(body: bytes) -> str | None:
    """The event's own id, covered by the signature; ``None`` where it could not be a key."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = event.get("id") if isinstance(event, dict) else None
    return signed_id(found) if isinstance(found, str) else None
