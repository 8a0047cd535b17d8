"""What is wrong with a request's headers and its time, whoever signed it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

from api.signatures.findings import Finding, Kind
from api.signatures.offers import Offered, Reason, Refused, timestamp_of
from api.signatures.searching import sent_times
from api.signatures.verifying import read_claim
from models.webhooks.schemes import HEADERS, Scheme

__all__ = ["clock_faults", "header_faults"]

_MILLISECONDS: Final = re.compile(r"[0-9]{13}")
_FORMS: Final = {
    Scheme.STANDARD: "webhook-id must be 1 to 128 visible ASCII characters, webhook-timestamp whole"
    " Unix seconds, webhook-signature at most 16 entries like v1,‹base64 of 32 bytes›",
    Scheme.HMAC: "X-Webhook-Signature must be 64 hex digits, X-Webhook-Timestamp whole Unix"
    " seconds",
    Scheme.HMAC_BODY: "X-Webhook-Signature must be 64 hex digits",
    Scheme.GITHUB: "X-Hub-Signature-256 must be sha256= and 64 hex digits",
    Scheme.STRIPE: "Stripe-Signature must be one t=‹whole Unix seconds› and v1=‹64 hex digits›,"
    " at most 16 items with nothing but commas between them",
    Scheme.SHOPIFY: "X-Shopify-Hmac-Sha256 must be the padded base64 of 32 bytes",
}


def header_faults(scheme: Scheme, offered: Offered) -> Iterator[Finding]:
    """Headers that are missing, repeated or malformed."""
    names = HEADERS[scheme]
    needed = [name for name in (names.signature, names.timestamp) if name is not None]
    if scheme is Scheme.STANDARD:
        needed += names.ids
    for name in needed:
        if not offered.headers.get(name):
            yield Finding(Kind.MISSING_HEADER, f"The header {name} is missing.")
    for name in dict.fromkeys([*needed, *names.ids]):
        if len(offered.headers.get(name, ())) > 1:
            yield Finding(Kind.REPEATED_HEADER, f"The header {name} was sent more than once.")
    claim = read_claim(scheme, offered)
    if isinstance(claim, Refused) and claim.reason is Reason.MALFORMED_HEADER:
        yield Finding(Kind.MALFORMED_HEADER, f"{_FORMS[scheme]}; something else was sent.")


def clock_faults(
    scheme: Scheme, offered: Offered, received_at_s: float, tolerance_s: int
) -> Iterator[Finding]:
    """Timestamps of this scheme that are too old, too new, or in another unit."""
    if HEADERS[scheme].timestamp is None and scheme is not Scheme.STRIPE:
        return
    for text in sent_times(offered):
        at = timestamp_of(text)
        if at is None:
            if _MILLISECONDS.fullmatch(text):
                detail = "The timestamp is in milliseconds; it must be whole seconds."
                yield Finding(Kind.CLOCK, detail)
            continue
        behind_s = received_at_s - at
        if abs(behind_s) <= tolerance_s:
            continue
        side, why = (
            ("behind", "An old delivery sent again with its old signature, or a slow clock.")
            if behind_s > 0
            else ("ahead of", "Their clock is fast, or ours slow.")
        )
        yield Finding(
            Kind.CLOCK,
            f"The timestamp is {math.ceil(abs(behind_s))} s {side} our clock at receipt;"
            f" {tolerance_s} s are allowed. {why}",
        )
