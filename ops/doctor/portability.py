"""Whether ``DATABASE_WITHOUT`` names what the server, by what it calls itself, cannot do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from coordination.settings import DatabaseFeature
from ops.doctor.finding import Finding, failed, fine

__all__ = ["examine_portability"]

# Those that would not fail at once but do something else than they say; see docs/operations.md.
_SILENT: Final[dict[str, tuple[DatabaseFeature, ...]]] = {
    "tidb": ("skip_locked", "full_text"),
    "vitess": ("isolation_levels", "session_variables"),
}


def examine_portability(version: str, without: Collection[DatabaseFeature]) -> list[Finding]:
    """Nothing to say of MariaDB and MySQL themselves. ``version``: the server's own words."""
    for name, lacking in _SILENT.items():
        if name in version.lower():
            missing = [feature for feature in lacking if feature not in without]
            if missing:
                todo = f"Add {','.join(missing)} to DATABASE_WITHOUT (docs/operations.md, Growing)."
                return [failed("database", "DATABASE_WITHOUT", f"{version} lacks more", todo)]
            return [fine("database", "DATABASE_WITHOUT", ", ".join(sorted(without)))]
    return []
