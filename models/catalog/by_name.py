"""Pages ordered by name, then id: the one order in which categories and farms are listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from coordination.errors import FieldError, InvalidInput

__all__ = ["MAX_LIMIT", "Page", "Position", "after_clause", "page_of", "require_limit"]

MAX_LIMIT: Final = 100
Position = tuple[str, int]
"""The name and id of the last item of the page before."""


class Named(Protocol):
    """What is listed by name."""

    @property
    def id(self) -> int: ...

    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


@dataclass(frozen=True, slots=True)
class Page(Generic[N]):
    """``next_after`` is the position to go on from; ``None`` at the end."""

    items: tuple[N, ...]
    next_after: Position | None


def require_limit(limit: int) -> None:
    """Raises ``InvalidInput`` unless a page may have this size."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidInput([FieldError("parameter", "limit", f"must be 1 to {MAX_LIMIT}")])


def after_clause(alias: str, after: Position | None) -> tuple[str, list[object]]:
    """The condition that follows a position, and its parameters.

    The redundant range is the form an index can use; see ``page_sql``.
    """
    if after is None:
        return "1 = 1", []
    name, last_id = after
    return (
        f"{alias}.name >= %s AND ({alias}.name > %s OR {alias}.id > %s)",
        [name, name, last_id],
    )


def page_of(items: Sequence[N], limit: int) -> Page[N]:
    """A page from up to ``limit + 1`` items, the last of which only tells that there are more."""
    shown = tuple(items[:limit])
    return Page(shown, (shown[-1].name, shown[-1].id) if len(items) > limit else None)
