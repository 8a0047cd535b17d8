"""What is made of pip-audit's report: a known fault fails, what was not looked up is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.audit import main, verdict_of

GOOD = {"name": "good", "version": "1.0", "vulns": []}
SKIPPED = {"name": "unheard", "skip_reason": "not found and could not be audited"}
BAD = {
    "name": "bad",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


def report(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_vulnerability_fails_and_is_named() -> None:
    verdict = verdict_of(report(GOOD, BAD, SKIPPED))
    assert verdict.is_failure
    assert "bad 2.0: PYSEC-1, mended in 2.1" in verdict.text
    assert "bad 2.0: PYSEC-2, mended in no version yet" in verdict.text


def test_none_known_passes_and_names_what_was_not_looked_up() -> None:
    verdict = verdict_of(report(GOOD, SKIPPED))
    assert not verdict.is_failure
    assert "of 1 pinned packages" in verdict.text
    assert "unheard" in verdict.text


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"dependencies": 1}', report(), report(SKIPPED, SKIPPED)]
)
def test_nothing_looked_up_is_said_loudly_and_fails_nobody(text: str) -> None:
    """Without a network nobody could work otherwise; and silence would be taken for a pass."""
    verdict = verdict_of(text)
    assert not verdict.is_failure
    assert "NOT AUDITED" in verdict.text


def test_without_the_program_it_is_said_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert main("/nowhere/pip-audit") == 0
    assert "NOT AUDITED" in capfd.readouterr().err


def test_the_program_is_given_the_pins(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A known fault makes it fail by its own exit code, which is not what is judged."""
    program = tmp_path / "pip-audit"
    pins = Path(__file__).resolve().parents[2] / "constraints.txt"
    program.write_text(
        f"#!/bin/sh\ncase \"$*\" in *'{pins}'*) echo '{report(BAD)}' ;; esac\nexit 1\n"
    )
    program.chmod(0o755)
    assert main(str(program)) == 1
    assert "PYSEC-1" in capfd.readouterr().err
