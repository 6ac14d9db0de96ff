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
from pathlib import Path
from typing import TYPE_CHECKING

from porch.agents.upkeep import Upkeep
from porch.contract.errors import PorchError, SetupError
from porch.egress import Egress, EgressSettings
from porch.identity.authentication import Authenticator, authenticate
from porch.identity.first_boot import ensure_operator
from porch.identity.model import Credentials
from porch.identity.sessions import create_link
from porch.models.keys import ModelKeys
from porch.models.local.process import LocalModel
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.runs.service import Runs
from porch.settings import Settings
from porch.storage.database import Database
from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres
from porch.storage.external import check_external
from porch.storage.migrate import migrate
from porch.storage.progress import Progress, silence
from porch.web.sockets import open_sockets, url_of

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
    on_ready: Callable[[ServerInfo], None] | None = None,
    progress: Progress = silence,
    lasting: bool = True,
) -> None:
    """Run the server until SIGINT or SIGTERM. `on_ready` is called once it takes requests.

    `lasting` tells other commands that it is there for longer than one of them.
    Raises SetupError when it cannot start as things are, with what to change.
    """
    started = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        data_dir = DataDir(settings.data_dir)
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
        credentials = await ensure_operator(database, data_dir.path, url)
        await code
        app, runs = await stack.enter_async_context(_rooms(settings, database, local))
        app.state.url = settings.public_url or url
        link = await _sign_in_link(database, credentials, app.state.url) if lasting else None
        progress("Starting the server")
        place = "embedded" if settings.database_url is None else "external"
        seconds = time.monotonic() - started
        info = ServerInfo(url, data_dir.path, credentials.workspace, place, seconds, link)
        from porch.web.listener import listen

        def announce() -> None:
            hold.announce(info.url, lasting=lasting)
            _settle_memory()
            if lasting:
                stack.callback(_compile_ahead().cancel)
                stack.callback(asyncio.create_task(app.state.models.look_ahead(), name="look-ahead").cancel)
            if on_ready:
                on_ready(info)

        await listen(app, runs.stop, sockets, announce)


def _compile_ahead() -> "asyncio.Task[None]":
    """Compile the pages beside the first requests, so that nobody's first page waits for it."""
    from porch.http.rendering import compile_templates

    ahead = asyncio.create_task(asyncio.to_thread(compile_templates), name="templates")
    ahead.add_done_callback(lambda _: gc.freeze())
    return ahead


def _settle_memory() -> None:
    """What is there now stays: it need not be walked by every collection, whose pauses readers would see."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@asynccontextmanager
async def _postgres(settings: Settings, data_dir: DataDir, progress: Progress) -> AsyncGenerator[str]:
    """The URL to serve with, of a migrated database."""
    if settings.database_url is not None:
        progress("Checking the database")
        await check_external(settings.database_url, settings.migration_url)
        await migrate(settings.migration_url or settings.database_url, progress=progress)
        yield settings.database_url
        return
    if settings.migration_url is not None:
        raise SetupError("A migration URL needs a database URL beside it: give --database-url too.")
    progress("Starting PostgreSQL")
    postgres = EmbeddedPostgres(data_dir, progress=progress)
    urls = await postgres.start()
    try:
        await migrate(urls.owner, progress=progress)
        watch = asyncio.create_task(postgres.watch(log.warning), name="postgres")
        try:
            yield urls.app
        finally:
            watch.cancel()
    finally:
        await postgres.stop()


@asynccontextmanager
async def _local_model(settings: Settings, progress: Progress) -> AsyncGenerator[LocalModel | None]:
    """The bundled model, loading beside everything else when it is what new agents get."""
    if not settings.local_model:
        yield None
        return
    local = LocalModel(DataDir(settings.data_dir).path)
    warm = None
    if settings.default_model is None or settings.default_model.startswith("local:"):
        progress("Loading the demo model")
        warm = asyncio.create_task(_warm(local), name="local-model")
    try:
        yield local
    finally:
        if warm:
            warm.cancel()
        await local.stop()


async def _warm(local: LocalModel) -> None:
    try:
        await local.start()
    except PorchError as error:
        log.warning("The bundled model is not there: %s", error)


@asynccontextmanager
async def _rooms(
    settings: Settings, database: Database, local: LocalModel | None
) -> AsyncGenerator[tuple["FastAPI", Runs]]:
    from porch.web.app import Rooms, build_app

    egress = Egress(EgressSettings.read(settings))
    await egress.open()
    keys = ModelKeys(DataDir(settings.data_dir).path)
    models, tools = Models(dict(os.environ), egress, local, keys), Tools()
    runs = Runs(database, models, tools, lease_seconds=settings.lease_seconds)
    authenticator = Authenticator(database)
    upkeep = Upkeep(database)
    try:
        await runs.start()
        upkeep.start()
        yield build_app(settings, Rooms(database, authenticator, models, tools, runs, local, egress)), runs
    finally:
        await upkeep.stop()
        await runs.stop()
        await authenticator.close()
        await egress.close()


async def _sign_in_link(database: Database, credentials: Credentials, url: str) -> str:
    principal = await authenticate(database, credentials.token)
    return (await create_link(principal, database, url)).url


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
