"""Looks for secrets in what was said: as they are, and in the forms they travel in."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

__all__ = ["forms_of", "leaks_in"]


def forms_of(secret: str) -> frozenset[bytes]:
    """The secret plain, URL-encoded, in JSON, in hex, and inside of anything in base64."""
    raw = secret.encode()
    forms = {
        raw,
        secret.encode("latin-1", "replace"),
        quote(secret).encode(),
        quote(secret, safe="").encode(),
        quote_plus(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        ascii(secret)[1:-1].encode(),
        raw.hex().encode(),
        raw.hex().upper().encode(),
    }
    for alphabet in (b"+/", b"-_"):
        for before in range(3):
            # What stands before it shifts the letters; those that neighbours share are left out.
            text = base64.b64encode(b"\0" * before + raw, alphabet).rstrip(b"=")
            first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
            forms.add(text[first:last])
    return frozenset(forms)


def leaks_in(said: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """``<secret's name> in <place>: …what stands around it…`` for each that is found."""
    forms = {name: forms_of(secret) for name, secret in secrets.items()}
    return [
        f"{name} in {place}: {_around(text, form)!r}"
        for name, looked_for in forms.items()
        for place, text in said.items()
        for form in looked_for
        if form in text
    ]


def _around(text: bytes, form: bytes) -> bytes:
    at = text.index(form)
    return text[max(0, at - 200) : at + len(form) + 60]
