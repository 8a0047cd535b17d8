"""Whatever looks at the clock on the wall is in the table of docs/operations.md, with its bound."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("api", "actors", "scheduler", "models", "coordination")
LOOKS = {
    *(("time", name) for name in ("time", "time_ns", "localtime", "gmtime", "strftime", "ctime")),
    *(("datetime", name) for name in ("now", "utcnow", "today")),
    ("date", "today"),
}


def looks_at_the_wall(file: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in LOOKS
        for node in ast.walk(ast.parse(file.read_text()))
    )


def test_every_use_of_the_wall_clock_is_listed_with_its_bound() -> None:
    """A new one must say what two minutes do to it."""
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    _, _, section = text.partition("\n## Clocks\n")
    section, _, _ = section.partition("\n## ")
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row[1])}
    found = {
        str(file.relative_to(REPOSITORY))
        for room in ROOMS
        for file in (REPOSITORY / room).rglob("*.py")
        if looks_at_the_wall(file)
    }
    assert found
    assert listed == found
