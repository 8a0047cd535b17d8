"""The follower of docs/changes.md, run as it stands against a running API and worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import eventually
from tests.processes import ApiProcess, WorkerProcess
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

_PAGE = Path(__file__).parents[2] / "docs" / "changes.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def api(mariadb: SqlServer, redis_server: PrivateRedis, tmp_path: Path) -> Iterator[RunningApi]:
    with (
        running_api(mariadb, redis_server, tmp_path) as started,
        WorkerProcess(started.process.environment),
    ):
        yield started


def test_the_follower_of_the_page_keeps_a_mirror(
    api: RunningApi, mariadb: SqlServer, tmp_path: Path
) -> None:
    """It starts with what is there, follows, and starts anew when its cursor is of no use."""
    (example,) = _BLOCK.findall(_PAGE.read_text())
    told, faults = tmp_path / "told", tmp_path / "faults"
    with (
        told.open("wb") as output,
        faults.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, "-c", example],
            stdout=output,
            stderr=errors,
            env={"PATH": os.environ["PATH"], "FARMLOKAL_URL": api.url},
        ) as follower,
    ):

        def says(count: int) -> None:
            eventually(
                lambda: told.read_text().endswith(f"{count} products\n"),
                deadline_s=15,
                describe=faults.read_text,
            )

        try:
            says(5)
            with api.client(api.key) as client:
                client.delete(f"/v1/products/{api.product_id}").raise_for_status()
            says(4)
            # Two changes that nobody will ever read: what follows its place is gone.
            (feed,) = mariadb.rows("SELECT position FROM feed_position", database=api.database)
            beyond = feed["position"] + 2
            sql = "UPDATE feed_position SET position = %s, purged_through = %s"
            mariadb.execute(sql, [beyond, beyond], database=api.database)
            api.process.wait_for_log(lambda line: line.get("status_code") == 410)
            with api.client(api.key) as client:
                (kept,) = client.get("/v1/products?limit=1").json()["data"]
                client.delete(f"/v1/products/{kept['id']}").raise_for_status()
            says(3)
            # The server goes away; when it is back, it does not know its cursors any more.
            api.process.terminate()
            environment = {**api.process.environment, "CURSOR_SECRET": "n" * 32}
            with (
                ApiProcess(environment, port=api.process.port) as anew,
                api.client(api.key) as client,
            ):
                anew.wait_for_log(lambda line: line.get("status_code") == 400)
                (kept,) = client.get("/v1/products?limit=1").json()["data"]
                client.delete(f"/v1/products/{kept['id']}").raise_for_status()
                says(2)
            assert follower.poll() is None
        finally:
            follower.kill()
