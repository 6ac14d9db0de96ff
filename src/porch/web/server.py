"""The whole server in one process: it opens the rooms from the lowest floor up, serves, and closes them in turn."""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from porch.agents.upkeep import Upkeep
from porch.background import end
from porch.contract.errors import PorchError, SetupError
from porch.egress import Egress, EgressSettings
from porch.identity.audit import Refusals
from porch.identity.authentication import Authenticator, authenticate
from porch.identity.doors import Doors, check_people
from porch.identity.first_boot import ensure_operator
from porch.identity.model import Credentials
from porch.identity.sessions import create_link
from porch.models.keys import ModelKeys
from porch.models.local.process import LocalModel
from porch.models.service import Models
from porch.models.sharing import Sharing, read_shared
from porch.plugins.service import Tools
from porch.runs.archive import Archive
from porch.runs.holdings import describe_holdings
from porch.runs.ledger import Ledger
from porch.runs.limits import RunLimits
from porch.runs.service import Runs
from porch.runs.shelf import Shelf
from porch.runs.upkeep import JournalUpkeep
from porch.settings import Settings
from porch.status.setups import attempt
from porch.storage.database import Database
from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres
from porch.storage.external import check_external
from porch.storage.migrate import migrate
from porch.storage.partitions import keep_partitions
from porch.storage.progress import Progress, silence
from porch.storage.statistics import keep_statistics
from porch.telemetry.instruments import Telemetry
from porch.web.collector import collecting
from porch.web.memory import Memory
from porch.web.sockets import open_sockets, url_of
from porch.web.watchdog import Watchdog

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server that takes requests. `seconds` is how long its start took.

    `sign_in` is a link that signs the operator's browser in, once, within 15 minutes; a lasting server has one.
    """

    url: str
    data_dir: Path
    workspace: str
    database: str
    seconds: float
    sign_in: str | None = None


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[ServerInfo], None] = lambda info: None,
    progress: Progress = silence,
    lasting: bool = True,
    allow: Callable[[float], None] = lambda seconds: None,
) -> None:
    """Run the server until SIGINT or SIGTERM. `on_ready` is called once it takes requests.

    `lasting` tells other commands that it is there for longer than one of them. `allow` hears at each signal how long
    the end may take. Raises SetupError when it cannot start as things are, with what to change.
    """
    started = time.monotonic()
    shared = read_shared(settings.shared_providers)
    async with contextlib.AsyncExitStack() as stack:
        data_dir = DataDir(settings.data_dir)
        noted = stack.enter_context(attempt(data_dir.path, noted=settings.outcomes))
        hold = stack.enter_context(data_dir.hold())
        sockets = open_sockets(settings.host, settings.port)
        stack.callback(_close, sockets)
        url = url_of(sockets, settings.host)
        # Reading the code of the HTTP side takes as long as PostgreSQL's start: both at once.
        code = asyncio.create_task(asyncio.to_thread(importlib.import_module, "porch.web.listener"))
        stack.callback(code.cancel)
        local = await stack.enter_async_context(_local_model(settings, progress))
        app_url = await stack.enter_async_context(_postgres(settings, data_dir, progress))
        progress("Opening the workspace")
        database = await Database.connect(app_url, settings.pool_size)
        stack.push_async_callback(database.close)
        credentials, operator = await ensure_operator(database, data_dir.path, url)
        await code
        sharing = Sharing(operator.workspace_id, shared)
        app, runs = await stack.enter_async_context(_rooms(settings, database, sharing, local))
        app.state.url = settings.public_url or url
        link = await _sign_in_link(database, credentials, app) if lasting else None
        progress("Starting the server")
        info = _describe(settings, url, credentials, time.monotonic() - started, link)
        from porch.web.listener import listen

        def announce() -> None:
            hold.announce(info.url, lasting=lasting)
            noted.ready(info.seconds)
            _settle_memory()
            if lasting:
                stack.callback(_compile_ahead().cancel)
                stack.callback(asyncio.create_task(app.state.models.look_ahead(), name="look-ahead").cancel)
            on_ready(info)

        await listen(app, runs.leave, settings.drain_seconds, sockets, announce, allow)


def _describe(
    settings: Settings, url: str, credentials: Credentials, seconds: float, link: str | None
) -> ServerInfo:
    place = "embedded" if settings.database_url is None else "external"
    return ServerInfo(url, DataDir(settings.data_dir).path, credentials.workspace, place, seconds, link)


def _compile_ahead() -> "asyncio.Task[None]":
    """Compile the pages beside the first requests, so that nobody's first page waits for it."""
    from porch.http.rendering import compile_templates

    ahead = asyncio.create_task(asyncio.to_thread(compile_templates), name="templates")
    ahead.add_done_callback(lambda _: gc.freeze())
    return ahead


