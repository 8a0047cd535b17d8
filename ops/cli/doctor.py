"""`farmlokal doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from ops.cli.outcome import AsJson, ExitCode, ending, print_result
from ops.doctor.database import examine_database
from ops.doctor.finding import Finding, Verdict
from ops.doctor.redis_servers import examine_redis
from ops.doctor.replicas import examine_replicas
from ops.doctor.settings import examine_settings
from ops.doctor.webhooks import examine_webhooks
from ops.operator_settings import load_operator_settings

__all__ = ["doctor_command"]

_MARKS: Final = {
    Verdict.FINE: ("ok", "green"),
    Verdict.ADVICE: ("note", "yellow"),
    Verdict.FAILED: ("FAIL", "bold red"),
    Verdict.UNREACHABLE: ("AWAY", "bold red"),
}


def doctor_command(as_json: AsJson = False) -> None:
    """Check settings, database, Redis and migrations, and say what to do. Changes nothing."""
    with ending(as_json=as_json):
        settings = load_operator_settings()
        database = examine_database(settings)
        findings = [
            *examine_settings(settings),
            *database,
            # That it is away, or has no tables yet, is told above.
            *(examine_webhooks(settings) if _is_migrated(database) else []),
            *(examine_replicas(settings) if _is_migrated(database) else []),
            *examine_redis(settings),
        ]
        code = exit_code(findings)
        if as_json:
            print_result(
                {
                    "ok": code is ExitCode.DONE,
                    "exit_code": int(code),
                    "findings": [
                        {
                            "area": finding.area,
                            "name": finding.name,
                            "verdict": finding.verdict,
                            "detail": finding.detail,
                            "todo": finding.todo,
                        }
                        for finding in findings
                    ],
                }
            )
        else:
            _print(findings)
        raise typer.Exit(code)


def exit_code(findings: Sequence[Finding]) -> ExitCode:
    """3 when a server is away, 1 when a check failed, else 0: advice does not fail."""
    verdicts = {finding.verdict for finding in findings}
    if Verdict.UNREACHABLE in verdicts:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if Verdict.FAILED in verdicts else ExitCode.DONE


def _is_migrated(database: Sequence[Finding]) -> bool:
    return any(f.name == "migrations" and f.verdict is Verdict.FINE for f in database)


def _print(findings: Sequence[Finding]) -> None:
    console = Console(highlight=False)
    for finding in findings:
        word, style = _MARKS[finding.verdict]
        line = Text.assemble(
            (f"{word:<5}", style), f"{finding.area:<12} {finding.name}: {finding.detail}"
        )
        console.print(line, soft_wrap=True)
        if finding.todo:
            console.print(Text(f"      → {finding.todo}"), soft_wrap=True)
