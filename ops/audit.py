"""``make audit``: are vulnerabilities known of the packages we pin? pip-audit asks, this judges.

pip-audit calls it a success when it could look nothing up, as behind a mirror that knows names and
files alone. Here that is said loudly, and is no failure: nobody can mend it in this repository.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Verdict", "main", "verdict_of"]

_DEADLINE_S: Final = 180
_TIMEOUT_S: Final = 10
_PINS: Final = Path(__file__).resolve().parent.parent / "constraints.txt"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to print, and whether that fails the check."""

    text: str
    is_failure: bool


def verdict_of(report: str) -> Verdict:
    """Judge pip-audit's JSON; what is no such JSON means that nothing was audited."""
    try:
        packages: list[dict[str, Any]] = json.loads(report)["dependencies"]
        skipped = [one["name"] for one in packages if "skip_reason" in one]
        found = [
            f"  {one['name']} {one['version']}: {fault['id']},"
            f" mended in {', '.join(fault['fix_versions']) or 'no version yet'}"
            for one in packages
            for fault in one.get("vulns", ())
        ]
    except (ValueError, KeyError, TypeError):
        return _not_audited("the source of known vulnerabilities did not answer")
    audited = len(packages) - len(skipped)
    if found:
        return Verdict("\n".join(["Vulnerabilities are known:", *found]), is_failure=True)
    if not audited:
        return _not_audited("the source of known vulnerabilities knows none of the packages")
    text = f"No vulnerability is known of {audited} pinned packages."
    if skipped:
        text += f"\n!!! {len(skipped)} could not be looked up: {', '.join(sorted(skipped))}"
    return Verdict(text, is_failure=False)


def _not_audited(why: str) -> Verdict:
    return Verdict(f"!!! The dependencies were NOT AUDITED: {why}.", is_failure=False)


def main(program: str) -> int:
    """Run pip-audit on the pins; the exit code for ``make``."""
    command = [program, "--requirement", str(_PINS), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", str(_TIMEOUT_S)]
    try:
        done = subprocess.run(  # noqa: S603 - a program that make installed
            command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        )
    except OSError:
        verdict = _not_audited("pip-audit could not be installed")
    except subprocess.TimeoutExpired:
        verdict = verdict_of("")
    else:
        verdict = verdict_of(done.stdout)
    print(verdict.text, file=sys.stderr)
    return int(verdict.is_failure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
