"""The assembled app for tests that ask it over HTTP."""

from collections.abc import AsyncIterator
from itertools import count

import pytest

from tests.http.app import Tenant, World, assembled
from tests.postgres import TestServer

_numbers = count(1)


@pytest.fixture(scope="module")
async def world(postgres: TestServer) -> AsyncIterator[World]:
    """An app over a database that a module's tests share: every test has tenants of its own."""
    urls = await postgres.create()
    async with assembled(urls) as world:
        yield world
    await postgres.drop(urls)


@pytest.fixture
async def ada(world: World) -> Tenant:
    """The tenant whose things are asked for."""
    return await world.tenant(f"ada-{next(_numbers)}")


@pytest.fixture
async def eve(world: World) -> Tenant:
    """The tenant who must see nothing of them."""
    return await world.tenant(f"eve-{next(_numbers)}")
