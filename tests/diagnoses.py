"""Asking for a diagnosis in tests; whatever is asked, the answer must hold no secret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from api.signatures import Offered
from api.signatures.diagnosis import Finding, Kind, diagnose
from models.webhooks.schemes import Scheme
from tests.signatures import NOW_S, SECRETS, Secret

__all__ = ["BODY", "EVENT", "kinds", "matched", "told"]

EVENT: Final = {"type": "a.b", "data": {"name": "Kürbis", "url": "x/y", "n": [1, 2.5, True, {}]}}
BODY: Final = json.dumps(EVENT, indent=3, ensure_ascii=False).encode()
"""The event as no serialiser prints it by itself."""


def told(
    scheme: Scheme, request: Offered, *secrets: Secret, **others: Any
) -> tuple[list[Finding], str]:
    """The findings, and all their texts."""
    known = secrets or (Secret(1, SECRETS[scheme]),)
    found = diagnose(
        scheme, request, known, **{"received_at_s": NOW_S, "tolerance_s": 300, **others}
    )
    text = "\n".join(finding.detail for finding in found)
    for secret in known:
        assert not secret.value or secret.value not in text
    assert found
    return found, text


def kinds(found: Sequence[Finding]) -> list[Kind]:
    """What they are about, in their order."""
    return [finding.kind for finding in found]


def matched(found: Sequence[Finding]) -> bool:
    """Whether a secret was found that made the signature."""
    return any(finding.matched for finding in found)
