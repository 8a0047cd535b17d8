"""Secrets of others at rest: sealed with authenticated encryption under secrets of ours.

``SEALING_SECRET`` may name several; the first seals and all open, so it can be rotated. Sealing
protects a copy of the database, not a process that holds the settings. The scheme is Fernet
(AES-128-CBC with HMAC-SHA256) of the ``cryptography`` package, its key the SHA-256 of a secret that
has at least 32 characters.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from coordination.errors import Misconfigured

__all__ = ["Sealer"]


class Sealer:
    """Seals and opens text. Holds no state; one per process will do."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(_key(secret)) for secret in secrets])

    def seal(self, text: str) -> str:
        """What may be stored; never twice the same."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The inverse. Raises ``Misconfigured`` when none of our secrets sealed it."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise Misconfigured(
                "A stored secret was sealed with another SEALING_SECRET: add that one at the end."
            ) from None


def _key(secret: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest())
