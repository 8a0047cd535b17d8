"""The examples partners copy from docs/webhooks.md, run as they stand against a running API."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fleet import Fleet, api_fleet
from tests.servers import PrivateRedis, SqlServer
from tests.webhook_senders import Sender, add_senders

_PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
_BLOCK = re.compile(r"^```(python|javascript|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLES = dict(_BLOCK.findall(_PAGE.read_text()))
_RUN = {
    "python": ([sys.executable, "-c"], ()),
    "javascript": (["node", "-e"], ("node",)),
    "bash": (["bash", "-c"], ("bash", "curl", "openssl")),
}


@pytest.fixture
async def fleet(
    mariadb: SqlServer,
    fresh_queue_redis: PrivateRedis,
    fresh_cache_redis: PrivateRedis,
    tmp_path: Path,
) -> AsyncIterator[tuple[Fleet, str]]:
    """One API process and the secret of the partner of the page."""
    async with api_fleet(
        mariadb, tmp_path, queue=fresh_queue_redis, cache=fresh_cache_redis, processes=1
    ) as fleet:
        url = mariadb.url(fleet.database)
        (sender,) = (await add_senders(tmp_path, url, [Sender("hill-supply")])).values()
        yield fleet, sender.secret


def test_the_page_has_an_example_for_each_language() -> None:
    """Or the test below would pass without having run anything."""
    assert set(_EXAMPLES) == set(_RUN)


@pytest.mark.parametrize("language", sorted(_RUN))
async def test_the_example_is_accepted(language: str, fleet: tuple[Fleet, str]) -> None:
    """A partner's first minutes decide whether they trust the rest."""
    command, needed = _RUN[language]
    if missing := [program for program in needed if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    running, secret = fleet
    ended = await asyncio.to_thread(
        subprocess.run,
        [*command, _EXAMPLES[language]],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": os.environ["PATH"],
            "FARMLOKAL_URL": running.processes[0].url,
            "FARMLOKAL_PARTNER": "hill-supply",
            "FARMLOKAL_SECRET": secret,
        },
    )
    assert ended.returncode == 0, ended.stderr
    assert "202" in ended.stdout
    assert '"receipt"' in ended.stdout
