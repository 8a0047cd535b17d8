"""What a partner can be called: it is part of the address its webhooks go to."""

from __future__ import annotations

import re
from typing import Final

from coordination.errors import FieldError, InvalidInput, NotFound

__all__ = ["check_name", "is_partner_name", "require_partner_name", "unknown_partner"]

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME_CHARACTERS: Final = 64
_RESERVED: Final = frozenset({"events"})
"""Beside ``/v1/webhooks/{partner}`` there is ``/v1/webhooks/events``."""


def is_partner_name(name: str) -> bool:
    """Whether a partner can be called this: words of a-z and 0-9 joined by hyphens."""
    return (
        len(name) <= _NAME_CHARACTERS
        and _NAME.fullmatch(name) is not None
        and name not in _RESERVED
    )


def check_name(name: str) -> None:
    """Raises ``InvalidInput`` for what no partner can be called."""
    if name in _RESERVED:
        detail = f"{name!r} is reserved: other addresses begin with it"
    elif not is_partner_name(name):
        detail = f"must be words of a-z and 0-9 joined by hyphens, {_NAME_CHARACTERS} at most"
    else:
        return
    raise InvalidInput([FieldError("pointer", "/name", detail)])


def require_partner_name(name: str) -> str:
    """``name``, if any partner can be called so. Raises ``NotFound``."""
    if not is_partner_name(name):
        raise unknown_partner(name)
    return name


def unknown_partner(name: str) -> NotFound:
    """What to raise for a name that no partner has."""
    return NotFound(f"There is no partner {name!r}.")
