"""What a request offers as proof, and the verdicts on it. Values only; nothing is computed here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

__all__ = [
    "Claim",
    "KnownSecret",
    "Offered",
    "Reason",
    "Refused",
    "Verified",
    "label_of",
    "signed_id",
    "sole",
    "timestamp_of",
]

_VISIBLE: Final = re.compile(r"[!-~]{1,128}")
# No sign, fraction, space or leading zero, and no digits but ASCII's: one text for each number.
_SECONDS: Final = re.compile(r"0|[1-9][0-9]{0,11}")


class KnownSecret(Protocol):
    """One secret of a partner, opened."""

    @property
    def id(self) -> int:
        """By which a match is reported."""

    @property
    def value(self) -> str:
        """Its text, as the partner was given it."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A request as it came: all values of each header under its lower-case name, the raw body."""

    headers: Mapping[str, Sequence[str]]
    body: bytes


class Verified(NamedTuple):
    """The signature is of this secret.

    ``dedup_key`` (1 to 128 visible ASCII characters) is equal for equal deliveries and covered by
    the signature. ``label`` is what the sender called the delivery where nothing vouches for it.
    """

    secret_id: int
    dedup_key: str
    label: str | None
    timestamp: int | None


class Reason(StrEnum):
    """Why a request was refused. For metrics and operators; strangers see one answer for all."""

    MISSING_HEADER = "missing_header"
    MALFORMED_HEADER = "malformed_header"
    REPEATED_HEADER = "repeated_header"
    TOO_OLD = "too_old"
    TOO_NEW = "too_new"
    MISMATCH = "mismatch"
    NO_SECRET = "no_secret"  # noqa: S105 - a reason, not a secret
    UNKNOWN_PARTNER = "unknown_partner"
    INACTIVE_PARTNER = "inactive_partner"


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing may be done on behalf of this request."""

    reason: Reason


class Claim(NamedTuple):
    """Well-formed headers: what was signed is ``prefix`` and the body.

    ``macs`` are HMAC-SHA256 digests, ``seals`` ed25519 signatures; one good one will do.
    """

    prefix: bytes
    macs: tuple[bytes, ...]
    seals: tuple[bytes, ...] = ()
    timestamp: int | None = None
    signed_id: str | None = None
    label: str | None = None


def sole(offered: Offered, name: str) -> str | Refused:
    """The one value of a header that must be there once."""
    values = offered.headers.get(name, ())
    if len(values) == 1:
        return values[0]
    return Refused(Reason.REPEATED_HEADER if values else Reason.MISSING_HEADER)


def label_of(offered: Offered, names: Sequence[str]) -> str | Refused | None:
    """The first of these headers that is there, if it can be stored as it is.

    Refused when one is there twice: which of the two would a proxy before us have believed?
    """
    sent = [name for name in names if offered.headers.get(name)]
    for name in sent:
        if len(offered.headers[name]) > 1:
            return Refused(Reason.REPEATED_HEADER)
    value = offered.headers[sent[0]][0] if sent else ""
    return value if _VISIBLE.fullmatch(value) else None


def signed_id(text: str) -> str | None:
    """The text, if it may be a deduplication key: 1 to 128 visible ASCII characters."""
    return text if _VISIBLE.fullmatch(text) else None


def timestamp_of(text: str) -> int | None:
    """Unix seconds: ASCII digits, at most twelve."""
    return int(text) if _SECONDS.fullmatch(text) else None
