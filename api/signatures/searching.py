"""Which of a partner's secrets made a signature, however it was made.

A search through everything ``guesses`` knows, for operators: it takes up to seconds and does not
hide its time, so no request may wait for it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from api.signatures.guesses import Digest, Guess, bodies, contents, digests_in, shared_keys
from api.signatures.offers import KnownSecret, Offered
from api.signatures.verifying import seal_is_of
from models.webhooks.schemes import HEADERS, KeyKind, Scheme, key_of

__all__ = ["Match", "search", "sent_digests", "sent_times"]

_MOST_ENTRIES: Final = 16
_MOST_TEXTS: Final = 3
_BASE64_SCHEMES: Final = frozenset({Scheme.STANDARD, Scheme.SHOPIFY})


@dataclass(frozen=True, slots=True)
class Match:
    """This secret made it. ``deviations`` are the words for all that was not as it should be."""

    secret_id: int
    deviations: tuple[str, ...]


def search(scheme: Scheme, offered: Offered, secrets: Sequence[KnownSecret]) -> Match | None:
    """The explanation with the fewest deviations, ``None`` if there is none."""
    digests = sent_digests(scheme, offered)
    if not digests:
        return None
    prefixes = contents(scheme, _sent_ids(offered), sent_times(offered))
    forms = bodies(offered.body)
    best: Match | None = None
    for secret in secrets:
        key = key_of(scheme, secret.value)
        if key is not None and key.kind is KeyKind.PUBLIC:
            found = _by_seals(secret.id, key.raw, digests, prefixes, forms)
        else:
            keys = shared_keys(scheme, secret.value)
            found = _by_macs(scheme, secret.id, keys, digests, prefixes, forms)
        for match in found:
            if best is None or len(match.deviations) < len(best.deviations):
                best = match
    return best


def sent_digests(scheme: Scheme, offered: Offered) -> list[Digest]:
    """All that may be a signature in the headers where this scheme has it."""
    texts = list(offered.headers.get(HEADERS[scheme].signature, ()))
    if scheme is Scheme.GITHUB:
        texts += offered.headers.get("x-hub-signature", ())
    separator = {Scheme.STANDARD: " ", Scheme.STRIPE: ","}.get(scheme)
    if separator is not None:
        texts = [part for text in texts for part in text.split(separator, _MOST_ENTRIES)]
    return digests_in(texts[:_MOST_ENTRIES])


def sent_times(offered: Offered) -> list[str]:
    """The texts of all timestamps of any scheme."""
    texts = [
        text
        for names in HEADERS.values()
        if names.timestamp is not None
        for text in offered.headers.get(names.timestamp, ())
    ]
    for header in offered.headers.get(HEADERS[Scheme.STRIPE].signature, ()):
        items = (item.strip() for item in header.split(",", _MOST_ENTRIES))
        texts += [item.removeprefix("t=") for item in items if item.startswith("t=")]
    return list(dict.fromkeys(texts))[:_MOST_TEXTS]


def _sent_ids(offered: Offered) -> list[str]:
    names = (name for names in HEADERS.values() for name in names.ids)
    texts = (text for name in names for text in offered.headers.get(name, ()))
    return list(dict.fromkeys(texts))[:_MOST_TEXTS]


def _by_macs(
    scheme: Scheme,
    secret_id: int,
    keys: Iterable[Guess],
    digests: Sequence[Digest],
    prefixes: Sequence[Guess],
    forms: Sequence[Guess],
) -> Iterator[Match]:
    wanted = {digest.raw: digest for digest in digests}
    algorithms = {digest.algorithm for digest in digests}
    expected = "base64" if scheme in _BASE64_SCHEMES else "hex"
    for algorithm, key in product(algorithms, keys):
        keyed = hmac.new(key.value, digestmod=algorithm)
        for prefix, form in product(prefixes, forms):
            mac = keyed.copy()
            mac.update(prefix.value)
            mac.update(form.value)
            digest = wanted.get(mac.digest())
            if digest is None:
                continue
            words = [key.what, prefix.what, form.what]
            if algorithm != "sha256":
                words.append(f"HMAC-{algorithm.upper()} instead of HMAC-SHA256")
            if digest.encoding != expected:
                words.append(f"{digest.encoding} as its encoding instead of {expected}")
            yield Match(secret_id, tuple(word for word in words if word is not None))


def _by_seals(
    secret_id: int,
    public_key: bytes,
    digests: Sequence[Digest],
    prefixes: Sequence[Guess],
    forms: Sequence[Guess],
) -> Iterator[Match]:
    seals = [digest for digest in digests if len(digest.raw) == 64]
    for seal, prefix, form in product(seals, prefixes, forms):
        if seal_is_of(public_key, seal.raw, prefix.value + form.value):
            words = [prefix.what, form.what]
            if seal.encoding != "base64":
                words.append("hex as its encoding instead of base64")
            yield Match(secret_id, tuple(word for word in words if word is not None))