def _settle_memory() -> None:
    """What is there now stays: it need not be walked by every collection, whose pauses readers would see.

    Nor now: of half a million objects three thousand are garbage, and finding them takes 0.2 s.
    """
    gc.freeze()
    gc.set_threshold(10_000, 200, 50)


@asynccontextmanager
async def _postgres(settings: Settings, data_dir: DataDir, progress: Progress) -> AsyncGenerator[str]:
    """The URL to serve with, of a migrated database."""
    if settings.database_url is not None:
        progress("Checking the database")
        await check_external(settings.database_url, settings.migration_url)
        owner = settings.migration_url or settings.database_url
        await migrate(owner, progress=progress)
        tending = _tend(owner)
        try:
            yield settings.database_url
        finally:
            await end(*tending)
        return
    if settings.migration_url is not None:
        raise SetupError("A migration URL needs a database URL beside it: give --database-url too.")
    progress("Starting PostgreSQL")
    postgres = EmbeddedPostgres(data_dir, progress=progress)
    urls = await postgres.start()
    try:
        await migrate(urls.owner, progress=progress)
        watch = asyncio.create_task(postgres.watch(log.warning), name="postgres")
        tending = _tend(urls.owner)
        try:
            yield urls.app
        finally:
            await end(watch, *tending)
    finally:
        await postgres.stop()


def _tend(owner_url: str) -> list["asyncio.Task[None]"]:
    """What the owner of the tables looks after while the server lives."""
    return [
        asyncio.create_task(keep_partitions(owner_url), name="partitions"),
        asyncio.create_task(keep_statistics(owner_url), name="statistics"),
    ]


@asynccontextmanager
async def _local_model(settings: Settings, progress: Progress) -> AsyncGenerator[LocalModel | None]:
    """The bundled model, loading beside everything else when it is what new agents get."""
    if not settings.local_model:
        yield None
        return
    local = LocalModel(DataDir(settings.data_dir).path)
    warm: asyncio.Task[None] | None = None
    if settings.default_model is None or settings.default_model.startswith("local:"):
        progress("Loading the demo model")
        warm = asyncio.create_task(_warm(local), name="local-model")
    try:
        yield local
    finally:
        await end(warm)
        await local.stop()


async def _warm(local: LocalModel) -> None:
    try:
        await local.start()
    except PorchError as error:
        log.warning("The bundled model is not there: %s", error)


@asynccontextmanager
async def _rooms(
    settings: Settings, database: Database, sharing: Sharing, local: LocalModel | None
) -> AsyncGenerator[tuple["FastAPI", Runs]]:
    from porch.web.app import Rooms, build_app

    await check_people(database, Doors(settings.multi_user, settings.sign_up))
    place = settings.archive_url
    archive = Archive(place, settings.egress_proxy) if place else None
    egress = Egress(EgressSettings.read(settings))
    await egress.open()
    keys = ModelKeys(DataDir(settings.data_dir).path)
    models, tools = Models(dict(os.environ), egress, sharing, local, keys), Tools()
    limits = RunLimits.read(settings)
    ledger = Ledger(Telemetry(), database, days=settings.figures_days, outcomes=settings.outcomes)
    lease, live = settings.lease_seconds, settings.live_url
    runs = Runs(database, models, tools, lease_seconds=lease, live_url=live, limits=limits, ledger=ledger)
    authenticator = Authenticator(database)
    authenticator.on_forget, runs.replicas.on_revoked = runs.replicas.revoke, authenticator.forget_here
    runs.shelf = Shelf(database, archive)
    upkeep, journal = Upkeep(database, audit_days=settings.audit_days), JournalUpkeep(database, runs.shelf)
    refusals, memory = Refusals(database), Memory(settings.memory_limit)
    watchdog = Watchdog(runs.pressure, memory, partial(describe_holdings, runs))
    # A signal may cancel this at any of these: the others are still closed, before the database is.
    async with contextlib.AsyncExitStack() as stack:
        closings = (
            egress.close,
            authenticator.close,
            runs.stop,
            journal.stop,
            upkeep.stop,
            watchdog.stop,
            refusals.stop,
        )
        for close in closings:
            stack.push_async_callback(close)
        memory.check_room()
        folder = DataDir(settings.data_dir).path
        rooms = Rooms(database, authenticator, models, tools, runs, local, egress, folder, refusals)
        # Building takes a busy machine longer than a lease may go without a heartbeat, so that comes first.
        app = build_app(settings, rooms)
        await runs.start()
        upkeep.start()
        journal.start()
        watchdog.start()
        refusals.start()
        async with collecting(settings.otlp_endpoint, ledger, egress):
            yield app, runs


async def _sign_in_link(database: Database, credentials: Credentials, app: "FastAPI") -> str:
    principal = await authenticate(database, credentials.token)
    return (await create_link(principal, database, app.state.doors, app.state.url)).url


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
