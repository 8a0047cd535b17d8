"""Standard Webhooks 1.0.0: ``webhook-id``, ``webhook-timestamp``, ``webhook-signature``.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

from typing import Final

from api.signatures.encodings import base64_mac, base64_seal
from api.signatures.offers import Claim, Offered, Reason, Refused, signed_id, sole, timestamp_of
from models.webhooks.schemes import HEADERS, Scheme

__all__ = ["read"]

_NAMES: Final = HEADERS[Scheme.STANDARD]
# A sender has one entry per valid secret; each v1a entry costs us an ed25519 verification.
_MOST_ENTRIES: Final = 16
_MALFORMED: Final = Refused(Reason.MALFORMED_HEADER)


def read(offered: Offered) -> Claim | Refused:
    """The claim of a request; entries of other versions or malformed ones are passed over.

    An id may contain dots although the specification advises against it: as the timestamp is all
    digits and every body of ours begins with ``{`` or ``/``, what is signed splits in one way only.
    """
    texts: list[str] = []
    for name in (_NAMES.ids[0], _NAMES.timestamp or "", _NAMES.signature):
        text = sole(offered, name)
        if isinstance(text, Refused):
            return text
        texts.append(text)
    event_id, timestamp = signed_id(texts[0]), timestamp_of(texts[1])
    entries = texts[2].split(" ", _MOST_ENTRIES)
    if event_id is None or timestamp is None or len(entries) > _MOST_ENTRIES:
        return _MALFORMED
    macs: list[bytes] = []
    seals: list[bytes] = []
    for entry in entries:
        version, _, encoded = entry.partition(",")
        if version == "v1" and (mac := base64_mac(encoded)) is not None:
            macs.append(mac)
        elif version == "v1a" and (seal := base64_seal(encoded)) is not None:
            seals.append(seal)
    if not macs and not seals:
        return _MALFORMED
    prefix = f"{event_id}.{timestamp}.".encode()
    return Claim(prefix, tuple(macs), tuple(seals), timestamp, event_id)
