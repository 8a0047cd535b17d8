"""Settings that are a JSON object in one variable. Texts of faults repeat nothing of the value."""

from __future__ import annotations

import json

__all__ = ["parse_object"]


def parse_object(text: str, example: str) -> dict[str, object]:
    """The object, no member named twice at any depth. Raises ``ValueError``, also for no object."""
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(value, dict):
        # ValueError is what pydantic turns into a message.
        raise ValueError(f"must be a JSON object such as {example}")  # noqa: TRY004
    return value


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("names a member twice")
    return members
