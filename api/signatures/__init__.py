"""Signatures of partners: verified, made, and explained. Pure: no I/O, no clock, no settings.

``offers`` has the values, ``standard``, ``stripe`` and ``plain`` read the headers of their schemes,
``verifying`` decides, ``signing`` is the sender's side, ``diagnosis`` tells operators what went
wrong.
"""

from __future__ import annotations

from api.signatures.offers import KnownSecret, Offered, Reason, Refused, Verified
from api.signatures.signing import sign
from api.signatures.verifying import verify, waste_time

__all__ = [
    "KnownSecret",
    "Offered",
    "Reason",
    "Refused",
    "Verified",
    "sign",
    "verify",
    "waste_time",
]
