"""``If-Match`` (RFC 9110, section 13.1.1): may this writer change what it last saw?

Call it under the row's lock, with the ETag of the representation the row has now. Comparison is
strong: a weak tag never matches.
"""

from __future__ import annotations

import re
from typing import Final

from coordination.errors import FieldError, InvalidInput, PreconditionFailed

__all__ = ["check_if_match"]

# One element of the list, perhaps empty, and the comma or end behind it. A tag may hold commas.
_ELEMENT: Final = re.compile(
    r"[ \t]*(?P<tag>(?P<weak>W/)?\"[\x21\x23-\x7e\x80-\xff]*\")?[ \t]*(?:,|$)"
)


def check_if_match(if_match: str | None, current_etag: str) -> None:
    """Pass when there is no condition, or it is ``*`` or lists ``current_etag``.

    The caller has found the thing to exist, so ``*`` always holds. Raises ``PreconditionFailed``,
    and ``InvalidInput`` for a header that is no list of entity tags.
    """
    if if_match is None or if_match.strip(" \t") == "*":
        return
    if current_etag not in _strong_tags(if_match):
        raise PreconditionFailed("It has changed since; read it again.")


def _strong_tags(if_match: str) -> set[str]:
    strong: set[str] = set()
    seen = False
    at = 0
    while at < len(if_match):
        element = _ELEMENT.match(if_match, at)
        if element is None:
            seen = False
            break
        if element["tag"]:
            seen = True
            if not element["weak"]:
                strong.add(element["tag"])
        at = element.end()
    if not seen:
        detail = 'must be * or a list of entity tags such as "abc"'
        raise InvalidInput([FieldError("header", "If-Match", detail)])
    return strong
