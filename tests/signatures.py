"""Secrets and requests for tests of signatures, and the published vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from api.signatures import Offered, Refused, Verified, sign, verify
from models.webhooks.schemes import Scheme

__all__ = [
    "NOW_S",
    "SECRETS",
    "VECTORS",
    "Secret",
    "check",
    "offered",
    "signed",
]

VECTORS: dict[str, Any] = orjson.loads(
    (Path(__file__).parent / "vectors" / "webhook_signatures.json").read_bytes()
)
NOW_S = 1_614_265_330
"""The time of the vectors that have one."""

SECRETS = {
    Scheme.STANDARD: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    Scheme.HMAC: "a-plain-secret-of-32-characters!",
    Scheme.HMAC_BODY: "a-plain-secret-of-32-characters!",
    Scheme.GITHUB: "It's a Secret to Everybody",
    Scheme.STRIPE: "whsec_test_secret",
    Scheme.SHOPIFY: "hush",
}


@dataclass(frozen=True, slots=True)
class Secret:
    """As much of a partner's secret as signatures need."""

    id: int
    value: str
    expires_at: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """Tells it apart in texts."""
        return f"fp{self.id}"


def offered(headers: Mapping[str, str | list[str]], body: bytes) -> Offered:
    """A request; a list stands for a header sent several times."""
    return Offered({n.lower(): v if isinstance(v, list) else [v] for n, v in headers.items()}, body)


def signed(scheme: Scheme, body: bytes, *, at_s: float = NOW_S, **changed: str) -> Offered:
    """A good request by `SECRETS`; `changed` replaces headers, _ standing for -."""
    headers = sign(scheme, SECRETS[scheme], body, event_id="msg_1", now_s=at_s)
    return offered({**headers, **{n.replace("_", "-"): v for n, v in changed.items()}}, body)


def check(
    scheme: Scheme,
    request: Offered,
    *secrets: str,
    now_s: float = NOW_S,
    tolerance_s: int = 300,
) -> Verified | Refused:
    """`verify` with secrets numbered from 1; by default the scheme's own of `SECRETS`."""
    known = [Secret(n, text) for n, text in enumerate(secrets or (SECRETS[scheme],), 1)]
    return verify(scheme, request, known, now_s=now_s, tolerance_s=tolerance_s)
