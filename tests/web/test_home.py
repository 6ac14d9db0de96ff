"""The home page as it is without any script."""

from collections.abc import AsyncIterator

import pytest

from porch.agents.views import calls_no_tools
from porch.egress import Egress
from porch.models import Models
from porch.models.sharing import Sharing
from porch.web.pages import router
from tests.agents.test_conversations import begin
from tests.http.app import DEFINITION, Tenant, World, assembled
from tests.http.conftest import ada
from tests.postgres import TestServer
from tests.providers.upstream import plain, upstream

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


@pytest.mark.parametrize(
    ("listed", "typed"), [(b'{"data": [{"id": "house-model"}]}', False), (b'{"detail": "no list"}', True)]
)
async def test_a_first_agent_thinks_with_what_another_server_lists_or_what_one_types(
    world: World, ada: Tenant, listed: bytes, typed: bool
) -> None:
    async with Egress() as egress, upstream(plain(200, listed)) as place:
        models = Models(
            {"OPENAI_BASE_URL": place.url, "OLLAMA_HOST": "127.0.0.1:1"}, egress, Sharing(ada.workspace)
        )
        await models.available(ada.workspace, seconds=3)
        world.app.state.models, world.app.state.default_model = models, "scripted:demo"
        page = (await ada.client.get("/")).body.decode()
    assert ('<input class="input" id="field-model"' in page) is typed
    assert ("does not say which models it has" in page) is typed
    assert ("openai:house-model" in page) is not typed
    assert "openai:gpt" not in page
    assert page.index("It thinks with") < page.index("Make it and talk")
