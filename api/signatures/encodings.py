"""How 32 and 64 bytes are written in signature headers. One text for each value, no other."""

from __future__ import annotations

import base64
import re
from typing import Final

__all__ = ["base64_mac", "base64_seal", "hex_mac"]

_HEX_MAC: Final = re.compile(r"[0-9a-fA-F]{64}")
# The last character before the padding has bits to spare, which must be zero.
_BASE64_MAC: Final = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
_BASE64_SEAL: Final = re.compile(r"[A-Za-z0-9+/]{85}[AQgw]==")


def hex_mac(text: str) -> bytes | None:
    """32 bytes in hex of either case."""
    return bytes.fromhex(text) if _HEX_MAC.fullmatch(text) else None


def base64_mac(text: str) -> bytes | None:
    """32 bytes in padded base64."""
    return base64.b64decode(text) if _BASE64_MAC.fullmatch(text) else None


def base64_seal(text: str) -> bytes | None:
    """64 bytes in padded base64."""
    return base64.b64decode(text) if _BASE64_SEAL.fullmatch(text) else None
