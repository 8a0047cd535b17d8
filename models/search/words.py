"""Which words a text has, and which of a query's a match must have. Pure.

Words are told apart as the engine's full-text index does: runs of letters, digits and ``_``, of at
least three characters, no stopword. Case and accents do not count.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, cast

__all__ = [
    "category_key",
    "farm_key",
    "folded",
    "has_all",
    "keys_of",
    "required_words",
    "word_key",
    "words_of",
]

# innodb_ft_min_token_size and innodb_ft_max_token_size, as they are by default.
_MIN_WORD: Final = 3
_MAX_WORD: Final = 84
_WORD: Final = re.compile(r"\w+")
# InnoDB's default stopwords (INFORMATION_SCHEMA.INNODB_FT_DEFAULT_STOPWORD).
_STOPWORDS: Final = frozenset(
    """a about an are as at be by com de en for from how i in is it la of on or that the this to
    was what when where who will with und www""".split()
)
_MAX_KEY: Final = 48


def required_words(q: str) -> list[str]:
    """The words a match must have: those the engine indexes at all."""
    return [word for word in dict.fromkeys(_WORD.findall(q.lower())) if _is_indexed(word)]


def words_of(text: str) -> set[str]:
    """The words of ``text`` without case and accents; of a query's text, those a match must have.

    Where the engine's collation equates more (``ß`` and ``ss``) or less than this, the two differ.
    """
    return {word for word in set(_WORD.findall(folded(text))) if _is_indexed(word)}


def word_key(word: str) -> bytes:
    """What a word is stored by; a long one by its digest."""
    key = word.encode()
    return key if len(key) <= _MAX_KEY else b"\x01" + hashlib.blake2b(key, digest_size=16).digest()


def keys_of(text: str) -> set[bytes]:
    """What the words of ``text`` are stored by, as ``words_of`` finds them."""
    keys = {
        _kept_key(word)
        for word in set(_WORD.findall(folded(text)))
        if _MIN_WORD <= len(word) <= _MAX_WORD
    }
    keys.discard(None)
    return cast("set[bytes]", keys)


@lru_cache(maxsize=32_768)
def _kept_key(word: str) -> bytes | None:
    """A word's key, if it is indexed: most words of a list come again and again."""
    return word_key(word) if _is_indexed(word) else None


def category_key(category_id: int) -> bytes:
    """What every product of this category has, as if it were a word."""
    return b"\x00c%d" % category_id


def farm_key(farm_id: int) -> bytes:
    """The same for a farm."""
    return b"\x00f%d" % farm_id


def has_all(required: Sequence[str], text: str) -> bool:
    """Whether ``text`` has all these words, which are as ``words_of`` gives them."""
    plain = folded(text)
    for word in required:  # noqa: SIM110 - asked of each row shown: a generator costs as much again
        if not _has(word, plain):
            return False
    return True


def _has(word: str, text: str) -> bool:
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        before, after = text[at - 1 : at], text[end : end + 1]
        # As the pattern's word characters; "" is none.
        if not (before.isalnum() or before == "_" or after.isalnum() or after == "_"):
            return True
        at = text.find(word, at + 1)
    return False


def _is_indexed(word: str) -> bool:
    return (
        _MIN_WORD <= len(word) <= _MAX_WORD
        and word not in _STOPWORDS
        and not (word[0] == "_" and not word.strip("_"))
    )


def folded(text: str) -> str:
    """``text`` without case and accents."""
    if text.isascii():
        return text.lower()
    bare = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in bare if not unicodedata.combining(letter))
