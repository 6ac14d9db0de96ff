"""From a model's name to an answer, and what is said about models that are not there."""

import asyncio
import datetime
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from porch.contract.errors import InvalidInput, ModelError, Unavailable
from porch.egress import Egress, EgressSettings
from porch.models import Availability, ModelNotConfigured, Models, catalogue
from porch.models.catalogue import as_of, find_card, known_models
from porch.models.places import PLACES, try_first
from porch.providers.chat_completions.profiles import PROFILES
from porch.providers.traits import find_openai
from tests.home import AT_HOME, HOME
from tests.providers.asking import KEY, ask, request
from tests.providers.upstream import DONE, SAY, STOP, answer, hang, plain, upstream

GOOD = answer(SAY, STOP, DONE)


@dataclass
class Local:
    """The bundled model's process, played."""

    base_url: str = ""
    api_key: str = "local-key"
    state: str = "idle"
    asked: int = 0

    async def endpoint(self) -> "Local":
        self.asked += 1
        if not self.base_url:
            raise Unavailable("The bundled model does not start; run porch doctor.")
        return self


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


async def test_openai_is_asked_at_its_base_url_with_its_key(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        models = Models({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": place.url}, egress, AT_HOME)
        resolved = models.resolve("openai:gpt-4o", HOME)
        result = await ask(resolved.provider, request(model=resolved.model))
    assert result.text() == "Hi"
    assert f"Authorization: Bearer {KEY}" in place.requests[0].head
    assert place.requests[0].json()["model"] == "gpt-4o"


async def test_a_base_url_without_a_key_is_asked_without_one(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        resolved = Models({"OPENAI_BASE_URL": place.url}, egress, AT_HOME).resolve("openai:any", HOME)
        assert (await ask(resolved.provider, request(model="any"))).error is None
    assert "authorization" not in place.requests[0].head.lower()


async def test_ollama_is_asked_through_its_v1(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        models = Models({"OLLAMA_HOST": place.url.removesuffix("/v1")}, egress, AT_HOME)
        resolved = models.resolve("ollama:qwen3:4b", HOME)
        assert (await ask(resolved.provider, request(model=resolved.model))).error is None
    assert place.requests[0].head.startswith("POST /v1/chat/completions ")
    assert place.requests[0].json()["model"] == "qwen3:4b"


async def test_an_ollama_that_is_not_there_says_how_to_start_it(egress: Egress) -> None:
    resolved = Models({"OLLAMA_HOST": "127.0.0.1:1"}, egress, AT_HOME).resolve("ollama:qwen3", HOME)
    result = await ask(resolved.provider, request(model="qwen3"))
    assert result.error is not None
    assert "ollama serve" in result.error.message


async def test_the_bundled_model_is_found_when_it_is_asked_and_not_before(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        local = Local(place.url)
        resolved = Models({}, egress, AT_HOME, local).resolve("local:smollm2", HOME)
        assert local.asked == 0
        assert (await ask(resolved.provider, request(model="smollm2"))).text() == "Hi"
    assert "Authorization: Bearer local-key" in place.requests[0].head


async def test_a_bundled_model_that_does_not_start_is_a_model_error(egress: Egress) -> None:
    resolved = Models({}, egress, AT_HOME, Local()).resolve("local:smollm2", HOME)
    result = await ask(resolved.provider, request(model="smollm2"))
    assert result.error is not None
    assert "porch doctor" in result.error.message
    assert result.error.retryable


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonsense", '"provider:model"'),
        ("openai:", '"provider:model"'),
        ("nobody:model", "Known: openai:, openai-responses:, anthropic:, openrouter:, "),
        ("local:llama", '"local:smollm2"'),
    ],
)
async def test_a_name_that_nothing_answers_to_says_what_does(egress: Egress, name: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Models({"OPENAI_API_KEY": KEY}, egress, AT_HOME, Local()).resolve(name, HOME)
    assert words in caught.value.message


async def test_a_missing_key_says_which_variable_to_set(egress: Egress) -> None:
    with pytest.raises(ModelNotConfigured) as caught:
        Models({}, egress, AT_HOME).resolve("openai:gpt-4o", HOME)
    assert "OPENAI_API_KEY" in caught.value.message


async def test_limits_come_from_the_catalogue_and_are_cautious_where_it_knows_nothing(egress: Egress) -> None:
    models = Models({"OPENAI_API_KEY": KEY}, egress, AT_HOME)
    known = models.resolve("openai:gpt-4o-2024-11-20", HOME)
    assert (known.context_tokens, known.max_output_tokens) == (128_000, 16_384)
    unknown = models.resolve("openai:brand-new", HOME)
    assert (unknown.context_tokens, unknown.max_output_tokens, unknown.card.known) == (8192, None, False)


async def test_ollamas_window_is_the_one_it_was_started_with(egress: Egress) -> None:
    assert Models({}, egress, AT_HOME).resolve("ollama:qwen3", HOME).context_tokens == 4096
    wide = Models({"OLLAMA_CONTEXT_LENGTH": "32768"}, egress, AT_HOME)
    assert wide.resolve("ollama:qwen3", HOME).context_tokens == 32768


def test_the_longest_name_decides_and_only_at_its_end() -> None:
    assert find_card("openai", "o3-mini").vision is False
    assert find_card("openai", "o3").vision is True
    assert find_card("openai", "o30").known is False
    assert find_card("openai", "gpt-4o-mini").context_tokens == 128_000
    assert find_card("openai", "gpt-4").context_tokens == 8192


def test_what_a_provider_has_ended_is_not_offered_and_what_it_could_do_is_still_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    day = datetime.date(2027, 1, 14)
    monkeypatch.setattr(catalogue, "_today", lambda: day - datetime.timedelta(days=1))
    assert "gpt-4o-mini" in known_models("openai")
    assert "claude-3-haiku" not in known_models("anthropic")
    assert "o3-mini" not in known_models("openai-responses")
    assert try_first("openai") == "openai:gpt-4o-mini"
    monkeypatch.setattr(catalogue, "_today", lambda: day)
    assert "gpt-4o-mini" not in known_models("openai")
    assert find_card("openrouter", "openai/gpt-4o-mini").known
    assert try_first("openai").removeprefix("openai:") in known_models("openai")
    assert try_first("openrouter") == "openrouter:openai/gpt-4o-mini", "a router goes by its own days"


def test_the_catalogue_is_dated_and_plausible() -> None:
    assert as_of().year >= 2025
    for provider in ("openai", "anthropic", "google", "deepseek", "groq", "ollama", "local", "scripted"):
        for name in known_models(provider):
            card = find_card(provider, name)
            assert card.context_tokens >= (card.max_output_tokens or 0) > -1


@pytest.mark.parametrize(
    ("provider", "model", "context", "output"),
    [
        ("openai", "gpt-6-luna", 1_050_000, 128_000),
        ("openai-responses", "gpt-6.1-terra", 1_050_000, 128_000),
        ("openai", "gpt-6.2-sol", 1_050_000, 128_000),
        ("openai", "gpt-5.6", 1_050_000, 128_000),
        ("anthropic", "claude-sonnet-4-6", 1_000_000, 128_000),
        ("anthropic", "claude-opus-4-7", 1_000_000, 128_000),
        ("anthropic", "claude-fable-5", 1_000_000, 128_000),
        ("openrouter", "anthropic/claude-sonnet-4.6", 1_000_000, 128_000),
    ],
)
def test_the_limits_of_the_newer_models_are_known(
    provider: str, model: str, context: int, output: int
) -> None:
    card = find_card(provider, model)
    assert (card.context_tokens, card.max_output_tokens) == (context, output)
    assert (card.tools, card.vision, card.reasoning) == (True, True, True)


def test_of_each_of_openais_models_that_reason_it_is_known_how_it_may_be_asked_to() -> None:
    for name in known_models("openai"):
        traits = find_openai(name)
        assert (traits.sampling == "unthinking") == find_card("openai", name).reasoning, name


def test_where_tools_are_said_to_be_taken_instead_is_a_provider_in_another_dialect() -> None:
    for name, quirks in PROFILES.items():
        assert not quirks.tools_at or PLACES[quirks.tools_at].dialect != PLACES[name].dialect


def test_what_stands_in_for_a_model_that_has_ended_takes_an_agents_tools(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue, "_today", lambda: datetime.date(2030, 1, 1))
    assert find_openai(try_first("openai").removeprefix("openai:")).tools != "elsewhere"


async def named(models: Models, provider: str, seconds: float = 2) -> Availability:
    return next(
        found for found in await models.available(HOME, seconds=seconds) if found.provider == provider
    )


async def test_what_is_available_names_variables_and_never_keys() -> None:
    nowhere = "http://127.0.0.1:1"
    environ = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": "sk-ant-secret", "ANTHROPIC_BASE_URL": nowhere}
    # Nobody listens at that proxy, so OpenAI is not asked whether it takes the key.
    async with Egress(EgressSettings(proxy=nowhere)) as egress:
        models = Models({**environ, "OLLAMA_HOST": "127.0.0.1:1"}, egress, AT_HOME, Local())
        found = await models.available(HOME)
        assert KEY not in repr(found)
        assert "secret" not in repr(found)
        ready = {item.provider for item in found if item.ready}
        assert ready == {"local", "openai", "openai-responses", "scripted"}
        assert {item.provider for item in found if item.key} == {"openai", "openai-responses", "anthropic"}
        assert (await named(models, "anthropic")).key == "ANTHROPIC_API_KEY"
        assert "not for real work" in (await named(models, "local")).note
        groq = await named(models, "groq")
        assert (groq.unset, groq.usual, groq.note) == (True, False, "no key; set GROQ_API_KEY")


async def test_an_ollama_that_answers_shows_its_models(egress: Egress) -> None:
    tags = json.dumps({"models": [{"name": "qwen3:4b"}, {"name": "llama3.2:latest"}]}).encode()
    async with upstream(plain(200, tags)) as place:
        found = await named(Models({"OLLAMA_HOST": place.url.removesuffix("/v1")}, egress, AT_HOME), "ollama")
    assert found.ready
    assert found.models == ["ollama:qwen3:4b", "ollama:llama3.2:latest"]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"models": 1}', b'{"models": [1]}'])
async def test_something_else_at_ollamas_address_is_no_ollama(egress: Egress, body: bytes) -> None:
    async with upstream(plain(200, body)) as place:
        found = await named(Models({"OLLAMA_HOST": place.url.removesuffix("/v1")}, egress, AT_HOME), "ollama")
    assert not found.ready


async def test_an_ollama_that_hangs_delays_nobody(egress: Egress) -> None:
    async with upstream(hang) as place:
        models = Models({"OLLAMA_HOST": place.url.removesuffix("/v1")}, egress, AT_HOME)
        found = await asyncio.wait_for(named(models, "ollama", 0.05), 1)
    assert not found.ready


@pytest.mark.parametrize(
    ("state", "ready"), [("absent", False), ("ready", True), ("failed: It broke.", False)]
)
async def test_the_bundled_models_state_is_told(egress: Egress, state: str, ready: bool) -> None:
    models = Models({"OLLAMA_HOST": "127.0.0.1:1"}, egress, AT_HOME, Local(state=state))
    assert (await named(models, "local")).ready is ready


async def test_a_probe_asks_for_a_word_and_hangs_up(egress: Egress) -> None:
    async with upstream(GOOD) as place:
        models = Models({"OPENAI_BASE_URL": place.url}, egress, AT_HOME)
        probe = await models.probe("openai:m", HOME)
    assert probe.seconds > 0
    assert place.requests[0].json()["max_tokens"] == 16
    assert (await models.probe("scripted:test", HOME)).model == "test"


async def test_a_probe_of_a_model_that_refuses_says_why(egress: Egress) -> None:
    async with upstream(plain(401, b"")) as place:
        models = Models({"OPENAI_BASE_URL": place.url, "OPENAI_API_KEY": KEY}, egress, AT_HOME)
        with pytest.raises(ModelError, match="OPENAI_API_KEY"):
            await models.probe("openai:m", HOME)


async def test_no_key_shows_in_a_repr(egress: Egress) -> None:
    models = Models({"OPENAI_API_KEY": KEY}, egress, AT_HOME)
    resolved = models.resolve("openai:gpt-4o", HOME)
    assert KEY not in repr(models) + repr(resolved) + repr(vars(resolved.provider))
