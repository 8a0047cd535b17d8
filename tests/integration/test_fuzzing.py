"""Schemathesis against a running API, by the document that the API serves itself.

Valid and invalid data, single requests and chains of them, with a key, with wrong ones and without:
whatever comes back has a status, a schema, a media type and headers that are in the document, and
is never our fault. FUZZ_EXAMPLES asks for a longer, random search than the same one each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import ROUTES
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

pytestmark = pytest.mark.timeout(600)

_HERE = Path(__file__).parent / "fuzzing"
_EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
_OPERATIONS = len(ROUTES) - 1  # Schemathesis leaves out the one it reads the document from


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    with running_api(mariadb, redis_server, tmp_path_factory.mktemp("fuzzing")) as started:
        yield started


def test_with_a_key(api: RunningApi, tmp_path: Path) -> None:
    """All phases: examples, boundaries, random data, and chains of dependent requests."""
    key = f"Authorization: Bearer {api.key}"
    told = _fuzz(api, tmp_path, "--header", key, "--max-examples", _EXAMPLES or "15")
    assert f"Tested: {_OPERATIONS}" in told, told
    assert "Skipped" not in told, told


def test_without_a_key(api: RunningApi, tmp_path: Path) -> None:
    """Reads answer all the same, and writes are refused in the documented form."""
    _fuzz(api, tmp_path, "--phases", "coverage,fuzzing", "--max-examples", _EXAMPLES or "10")


def test_with_a_key_that_may_not_write(api: RunningApi, tmp_path: Path) -> None:
    """A valid key without the scope is refused as the document says."""
    key = f"Authorization: Bearer {api.reader_key}"
    _fuzz(api, tmp_path, "--header", key, "--phases", "coverage", "--mode", "positive")


def _fuzz(api: RunningApi, directory: Path, *arguments: str) -> str:
    """Run Schemathesis to its end and return what it said; fail with that when it found a fault."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(_HERE / "schemathesis.toml")),
            *("run", f"{api.url}/openapi.json", "--continue-on-failure", *arguments),
            *(("--seed", str(os.getpid())) if _EXAMPLES else ()),
        ],
        cwd=directory,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.integration.fuzzing.hooks",
            "PYTHONPATH": str(_HERE.parents[2]),
            "FUZZ_FARM": str(api.farm),
            "FUZZ_CATEGORY": api.category,
            "FUZZ_PRODUCT": api.product_id,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=560,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout}\n{api.process.last_words()}"
    return run.stdout
