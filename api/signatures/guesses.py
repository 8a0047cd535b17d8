"""What senders get wrong: other bytes, other keys, other contents, other digests than agreed.

Each guess is a value and the words for it, without which it is the right one. Nothing here decides
anything; ``diagnosis`` tries them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from models.webhooks.schemes import Scheme, key_of

__all__ = ["Digest", "Guess", "bodies", "contents", "digests_in", "shared_keys"]

_PREFIX: Final = re.compile(r"sha1=|sha256=|sha512=|v[0-9]a?[,=]")
_ALGORITHMS: Final = {20: "sha1", 32: "sha256", 64: "sha512"}
_BOM: Final = b"\xef\xbb\xbf"
_ENCODED_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Guess:
    """``what`` completes "the signature was made with ..."; ``None``: as it should be."""

    value: bytes = field(repr=False)
    what: str | None = None


@dataclass(frozen=True, slots=True)
class Digest:
    """A signature that a header may contain, by the size of it, and how it was written there."""

    raw: bytes
    algorithm: str
    encoding: str


def bodies(body: bytes) -> list[Guess]:
    """The body, and what a sender may have signed before something printed it anew."""
    forms = [(body, None), *_line_forms(body), *_json_forms(body)]
    return _distinct(Guess(form, what) for form, what in forms)


def shared_keys(scheme: Scheme, secret: str) -> list[Guess]:
    """The HMAC key this secret stands for, and what it is mistaken for."""
    proper = key_of(scheme, secret)
    text = secret.encode(errors="replace")
    bare = text.removeprefix(b"whsec_")
    prefixed = b"whsec_" + bare
    forms: list[tuple[bytes, str | None]] = [(proper.raw, None)] if proper else []
    forms += [
        (text, "the secret's text as it is as the key"),
        (bare, "the secret's text without whsec_ as the key"),
        (prefixed, "the secret's text with whsec_ before it as the key"),
        (_decoded(bare), "the secret base64-decoded as the key"),
        (_decoded(text), "the secret base64-decoded as a whole as the key"),
        (_unhexed(bare), "the secret hex-decoded as the key"),
        (text + b"\n", "a line break after the secret's text in the key"),
    ]
    return _distinct(Guess(form, what) for form, what in forms if form)


def contents(scheme: Scheme, ids: Sequence[str], times: Sequence[str]) -> list[Guess]:
    """What may have been put before the body: all orders of id and timestamp that occur."""
    proper = {Scheme.STANDARD: "id.timestamp.body", Scheme.HMAC: "timestamp.body"}
    expected = proper.get(scheme, "timestamp.body" if scheme is Scheme.STRIPE else "body")
    forms: list[tuple[str, str]] = [("body", "")]
    forms += [("timestamp.body", f"{at}.") for at in times]
    forms += [("timestamp and body without a dot", at) for at in times]
    forms += [("id.body", f"{name}.") for name in ids]
    forms += [("id.timestamp.body", f"{name}.{at}.") for name in ids for at in times]
    forms += [("timestamp.id.body", f"{at}.{name}.") for name in ids for at in times]
    forms.sort(key=lambda form: form[0] != expected)
    return _distinct(
        Guess(
            prefix.encode(errors="replace"),
            None if what == expected else f"{what} as what is signed, instead of {expected}",
        )
        for what, prefix in forms
    )


def digests_in(texts: Iterable[str]) -> list[Digest]:
    """All signatures that these texts may stand for, whatever their encoding and prefix."""
    found: list[Digest] = []
    for text in texts:
        bare = _PREFIX.sub("", text.strip(), count=1).encode(errors="replace")
        if len(bare) > _ENCODED_MOST:
            continue
        for encoding, raw in (("hex", _unhexed(bare)), ("base64", _decoded(bare))):
            if len(raw) in _ALGORITHMS:
                found.append(Digest(raw, _ALGORITHMS[len(raw)], encoding))
    return found


def _line_forms(body: bytes) -> Iterator[tuple[bytes, str]]:
    yield body.rstrip(b"\r\n"), "the body without the line break at its end"
    yield body + b"\n", "the body with a line break at its end"
    unix = body.replace(b"\r\n", b"\n")
    yield unix, "the body with LF line ends"
    yield unix.replace(b"\n", b"\r\n"), "the body with CRLF line ends"
    yield body.removeprefix(_BOM), "the body without its byte order mark"
    yield _BOM + body, "the body with a byte order mark"
    yield b"", "an empty body"


def _json_forms(body: bytes) -> Iterator[tuple[bytes, str]]:
    try:
        parsed = json.loads(body)
        compact, spaced = (",", ":"), (", ", ": ")
        layouts = {
            "compact": partial(json.dumps, separators=compact),
            "with spaces, as Python's json.dumps does": partial(json.dumps, separators=spaced),
            "indented by 2": partial(json.dumps, indent=2),
            "indented by 4": partial(json.dumps, indent=4),
            "indented by tabs": partial(json.dumps, indent="\t"),
        }
        for ordered in ("", " and its keys sorted"):
            for layout, dumps in layouts.items():
                for escaped in ("", " and \\u escapes"):
                    text = dumps(parsed, sort_keys=bool(ordered), ensure_ascii=bool(escaped))
                    what = f"the body re-serialised as JSON, {layout}{ordered}{escaped}"
                    form = text.encode(errors="surrogatepass")
                    yield form, what
                    yield form + b"\n", f"{what}, with a line break at its end"
        php = json.dumps(parsed, separators=compact).replace("/", "\\/")
        yield php.encode(), "the body re-serialised as JSON, compact with \\/ as PHP does"
    except (ValueError, RecursionError):
        return  # not JSON, or more than the parser takes


def _decoded(text: bytes) -> bytes:
    """Base64 of either alphabet, padded or not; empty where it is none."""
    stripped = text.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    try:
        return base64.b64decode(stripped + b"=" * (-len(stripped) % 4), validate=True)
    except binascii.Error:
        return b""


def _unhexed(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        return b""


def _distinct(guesses: Iterable[Guess]) -> list[Guess]:
    first: dict[bytes, Guess] = {}
    for guess in guesses:
        first.setdefault(guess.value, guess)
    return list(first.values())
