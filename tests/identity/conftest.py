"""The assembled app, as the tests of the common layers have it, and the same with the pages of signing in."""

from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter

from porch.identity.audit_routes import pages as audit_pages
from porch.identity.confirm_pages import router as confirm_pages
from porch.identity.doors import Doors
from porch.identity.member_pages import router as member_pages
from porch.identity.pages import router as pages
from porch.identity.people_pages import router as people_pages
from porch.identity.recovery_pages import router as recovery_pages
from porch.identity.token_pages import router as token_pages
from tests.http.app import World, assembled, definer
from tests.http.browser import Browser
from tests.http.conftest import ada, eve, world
from tests.postgres import TestServer

__all__ = ["ada", "eve", "world"]


OPEN = Doors(multi_user=True, sign_up="open")


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


PASSWORD = "seven quiet lanterns"


@pytest.fixture(scope="module")
async def open_house(postgres: TestServer) -> AsyncIterator[World]:
    """An app with the pages of people, where anybody may sign up."""
    urls = await postgres.create()
    async with assembled(
        urls,
        [
            *house_with_pages(),
            people_pages,
            member_pages,
            token_pages,
            audit_pages,
            recovery_pages,
            confirm_pages,
        ],
    ) as world:
        world.app.state.doors = OPEN
        yield world
    await postgres.drop(urls)


@pytest.fixture
async def town(open_house: World) -> AsyncIterator[World]:
    """The same for one test: its doors are open again, and nobody has tried anything yet."""
    async with definer(open_house.urls) as connection:
        await connection.execute("DELETE FROM porch.sign_in_limits")
    open_house.app.state.doors = OPEN
    yield open_house
    open_house.app.state.doors = OPEN


async def signed_up(world: World, login: str, name: str = "") -> Browser:
    """Somebody new, signed in, at a page."""
    browser = Browser(world.app)
    fields = {"login": login, "name": name, "password": PASSWORD}
    done = await browser.submit("/sign-up", fields)
    assert done.status == 303, done.body
    await browser.open("/account")
    assert browser.csrf
    return browser
