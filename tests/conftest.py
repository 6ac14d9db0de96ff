"""Fixtures for every room's tests: a real PostgreSQL, and databases cloned from a migrated template."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from tests.lanes import Lanes, rank, workers
from tests.postgres import TestServer, shared_server

pytest_plugins = ["tests.bounds"]

FreshUrls = Callable[..., Awaitable[PostgresUrls]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        choices=("18", "16", "external"),
        default=os.environ.get("PORCH_TEST_POSTGRES", "18"),
        help="the PostgreSQL of the tests: the embedded 18, a plain 16, or the one of PORCH_TEST_*_URL",
    )


def pytest_configure() -> None:
    # No test is about the speed of the machine, and a busy one takes seconds for what is done in microseconds.
    settings.register_profile("patient", settings(), deadline=None)
    settings.load_profile("patient")
    # A shell lets what it starts in its background ignore Ctrl-C, children included, at which tests press it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    counted = yield
    return counted if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else workers(counted)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes | None:
    return Lanes(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.nodeid))


def pytest_collection_finish() -> None:
    # What was collected stays to the end: no later collection of garbage needs to walk through it.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[TestServer]:
    """The session's server, one for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared: Path = base if worker_id == "master" else base.parent
    with shared_server(shared, str(request.config.getoption("--postgres"))) as server:
        yield server


@pytest.fixture
async def fresh_urls(postgres: TestServer) -> AsyncIterator[FreshUrls]:
    """`await fresh_urls()` makes a migrated database of its own; `migrated=False` an empty one."""
    made: list[PostgresUrls] = []

    async def create(*, migrated: bool = True) -> PostgresUrls:
        made.append(await postgres.create(migrated=migrated))
        return made[-1]

    yield create
    for urls in made:
        await postgres.drop(urls)


@pytest.fixture
async def database(fresh_urls: FreshUrls) -> AsyncIterator[Database]:
    """A Database on a clean, migrated database of its own."""
    database = await Database.connect((await fresh_urls()).app)
    yield database
    await database.close()
