"""The doctor knows servers that would quietly do something else than they are told."""

from __future__ import annotations

import pytest

from coordination.settings import DatabaseFeature
from ops.doctor.finding import Verdict
from ops.doctor.portability import examine_portability


@pytest.mark.parametrize(
    ("version", "without", "verdicts"),
    [
        ("10.11.6-MariaDB", set(), []),
        ("8.0.36", set(), []),
        ("8.0.11-TiDB-v8.5.6", set(), [Verdict.FAILED]),
        ("8.0.11-TiDB-v8.5.6", {"full_text"}, [Verdict.FAILED]),
        ("8.0.11-TiDB-v8.5.6", {"full_text", "skip_locked"}, [Verdict.FINE]),
        ("8.0.30-Vitess", {"skip_locked"}, [Verdict.FAILED]),
        ("8.0.30-Vitess", {"isolation_levels", "session_variables"}, [Verdict.FINE]),
    ],
)
def test_what_a_server_lacks_must_be_named(
    version: str, without: set[DatabaseFeature], verdicts: list[Verdict]
) -> None:
    assert [found.verdict for found in examine_portability(version, without)] == verdicts
