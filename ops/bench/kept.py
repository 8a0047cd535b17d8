"""A large catalogue that stays from run to run: made once, found again while nothing changed.

It is a MariaDB's data directory and a note of what is in it. A note that does not fit, because
another number is wanted or the schema has changed since, means that all of it is made anew.
What measuring left behind (events, changes, keys) is cleared away at the start of each part.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pymysql.err import MySQLError

import models.migrations
from coordination.settings import Settings, load_settings
from models.database import open_database
from models.feed.numbering import number_all
from models.migrate import migrate
from models.search.indexing import count_unindexed, index_products
from ops.bench.mariadb import Account, start_server
from ops.bench.mix_products import MIX_VERSION, add_mix_products
from ops.bench.processes import Processes
from ops.seed.seeding import DEFAULT_SEED, seed_catalogue

__all__ = ["DATABASE", "Kept", "kept_catalogue"]

DATABASE: Final = "farmlokal_bench"
_NOTE: Final = "filled.json"
_STOP_WITHIN_S: Final = 120
_INDEXED_FOR_S: Final = 60.0
_CLEARED: Final = (
    *("webhook_events", "webhook_event_history", "webhook_partner_keys", "webhook_secrets"),
    *("webhook_partners", "entity_kept_values", "entity_watermarks", "tallies", "outbox"),
    *("product_changes", "idempotency_keys", "imports", "import_chunks", "import_faults"),
    *("api_keys",),
)


@dataclass(frozen=True, slots=True)
class _Note:
    """What is in the directory. Times of its making, for ``make bench-growth``."""

    products: int
    seed: int
    schema: str
    mix: int
    loading_s: float = 0.0
    indexing_s: float = 0.0
    words_s: float = 0.0

    def is_like(self, other: _Note) -> bool:
        mine = (self.products, self.seed, self.schema, self.mix)
        return mine == (other.products, other.seed, other.schema, other.mix)


@dataclass(frozen=True, slots=True)
class Kept:
    """A running server with ``products`` products, and 10,000 in categories of the mix."""

    account: Account
    products: int
    loading_s: float
    """Seconds that the rows took when they were made, without indexes."""
    indexing_s: float
    """Seconds that building the indexes took."""
    words_s: float
    """Seconds that building the search's index of words took, by one process."""

    @property
    def url(self) -> str:
        """As DATABASE_URL takes it."""
        return self.account.url(DATABASE)

    def clear(self) -> None:
        """Empty every table but those of the catalogue. Nobody may be working on them.

        The search index follows the changes before they go.
        """
        asyncio.run(_index(load_settings(database_url=self.url)))
        with self.account.cursor(DATABASE) as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            for table in _CLEARED:
                cursor.execute(f"TRUNCATE TABLE `{table}`")
            cursor.execute("UPDATE feed_position SET position = 0, purged_through = 0")
            cursor.execute("UPDATE search_index SET through = 0")


@contextmanager
def kept_catalogue(
    processes: Processes,
    home: Path,
    products: int,
    buffer_pool_mib: int,
    say: Callable[[str], None],
) -> Iterator[Kept]:
    """Start the server that has so many products below ``home``, making them if need be.

    It is shut down cleanly at the end. Raises ``Misconfigured`` without a MariaDB.
    """
    place = home / f"products-{products}"
    wanted = _Note(products, DEFAULT_SEED, _schema(), MIX_VERSION)
    found = _read(place / _NOTE)
    if found is None or not found.is_like(wanted):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        found = None
    options = (
        f"--innodb-buffer-pool-size={buffer_pool_mib}M",
        # The rest as by default; a large redo log only spares the filling of the tables.
        "--innodb-log-file-size=512M",
    )
    account = start_server(processes, place, *options)
    try:
        if found is None:
            say(f"making {products:,} products; they are kept in {place}")
            found = _fill(account, wanted, say)
            (place / _NOTE).write_text(json.dumps(asdict(found)))
        yield Kept(account, products, found.loading_s, found.indexing_s, found.words_s)
    finally:
        _stop(account)


def _fill(account: Account, wanted: _Note, say: Callable[[str], None]) -> _Note:
    with account.cursor() as cursor:
        cursor.execute(
            f"CREATE DATABASE `{DATABASE}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        )
    settings = load_settings(database_url=account.url(DATABASE))
    asyncio.run(migrate(settings))
    began_at = time.monotonic()
    indexing_at: list[float] = []

    def phase(words: str) -> None:
        say(words)
        indexing_at.append(time.monotonic())

    _seed(settings, wanted, phase)
    ended_at = time.monotonic()
    loaded_at = indexing_at[0] if indexing_at else ended_at
    add_mix_products(account, DATABASE)
    say("Building the index of words")
    mixed_at = time.monotonic()
    asyncio.run(_index(settings))
    return _Note(
        wanted.products,
        wanted.seed,
        wanted.schema,
        wanted.mix,
        loading_s=loaded_at - began_at,
        indexing_s=ended_at - loaded_at,
        words_s=time.monotonic() - mixed_at,
    )


def _seed(settings: Settings, wanted: _Note, phase: Callable[[str], None]) -> None:
    seed_catalogue(
        settings,
        count=wanted.products,
        seed=wanted.seed,
        progress=lambda _count: None,
        phase=phase,
    )


async def _index(settings: Settings) -> None:
    """Bring the search index up to date."""
    db = await open_database(settings)
    try:
        await number_all(db)
        while await count_unindexed(db, 1):
            await index_products(db, _INDEXED_FOR_S)
    finally:
        await db.close()


def _read(note: Path) -> _Note | None:
    try:
        return _Note(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _schema() -> str:
    """A digest of all migrations."""
    folder = Path(next(iter(models.migrations.__path__)))
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _stop(account: Account) -> None:
    """A killed server would have to recover at the next start, before it measures anything."""
    with suppress(MySQLError), account.cursor() as cursor:
        cursor.execute("SHUTDOWN")
    ends_at = time.monotonic() + _STOP_WITHIN_S
    with suppress(MySQLError):
        while time.monotonic() < ends_at:
            with account.cursor():
                time.sleep(0.1)
