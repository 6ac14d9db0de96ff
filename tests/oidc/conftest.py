"""A provider in a process of its own, and an app that people may sign in to with it."""

from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest

from porch.egress import Egress
from porch.identity.audit_routes import pages as audit_pages
from porch.identity.doors import Doors
from porch.identity.member_pages import router as member_pages
from porch.identity.oidc_pages import router as oidc_pages
from porch.identity.oidc_provider import Provider
from porch.identity.pages import router as pages
from porch.identity.people_pages import router as people_pages
from porch.web.providers import ask_provider
from tests.http.app import World, assembled, definer
from tests.oidc.process import CLIENT, SECRET, ProviderProcess, provider_process
from tests.postgres import TestServer


@pytest.fixture(scope="module")
def running() -> Iterator[ProviderProcess]:
    with provider_process() as process:
        yield process


@pytest.fixture
def provider(running: ProviderProcess) -> ProviderProcess:
    """One that behaves, until it is told otherwise."""
    running.control()
    return running


@pytest.fixture(scope="module")
async def standing(postgres: TestServer) -> AsyncIterator[World]:
    urls = await postgres.create()
    async with assembled(urls, [pages, people_pages, member_pages, audit_pages, oidc_pages]) as world:
        yield world
    await postgres.drop(urls)


@pytest.fixture
async def town(standing: World, provider: ProviderProcess) -> AsyncIterator[World]:
    """The app, open to all, which knows nothing yet of the provider but its name."""
    async with Egress() as egress:
        state = standing.app.state
        state.doors = Doors(multi_user=True, sign_up="open")
        state.oidc = Provider(partial(ask_provider, egress), provider.issuer, CLIENT, SECRET, "Hall")
        async with definer(standing.urls) as connection:
            await connection.execute("DELETE FROM porch.sign_in_limits")
        yield standing
        state.oidc = None
