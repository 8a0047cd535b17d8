"""`farmlokal seed`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from coordination.errors import Misconfigured
from ops.cli.outcome import AsJson, ending, print_result
from ops.cli.progress import loading
from ops.home import create_database_directory
from ops.operator_settings import load_operator_settings
from ops.seed.seeding import DEFAULT_SEED, ensure_migrated, seed_catalogue, void_caches

__all__ = ["DEFAULT_PRODUCTS", "seed_command"]

DEFAULT_PRODUCTS = 50_000


def seed_command(
    products: Annotated[
        int, typer.Option(min=1, help="How many products there shall be, up to 13,561,427.")
    ] = DEFAULT_PRODUCTS,
    seed: Annotated[int, typer.Option(help="Another seed, another catalogue.")] = DEFAULT_SEED,
    as_json: AsJson = False,
) -> None:
    """Fill the catalogue with distinct products of real foods at real farmers markets.

    Names, groups and places are real (USDA, public domain); which market offers what, prices and
    stock are made up from the seed. Products that are there already are left as they are.
    """
    with ending(as_json=as_json):
        settings = load_operator_settings()
        create_database_directory(settings)
        asyncio.run(ensure_migrated(settings))
        with loading(products, silent=as_json) as (progress, phase):
            try:
                report = seed_catalogue(
                    settings, count=products, seed=seed, progress=progress, phase=phase
                )
            except ValueError as error:
                raise Misconfigured(f"--products: {error}.") from None
        voided = asyncio.run(void_caches(settings))
        if as_json:
            print_result(
                {
                    "ok": True,
                    "requested": report.requested,
                    "added": report.added,
                    "seed": report.seed,
                    "duration_s": round(report.duration_s, 3),
                    "caches_voided": voided,
                }
            )
            return
        print(
            f"Added {report.added:,} of {report.requested:,} products in {report.duration_s:.1f} s"
            f" ({report.requested / report.duration_s:,.0f} rows/s); the others were there."
            if report.added < report.requested
            else f"Added {report.added:,} products in {report.duration_s:.1f} s"
            f" ({report.added / report.duration_s:,.0f} rows/s)."
        )
        if not voided:
            sys.stderr.write(
                "Redis does not answer, so cached lists were not voided; they show the new products"
                f" within {settings.cache_list_ttl_s} s.\n"
            )
