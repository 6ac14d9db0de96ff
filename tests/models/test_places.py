"""Every provider is asked in its dialect, at its address, with its key; and what each lacks is said."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from porch.contract.definition import MODEL, ModelSettings
from porch.contract.errors import ModelError
from porch.egress import Egress
from porch.models import ModelNotConfigured, Models
from porch.models.catalogue import find_card
from porch.models.keys import VARIABLES, ModelKeys
from porch.models.places import PLACES, find_place, try_first
from porch.providers.chat_completions.profiles import PROFILES
from tests.home import AT_HOME, HOME
from tests.providers import messages as claude
from tests.providers.asking import KEY, ask, request
from tests.providers.upstream import DONE, SAY, STOP, Behaviour, Exchange, answer, plain, upstream

CHAT = answer(SAY, STOP, DONE)
RESPONSES = answer(
    b'data: {"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hi"}\n\n',
    b'data: {"type":"response.completed","response":{"status":"completed","output":[]}}\n\n',
)
MESSAGES = answer(claude.begin(), claude.text(0, "Hi"), claude.END)
CHATTING = sorted(name for name, place in PLACES.items() if place.dialect == "chat")


def said(text: str) -> bytes:
    return f'data: {{"choices":[{{"index":0,"delta":{{"content":{json.dumps(text)}}}}}]}}\n\n'.encode()


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


async def asked(egress: Egress, name: str, behaviour: Behaviour, tokens: int | None = None) -> Exchange:
    """The request that a question to this model came to."""
    place = PLACES[name.partition(":")[0]]
    async with upstream(behaviour) as server:
        resolved = Models({place.variable: server.url, place.key: KEY}, egress, AT_HOME).resolve(name, HOME)
        question = request(model=resolved.model, settings=ModelSettings(max_output_tokens=tokens))
        assert (await ask(resolved.provider, question)).text() == "Hi"
    return server.requests[0]


@pytest.mark.parametrize("provider", CHATTING)
async def test_every_server_of_the_family_is_asked_with_its_own_key(egress: Egress, provider: str) -> None:
    exchange = await asked(egress, f"{provider}:maker/some.model:tag", CHAT)
    assert exchange.head.startswith("POST /v1/chat/completions ")
    assert f"Authorization: Bearer {KEY}" in exchange.head
    assert exchange.json()["model"] == "maker/some.model:tag"


@pytest.mark.parametrize("provider", ["openai", "vllm", "llamacpp", "lmstudio"])
async def test_thoughts_between_tags_at_an_answers_head_are_no_text_where_people_run_the_server(
    egress: Egress, provider: str
) -> None:
    tagged = answer(said("<thi"), said("nk>Hm.</think>\n"), said("Hi, <think>"), said("!"), STOP, DONE)
    async with upstream(tagged) as server:
        resolved = Models({PLACES[provider].variable: server.url}, egress, AT_HOME).resolve(
            f"{provider}:m", HOME
        )
        result = await ask(resolved.provider, request())
    assert (result.text("reasoning"), result.text()) == ("Hm.", "Hi, <think>!")


async def test_openai_is_asked_in_its_newer_dialect_too(egress: Egress) -> None:
    exchange = await asked(egress, "openai-responses:gpt-5", RESPONSES)
    assert exchange.head.startswith("POST /v1/responses ")
    assert f"Authorization: Bearer {KEY}" in exchange.head


@pytest.mark.parametrize("ending", ["", "/v1", "/v1/"])
async def test_anthropics_address_may_be_given_with_its_version_or_without(
    egress: Egress, ending: str
) -> None:
    async with upstream(MESSAGES) as place:
        url = place.url.removesuffix("/v1") + ending
        models = Models({"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY}, egress, AT_HOME)
        assert (await ask(models.resolve("anthropic:claude-x", HOME).provider, request())).text() == "Hi"
    assert place.requests[0].head.startswith("POST /v1/messages ")
    assert f"x-api-key: {KEY}" in place.requests[0].head


async def test_no_answer_longer_than_the_model_can_give_is_asked_for(egress: Egress) -> None:
    longest = find_card("anthropic", "claude-3-haiku").max_output_tokens
    assert longest == 4096
    exchange = await asked(egress, "anthropic:claude-3-haiku-20240307", MESSAGES)
    assert exchange.json()["max_tokens"] <= longest
    exchange = await asked(egress, "anthropic:claude-3-haiku-20240307", MESSAGES, 9999)
    assert exchange.json()["max_tokens"] == longest
    exchange = await asked(egress, "openai:gpt-4o", CHAT, 99_999)
    assert exchange.json()["max_tokens"] == 16_384
    exchange = await asked(egress, "openai:no-card", CHAT, 99_999)
    assert exchange.json()["max_tokens"] == 99_999


@pytest.mark.parametrize("provider", sorted(PLACES))
async def test_what_a_provider_lacks_is_said_with_the_variable_to_set(egress: Egress, provider: str) -> None:
    place = PLACES[provider]
    with pytest.raises(ModelNotConfigured) as caught:
        Models({}, egress, AT_HOME).resolve(f"{provider}:m", HOME)
    assert (place.key if place.url else place.variable) in caught.value.message


def test_the_table_of_providers_is_whole() -> None:
    # Every profile is a provider that can be asked, but for Ollama's and that of what stands in OpenAI's place.
    assert set(PROFILES) - set(PLACES) == {"another", "ollama"}
    assert len({place.variable for place in PLACES.values()}) == len(PLACES) - 1
    assert len({place.key for place in PLACES.values() if not place.keeper}) == len(PLACES) - 1
    for name, place in PLACES.items():
        assert MODEL.fullmatch(f"{name}:m")
        assert place.url is None or place.url.startswith("https://")
        assert not place.key_page or place.key_page.startswith("https://")
        assert try_first(name) in ("", f"{name}:{place.first}")
        assert place.holder in VARIABLES
    assert try_first("nobody") == ""


def test_a_key_for_a_server_of_ones_own_is_no_address() -> None:
    assert find_place({"VLLM_API_KEY": KEY}, PLACES["vllm"]) is None
    found = find_place({"VLLM_BASE_URL": "http://gpu:8000/v1"}, PLACES["vllm"])
    assert found is not None
    assert (found.url, found.key, found.given) == ("http://gpu:8000/v1", None, True)
    with_key = find_place({"GROQ_API_KEY": KEY}, PLACES["groq"])
    assert KEY not in repr(with_key)


async def test_a_router_has_the_cards_of_those_whose_models_it_has(egress: Egress) -> None:
    assert find_card("openrouter", "openai/gpt-4o-mini") == find_card("openai", "gpt-4o-mini")
    assert find_card("openrouter", "anthropic/claude-3.5-haiku") == find_card("anthropic", "claude-3-5-haiku")
    assert not find_card("openrouter", "nobody/knows").known
    assert not find_card("openrouter", "openai").known
    assert find_card("openai-responses", "gpt-5") == find_card("openai", "gpt-5")


async def test_a_key_that_is_refused_while_an_agent_works_is_known_until_one_is_taken(
    egress: Egress,
) -> None:
    async with upstream(plain(401), CHAT) as place:
        environ = {"GROQ_BASE_URL": place.url, "GROQ_API_KEY": KEY, "OLLAMA_HOST": "127.0.0.1:1"}
        models = Models(environ, egress, AT_HOME)
        provider = models.resolve("groq:m", HOME).provider
        result = await ask(provider, request())
        assert isinstance(result.error, ModelError)
        assert models.is_refused("groq")
        told = next(item for item in await models.available(HOME, seconds=1) if item.provider == "groq")
        assert (told.ready, told.refused) == (False, True)
        assert (await ask(provider, request())).error is None
        assert not models.is_refused("groq")


async def test_openais_two_dialects_share_one_key(egress: Egress) -> None:
    async with upstream(plain(401)) as place:
        models = Models({"OPENAI_BASE_URL": place.url, "OPENAI_API_KEY": KEY}, egress, AT_HOME)
        await ask(models.resolve("openai-responses:m", HOME).provider, request())
    assert models.is_refused("openai")
    assert models.is_refused("openai-responses")


def test_every_provider_stands_in_the_documentation_with_its_variables() -> None:
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for name, place in PLACES.items():
        row = next(row for row in rows if f"`{name}:`" in row)
        assert f"`{place.key}`" in row
        assert f"`{place.variable}`" in row


async def test_a_key_that_is_kept_for_any_provider_is_the_next_calls(egress: Egress, tmp_path: Path) -> None:
    async with upstream(MESSAGES, CHAT) as server:
        environ = {"ANTHROPIC_BASE_URL": server.url, "GROQ_BASE_URL": server.url}
        models = Models(environ, egress, AT_HOME, keys=ModelKeys(tmp_path))
        for provider in ("anthropic", "groq"):
            await models.keep_key(provider, KEY, HOME)
            assert models.key_ending(provider, HOME) == KEY[-4:]
            assert (await ask(models.resolve(f"{provider}:m", HOME).provider, request())).error is None
    assert f"x-api-key: {KEY}" in server.requests[0].head
    assert f"Authorization: Bearer {KEY}" in server.requests[1].head
    kept = ModelKeys(tmp_path).over({})
    assert (kept["ANTHROPIC_API_KEY"], kept["GROQ_API_KEY"]) == (KEY, KEY)


def test_what_was_found_shows_neither_key_nor_password() -> None:
    environ = {"OPENAI_BASE_URL": "https://me:word@gateway.example/v1", "OPENAI_API_KEY": KEY}
    found = find_place(environ, PLACES["openai"])
    assert repr(found) == "Found('openai', 'https://gateway.example/v1')"
