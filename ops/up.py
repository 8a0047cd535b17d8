"""`farmlokal up`: the whole system on one machine, from an empty directory to Ctrl-C.

It owns the order: port, Redis, schema, catalogue, key, processes, readiness, sandbox; then
it tends them until it is told to stop, and stops all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Final

from coordination.errors import FarmLokalError, Unavailable
from coordination.settings import Settings
from models.migrate import migrate
from ops.addresses import base_url, server_name
from ops.announcing import Announces
from ops.child_log import ChildLog
from ops.embedded_redis import URL_FILE, answers
from ops.embedded_sandbox import PARTNER, register
from ops.home import SERVICES_FILE, Home
from ops.seed.seeding import seed_catalogue, void_caches
from ops.seed.store import Phase, Progress
from ops.stack import (
    Stack,
    catalogue_is_empty,
    check_port,
    is_ready,
    plan_stack,
)
from ops.stop_signals import StopSignals
from ops.supervisor import Supervisor
from ops.welcome import welcome

__all__ = ["NotReady", "UpOptions", "run_stack"]

_REDIS_DEADLINE_S: Final = 15.0
_READY_DEADLINE_S: Final = 60.0

Seeding = Callable[[int], AbstractContextManager[tuple[Progress, Phase]]]
"""Opens a display of the loading of so many products."""


class NotReady(FarmLokalError):
    """The processes were started but the API did not become ready."""


class RedisUnreachable(Unavailable):
    """The Redis that was named does not answer, or the embedded one does not start."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """``products`` are loaded when the catalogue is empty; 0 loads none.

    ``sandbox``: whether a partner sandbox belongs to it; ``None``: with the embedded database.
    """

    products: int
    seed: int
    verbose: bool
    sandbox: bool | None = None


def run_stack(
    given: Settings,
    options: UpOptions,
    announce: Announces,
    seeding: Seeding,
) -> None:
    """Start everything, serve until SIGINT or SIGTERM, stop everything.

    Raises ``PortTaken``, ``AlreadyRunning``, ``Misconfigured``, ``Unavailable`` or ``NotReady``,
    each after everything that had been started is stopped.
    """
    with ExitStack() as closing:
        home = closing.enter_context(Home(given.farmlokal_home))
        check_port(given.host, given.port)
        announce("starting", f"FarmLokal in {home.path}", home=home.path)
        stack = plan_stack(given, home, sandbox=options.sandbox)
        log = ChildLog(home.logs, verbose=options.verbose, plain={"redis"})
        signals = closing.enter_context(StopSignals())
        supervisor = Supervisor(
            on_line=log.write, say=lambda text: announce("process", f"  {text}", message=text)
        )
        try:
            _start(stack, options, home, supervisor, announce, seeding)
            signals.settle()
            _await_ready(stack, supervisor, signals, log, announce)
            if not signals.stopping():
                _start_sandbox(stack, options, home, supervisor, announce)
                welcome(stack, home, announce)
                supervisor.run(signals.stopping)
        except KeyboardInterrupt:
            pass
        finally:
            signals.settle()
            announce("stopping", "Stopping")
            supervisor.stop(signals.hurry)
            for name in (URL_FILE, SERVICES_FILE):
                (home.path / name).unlink(missing_ok=True)
            announce("stopped", "Stopped; nothing is left running")


def _start(
    stack: Stack,
    options: UpOptions,
    home: Home,
    supervisor: Supervisor,
    announce: Announces,
    seeding: Seeding,
) -> None:
    settings = stack.settings
    _start_redis(stack, supervisor, announce)
    if stack.redis is not None:
        home.write_secret(URL_FILE, settings.redis_url)
    if stack.services is not None:
        home.write_secret(SERVICES_FILE, stack.services)
    applied = asyncio.run(migrate(settings))
    database = server_name(settings.effective_database_url)
    note = f"migrated ({', '.join(applied)})" if applied else "up to date"
    announce("database", f"  database   {database}, {note}", database=database, applied=applied)
    if options.products and asyncio.run(catalogue_is_empty(settings)):
        with seeding(options.products) as (progress, phase):
            report = seed_catalogue(
                settings, count=options.products, seed=options.seed, progress=progress, phase=phase
            )
        asyncio.run(void_caches(settings))
        announce(
            "seeded",
            f"  catalogue  {report.added:,} products of real foods at real markets,"
            f" prices made up, in {report.duration_s:.1f} s",
            products=report.added,
            duration_s=round(report.duration_s, 3),
        )
    for program in stack.programs:
        supervisor.start(program)
    names = ", ".join(supervisor.pids)
    announce("started", f"  processes  {names}", pids=supervisor.pids)


def _start_redis(stack: Stack, supervisor: Supervisor, announce: Announces) -> None:
    settings = stack.settings
    if stack.redis is not None:
        supervisor.start(stack.redis)
        shown = f"{server_name(settings.redis_url)}, embedded ({stack.redis_binary})"
    else:
        shown = server_name(settings.effective_queue_redis_url)
    for url in dict.fromkeys(
        (settings.effective_queue_redis_url, settings.effective_cache_redis_url)
    ):
        if not answers(url, _REDIS_DEADLINE_S if stack.redis else 3.0):
            raise RedisUnreachable(f"Redis at {server_name(url)} does not answer.")
    announce("redis", f"  redis      {shown}", redis=server_name(settings.redis_url))


def _start_sandbox(
    stack: Stack, options: UpOptions, home: Home, supervisor: Supervisor, announce: Announces
) -> None:
    settings, place = stack.settings, stack.sandbox
    if place is not None:
        api_url = base_url(settings.host, settings.port)
        # The last to start, so the first to stop: it never finds the API gone.
        supervisor.start(asyncio.run(register(settings, home, place, api_url)))
        text = f"  sandbox    {place.url} plays a partner: webhooks, tokens, supply, faults"
        announce("sandbox", text, url=place.url, partner=PARTNER, pid=supervisor.pids["sandbox"])
    elif options.sandbox is None and settings.environment != "production":
        announce(
            "no_sandbox",
            "  sandbox    left out, as it changes products and the database is one that was named;"
            " --sandbox brings it",
        )


def _await_ready(
    stack: Stack, supervisor: Supervisor, signals: StopSignals, log: ChildLog, announce: Announces
) -> None:
    settings = stack.settings
    started = time.monotonic()

    def settled() -> bool:
        late = time.monotonic() - started > _READY_DEADLINE_S
        return late or is_ready(settings.host, settings.port)

    if supervisor.run(signals.stopping, settled):
        waited_s = time.monotonic() - started
        if waited_s > _READY_DEADLINE_S:
            raise NotReady(
                f"The API was not ready within {_READY_DEADLINE_S:g} s."
                f" The end of {log.file('web')}:\n{log.tail('web')}"
            )
        announce("ready", f"  ready      after {waited_s:.1f} s", duration_s=round(waited_s, 3))
