"""Texts of files as people may be shown them: on one line, without what a terminal obeys."""

from __future__ import annotations

__all__ = ["printable"]

_UNPRINTABLE = "\ufffd"


def printable(text: str) -> str:
    """The text, its white space as spaces and the rest of what has no shape as U+FFFD."""
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else _UNPRINTABLE
