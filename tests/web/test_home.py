"""The home page as it is without any script."""

from collections.abc import AsyncIterator

import pytest

from porch.agents.views import calls_no_tools
from porch.web.pages import router
from tests.agents.test_conversations import begin
from tests.http.app import DEFINITION, Tenant, World, assembled
from tests.http.conftest import ada
from tests.postgres import TestServer

__all__ = ["ada"]


@pytest.fixture(scope="module")
async def world(postgres: TestServer) -> AsyncIterator[World]:
    """The app with its home page."""
    urls = await postgres.create()
    async with assembled(urls, [router]) as world:
        yield world
    await postgres.drop(urls)


def test_it_is_known_of_the_bundled_model_that_it_calls_no_tools() -> None:
    assert calls_no_tools("local:smollm2")
    assert not calls_no_tools("openai:gpt-4o-mini")
    assert not calls_no_tools("ollama:nobody-knows")


async def test_no_title_hides_or_moves_what_stands_beside_it(ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    conversations = f"{ada.path}/agents/helper/conversations"
    await begin(ada.client, conversations, title="\u202eevil\u200b<b>")
    await begin(ada.client, conversations, title="long " * 79)
    home = await ada.client.get("/")
    assert home.status == 200, home.body
    page = home.body.decode()
    assert "⟨U+202E⟩evil⟨U+200B⟩&lt;b&gt;" in page
    assert "long " * 30 not in page


async def test_a_conversation_in_which_nothing_was_said_is_not_among_the_last_ones(ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    conversations = f"{ada.path}/agents/helper/conversations"
    empty = await begin(ada.client, conversations)
    named = await begin(ada.client, conversations, title="For later")
    page = (await ada.client.get("/")).body.decode()
    assert empty not in page
    assert named in page
