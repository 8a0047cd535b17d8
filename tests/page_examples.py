"""The examples of a page of docs/: read from its Markdown, run as they stand.

A ``console`` block holds commands after ``$ `` (a line that ends with a backslash goes on), each
followed by what it prints. A ``python`` block is a program; the ``text`` block after it is what it
prints. Whatever differs from run to run (ids, times, addresses, rates) is masked on both sides.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Example", "comparable", "examples_of", "run", "uuids_in"]

_FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$|^## ([^\n]+)$", re.MULTILINE | re.DOTALL)
_UUID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_MASKS: Final = (
    (_UUID, "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+Z)?"), "<time>"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "<url>"),
    (re.compile(r"\bin [\d,]+\.\d s\b"), "in <some> s"),
    (re.compile(r"\"next_cursor\": ?\"[\w-]+\""), '"next_cursor": "<cursor>"'),
    (re.compile(r"(\"rate_per_s\": ?|^rate +)[\d.]+", re.MULTILINE), r'\1"<rate>"'),
)
_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Example:
    """One command, or one program, and what the page says it prints. ``line`` is its place."""

    section: str
    line: int
    language: str
    source: str
    shown: str


def examples_of(page: Path) -> list[Example]:
    """All of them, in the page's order."""
    text = page.read_text()
    found: list[Example] = []
    section = ""
    for match in _FENCED.finditer(text):
        language, body, heading = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if heading is not None:
            section = heading
        elif language == "console":
            found += _commands(section, line + 1, body)
        elif language == "python":
            found.append(Example(section, line + 1, "python", body, ""))
        elif language == "text":
            program = found.pop()
            found.append(Example(section, program.line, "python", program.source, body))
    return found


def _commands(section: str, first_line: int, body: str) -> list[Example]:
    found: list[Example] = []
    lines = body.splitlines()
    at = 0
    while at < len(lines):
        begin = at
        command = [lines[at].removeprefix("$ ")]
        if command[0] == lines[at]:
            raise ValueError(f"line {first_line + at} belongs to no command")
        while command[-1].endswith("\\"):
            at += 1
            command.append(lines[at])
        at += 1
        shown = []
        while at < len(lines) and not lines[at].startswith("$ "):
            shown.append(lines[at])
            at += 1
        source, told = "\n".join(command), "\n".join(shown)
        found.append(Example(section, first_line + begin, "bash", source, told))
    return found


def run(example: Example, directory: Path, environment: Mapping[str, str]) -> str:
    """What it prints, errors among it, as on a terminal."""
    start = {"python": [sys.executable, "-c"], "bash": ["bash", "-c"]}[example.language]
    ended = subprocess.run(
        [*start, example.source],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=_TIMEOUT_S,
        cwd=directory,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    return ended.stdout


def comparable(printed: str) -> object:
    """The same for two runs of one example: JSON as what it says, anything else as its lines."""
    for pattern, mask in _MASKS:
        printed = pattern.sub(mask, printed)
    try:
        told: object = json.loads(printed)
    except ValueError:
        return "\n".join(line.rstrip() for line in printed.splitlines()).strip("\n")
    return told


def uuids_in(printed: str) -> Sequence[str]:
    """Whatever ids it shows."""
    return _UUID.findall(printed)
