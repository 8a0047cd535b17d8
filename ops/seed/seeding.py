"""Seeds whatever database the settings name, then voids what the cache knew before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from coordination import keys
from coordination.cache_plane import CachePlane
from coordination.clients import open_cache_client
from coordination.errors import Misconfigured
from coordination.settings import Settings
from models.database import open_database, tortoise_config
from models.migrate import pending_migrations
from ops.seed.catalogue import Catalogue
from ops.seed.mysql import MySQLStore
from ops.seed.sqlite import SQLiteStore
from ops.seed.store import CatalogueStore, Phase, Progress

__all__ = [
    "DEFAULT_SEED",
    "SeedReport",
    "ensure_migrated",
    "open_store",
    "seed_catalogue",
    "void_caches",
]

DEFAULT_SEED = 2026


@dataclass(frozen=True, slots=True)
class SeedReport:
    """What seeding did. ``added`` is less than ``requested`` by what was there before."""

    requested: int
    added: int
    seed: int
    duration_s: float


def seed_catalogue(
    settings: Settings, *, count: int, seed: int, progress: Progress, phase: Phase
) -> SeedReport:
    """Bring the first ``count`` products of catalogue ``seed`` into the database.

    Products that are there (by farm and sku) are left as they are. Blocks for as long as it takes;
    call ``void_caches`` afterwards. Raises ``DatabaseUnavailable``, or ``ValueError`` when
    ``count`` exceeds the catalogue.
    """
    catalogue = Catalogue(seed)
    if not 0 <= count <= catalogue.size:
        raise ValueError(f"a catalogue has at most {catalogue.size:,} products")
    started = time.monotonic()
    store = open_store(settings)
    try:
        added = store.add_catalogue(catalogue, count, progress, phase)
    finally:
        store.close()
    return SeedReport(count, added, seed, time.monotonic() - started)


async def ensure_migrated(settings: Settings) -> None:
    """Raise ``Misconfigured`` when the schema is not up to date, ``DatabaseUnavailable`` when away.

    An unreachable database looks like one without migrations, so reachability comes first.
    """
    db = await open_database(settings)
    try:
        await db.fetch("SELECT 1 AS one", purpose="ping")
    finally:
        await db.close()
    if pending := await pending_migrations(settings):
        raise Misconfigured(f"Run `farmlokal migrate` first: {', '.join(pending)} is pending.")


async def void_caches(settings: Settings) -> bool:
    """Replace ``cache:gen:all``, so that no answer from before is served.

    Fails open: ``False`` when Redis does not answer; then cached lists show the change only when
    their time runs out.
    """
    plane = CachePlane(open_cache_client(settings), settings)
    try:
        return await plane.void([], [keys.GENERATION_ALL]) is not None
    finally:
        await plane.close()


def open_store(settings: Settings) -> CatalogueStore:
    """The database that the settings name, ready to be seeded. Raises ``DatabaseUnavailable``."""
    connection = tortoise_config(settings)["connections"]["default"]["credentials"]
    if "file_path" in connection:
        return SQLiteStore(Path(connection["file_path"]))
    return MySQLStore(
        {key: connection[key] for key in ("host", "port", "user", "password")}
        | {"database": connection["database"]}
    )
