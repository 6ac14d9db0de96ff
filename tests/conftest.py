"""Fixtures for every room's tests: a real PostgreSQL, and databases cloned from a migrated template."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from tests.postgres import TestServer, shared_server

FreshUrls = Callable[..., Awaitable[PostgresUrls]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        choices=("18", "16", "external"),
        default=os.environ.get("PORCH_TEST_POSTGRES", "18"),
        help="the PostgreSQL of the tests: the embedded 18, a plain 16, or the one of PORCH_TEST_*_URL",
    )


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
