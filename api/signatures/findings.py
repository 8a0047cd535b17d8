"""What a diagnosis says, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from api.signatures.offers import KnownSecret

__all__ = ["DatedSecret", "Finding", "Kind"]


class DatedSecret(KnownSecret, Protocol):
    """A secret that may have expired."""

    @property
    def fingerprint(self) -> str:
        """What people call it by."""

    @property
    def expires_at(self) -> datetime | None:
        """Aware; ``None`` for one that stays valid."""


class Kind(StrEnum):
    """What a finding is about."""

    VALID = "valid"
    SIGNER = "signer"
    """Which secret made the signature."""
    EXPIRED_SECRET = "expired_secret"  # noqa: S105 - a kind of finding
    DEVIATION = "deviation"
    """What the sender did otherwise than the scheme says."""
    OTHER_SCHEME = "other_scheme"
    MISSING_HEADER = "missing_header"
    MALFORMED_HEADER = "malformed_header"
    REPEATED_HEADER = "repeated_header"
    CLOCK = "clock"
    NO_SECRET = "no_secret"  # noqa: S105 - as above
    WRONG_KEY_KIND = "wrong_key_kind"
    BODY_CUT = "body_cut"
    INACTIVE_PARTNER = "inactive_partner"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence. ``matched``: one of the partner's secrets made this signature."""

    kind: Kind
    detail: str
    matched: bool = False
    secret_id: int | None = None
