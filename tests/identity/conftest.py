"""The assembled app, as the tests of the common layers have it, and the same with the pages of signing in."""

from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter

from porch.identity.pages import router as pages
from tests.http.app import World, assembled
from tests.http.conftest import ada, eve, world
from tests.postgres import TestServer

__all__ = ["ada", "eve", "world"]


def house_with_pages() -> list[APIRouter]:
    """What `assembled` needs besides its own routes."""
    return [pages]


@pytest.fixture(scope="module")
async def house(postgres: TestServer) -> AsyncIterator[World]:
    """An app with pages, over a database that a module's tests share."""
    urls = await postgres.create()
    async with assembled(urls, house_with_pages()) as world:
        yield world
    await postgres.drop(urls)
