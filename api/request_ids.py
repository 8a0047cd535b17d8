"""The id of a request: the client's own where it is harmless, else a new one."""

from __future__ import annotations

import re
from random import getrandbits
from typing import Final

__all__ = ["accepted_id"]

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def accepted_id(given: str | None) -> str:
    """``given`` if it is well-formed. It goes into headers and logs as it is."""
    return given if given and _REQUEST_ID.fullmatch(given) else _new_id()


def _new_id() -> str:
    """A UUID of version 4, quicker than ``uuid4``: it is for telling apart, and no secret."""
    drawn = f"{getrandbits(128):032x}"
    return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-a{drawn[17:20]}-{drawn[20:]}"
