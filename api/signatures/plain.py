"""One HMAC-SHA256 in one header: the two plain schemes, GitHub and Shopify.

None of them signs the delivery's id, and only ``hmac`` signs a time.
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
https://shopify.dev/docs/apps/build/webhooks/subscribe/https#step-2-validate-the-origin
"""

from __future__ import annotations

from api.signatures.encodings import base64_mac, hex_mac
from api.signatures.offers import Claim, Offered, Reason, Refused, label_of, sole, timestamp_of
from models.webhooks.schemes import HEADERS, Scheme

__all__ = ["read"]


def read(scheme: Scheme, offered: Offered) -> Claim | Refused:
    """The claim of a request signed by one of these four schemes."""
    names = HEADERS[scheme]
    text = sole(offered, names.signature)
    label = label_of(offered, names.ids)
    if isinstance(text, Refused):
        return text
    if isinstance(label, Refused):
        return label
    mac = _mac(scheme, text)
    if names.timestamp is None:
        return Refused(Reason.MALFORMED_HEADER) if mac is None else Claim(b"", (mac,), label=label)
    at = sole(offered, names.timestamp)
    if isinstance(at, Refused):
        return at
    timestamp = timestamp_of(at)
    if mac is None or timestamp is None:
        return Refused(Reason.MALFORMED_HEADER)
    return Claim(f"{timestamp}.".encode(), (mac,), timestamp=timestamp, label=label)


def _mac(scheme: Scheme, text: str) -> bytes | None:
    if scheme is Scheme.SHOPIFY:
        return base64_mac(text)
    prefixed = text.startswith("sha256=")
    if scheme is Scheme.GITHUB and not prefixed:
        return None
    return hex_mac(text.removeprefix("sha256="))
