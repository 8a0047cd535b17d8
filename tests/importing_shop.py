"""A shop that imports lists, and the desk of someone who tries the examples of docs/imports.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from models.imports.stages import OVER
from tests.page_examples import Example, examples_of, run
from tests.polling import DeadlinePassedError, eventually
from tests.processes import SchedulerProcess, WorkerProcess, environment_for
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

__all__ = ["PAGE", "PROGRAMS", "ImportingShop", "examples", "importing_shop"]

PAGE: Final = Path(__file__).parents[1] / "docs" / "imports.md"
PROGRAMS: Final = ("bash", "cat", "curl")
"""What the examples need beside Python."""
_FILES: Final = (PAGE.parent / "examples", PAGE.parents[1] / "ops" / "data")
_END_WITHIN_S: Final = 60


@dataclass
class ImportingShop:
    """What runs, and where the examples are tried: a directory that holds their files."""

    api: RunningApi
    worker: WorkerProcess
    desk: Path
    environment: dict[str, str]
    client: httpx.Client
    last_id: str = field(default="", init=False)
    """Of the import that curl was answered last; the page calls it ``ID``."""

    def try_out(self, example: Example) -> str:
        """What the example prints. One that asks for ``$ID`` is tried when that import is over."""
        if "$ID" in example.source:
            self.ended(self.last_id)
        try:
            printed = run(example, self.desk, {**self.environment, "ID": self.last_id})
        except subprocess.TimeoutExpired as error:
            raise DeadlinePassedError(f"{error}\n{self.worker.last_words()}") from None
        if printed.startswith('{"id":'):
            self.last_id = json.loads(printed)["id"]
        return printed

    def ended(self, import_id: str) -> dict[str, Any]:
        """The import once it is over."""

        def look() -> dict[str, Any] | None:
            job: dict[str, Any] = self.client.get(f"/v1/imports/{import_id}").json()
            return job if job["state"] in OVER else None

        return eventually(look, deadline_s=_END_WITHIN_S, describe=self.worker.last_words)


@contextmanager
def importing_shop(mariadb: SqlServer, redis: PrivateRedis, home: Path) -> Iterator[ImportingShop]:
    """Start it; its farm is number 1, and ``eggs`` its only category."""
    desk = home / "desk"
    for source in _FILES:
        shutil.copytree(source, desk, dirs_exist_ok=True)
    with running_api(mariadb, redis, home) as api, api.client(api.key) as client:
        environment = environment_for(
            home,
            database_url=mariadb.url(api.database),
            redis_url=redis.url,
            SWEEP_INTERVAL_S="1",
        )
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "LC_ALL": "C.UTF-8"}
        asking = {"FARMLOKAL_URL": api.url, "FARMLOKAL_KEY": api.key}
        with SchedulerProcess(environment), WorkerProcess(environment) as worker:
            yield ImportingShop(api, worker, desk, {**environment, **own, **asking}, client)


def examples(*, of_section: str | None = None, but_section: str | None = None) -> list[Example]:
    """The page's examples: of one section, or of all others."""
    return [
        example
        for example in examples_of(PAGE)
        if (of_section is None or example.section == of_section) and example.section != but_section
    ]
