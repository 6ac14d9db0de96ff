"""What a server that stands in OpenAI's place lists, and what is told where it lists nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from porch.contract.errors import ModelError
from porch.egress import Egress, EgressSettings
from porch.models import Availability, Models
from porch.models.catalogue import known_models
from porch.models.offers import Offer, list_offers
from porch.models.places import PLACES, Found, is_elsewhere
from porch.models.prices import spell
from tests.home import AT_HOME, HOME
from tests.providers.asking import KEY
from tests.providers.upstream import Upstream, hang, plain, upstream

NAMES = ["qwen3-32b", "meta/llama-4:free"]
LISTED = plain(200, json.dumps({"object": "list", "data": [{"id": name} for name in NAMES]}).encode())


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


def models_at(place: Upstream, egress: Egress, **environ: str) -> Models:
    return Models({"OPENAI_BASE_URL": place.url, "OLLAMA_HOST": "127.0.0.1:1", **environ}, egress, AT_HOME)


async def found(models: Models, seconds: float = 3) -> Availability:
    return next(item for item in await models.available(HOME, seconds=seconds) if item.provider == "openai")


async def offered(models: Models) -> Offer:
    return next(offer for offer in await list_offers(models, HOME, seconds=3) if offer.provider == "openai")


async def test_its_own_models_are_offered_and_asked_for_once_in_a_while(egress: Egress) -> None:
    async with upstream(LISTED) as place:
        models = models_at(place, egress, OPENAI_API_KEY=KEY)
        assert (await found(models)).models == [f"openai:{name}" for name in NAMES]
        offer = await offered(models)
    assert [name for name, _ in offer.models] == [f"openai:{name}" for name in NAMES]
    assert len(place.requests) == 1
    assert place.requests[0].head.startswith("GET /v1/models ")
    assert f"Authorization: Bearer {KEY}" in place.requests[0].head


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"data": 1}',
        b'{"data": [1]}',
        b'{"data": [{"id": 7}, {"id": "a b"}, {"id": ""}]}',
        b"{}",
    ],
)
async def test_a_server_without_a_list_is_ready_and_leaves_the_name_to_people(
    egress: Egress, body: bytes
) -> None:
    async with upstream(plain(200, body)) as place:
        offer = await offered(models_at(place, egress))
    assert (offer.ready, offer.unlisted, offer.models) == (True, True, [])
    assert "gives no list of its models: write a model's name yourself" in offer.note


async def test_a_list_that_is_refused_or_too_long_is_none(egress: Egress) -> None:
    long = json.dumps({"data": [{"id": f"m{number}"} for number in range(300_000)]}).encode()
    for behaviour, words in ((plain(404), "(it answered 404)"), (plain(200, long), "gives no list")):
        async with upstream(behaviour) as place:
            offer = await offered(models_at(place, egress))
        assert offer.unlisted
        assert words in offer.note


async def test_a_list_shows_so_many_and_each_once(egress: Egress) -> None:
    many = json.dumps({"data": [{"id": f"m{number // 2}"} for number in range(3000)]}).encode()
    async with upstream(plain(200, many)) as place:
        names = (await found(models_at(place, egress))).models
    assert names == [f"openai:m{number}" for number in range(600)]


async def test_a_server_that_hangs_delays_nobody(egress: Egress) -> None:
    async with upstream(hang) as place:
        models = models_at(place, egress)
        told = await asyncio.wait_for(found(models, 0.05), 1)
    assert (told.ready, told.models) == (True, [])
    assert "has not said yet" in told.note


async def test_where_nothing_answers_it_is_not_ready(egress: Egress) -> None:
    told = await found(
        Models({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OLLAMA_HOST": "127.0.0.1:1"}, egress, AT_HOME)
    )
    assert not told.ready
    assert "nothing answers there" in told.note
    assert "OPENAI_BASE_URL" in told.note


def test_openais_own_address_is_no_other_server() -> None:
    openai = PLACES["openai"]
    assert not is_elsewhere({"OPENAI_BASE_URL": "https://api.openai.com/v1/"}, openai)
    assert not is_elsewhere({}, openai)
    assert is_elsewhere({"OPENAI_BASE_URL": "http://gpu.lan/v1"}, openai)


LIST = json.dumps(
    [{"id": "models/chat-one", "type": "chat"}, {"id": "painter", "type": "image"}, {"id": "plain"}]
).encode()


@pytest.mark.parametrize(
    ("provider", "names"), [("together", ["models/chat-one", "plain"]), ("google", ["chat-one", "plain"])]
)
async def test_every_provider_that_lists_its_models_offers_those_that_converse(
    egress: Egress, provider: str, names: list[str]
) -> None:
    place = PLACES[provider]
    async with upstream(plain(200, LIST)) as server:
        environ = {place.variable: server.url, place.key: KEY, "OLLAMA_HOST": "127.0.0.1:1"}
        listed = await Models(environ, egress, AT_HOME).available(HOME, seconds=3)
    assert next(item.models for item in listed if item.provider == provider) == [
        f"{provider}:{name}" for name in names
    ]
    assert f"Authorization: Bearer {KEY}" in server.requests[0].head


TOLD = [
    {"id": "a/routed", "context_length": 64000, "top_provider": {"max_completion_tokens": 8000}},
    {"id": "odd", "context_length": "many", "max_completion_tokens": True},
    {"id": "openai/gpt-4o", "context_length": 5},
]


async def test_limits_that_a_list_tells_hold_for_models_that_the_table_does_not_have(egress: Egress) -> None:
    async with upstream(plain(200, json.dumps({"data": TOLD}).encode())) as place:
        environ = {"OPENROUTER_BASE_URL": place.url, "OLLAMA_HOST": "127.0.0.1:1"}
        models = Models(environ, egress, AT_HOME)
        assert models.resolve("openrouter:a/routed", HOME).context_tokens == 8192
        offers = await list_offers(models, HOME, seconds=3)
    routed = models.resolve("openrouter:a/routed", HOME)
    assert (routed.context_tokens, routed.max_output_tokens) == (64_000, 8_000)
    assert (
        models.resolve("openrouter:odd", HOME).context_tokens,
        models.card_of("openrouter:odd", HOME).known,
    ) == (
        8192,
        False,
    )
    assert models.resolve("openrouter:openai/gpt-4o", HOME).context_tokens == 128_000
    offer = next(offer for offer in offers if offer.provider == "openrouter")
    assert offer.models[0][1].context_tokens == 64_000


ROUTED: list[dict[str, Any]] = [
    {
        "id": "maker/able",
        "context_length": 200000,
        "architecture": {"input_modalities": ["text", "image"]},
        "supported_parameters": ["max_tokens", "reasoning", "tools"],
        "pricing": {"prompt": "0.00000015", "completion": "6e-7", "input_cache_read": "0.000000075"},
    },
    {
        "id": "maker/plain",
        "architecture": {"input_modalities": ["text"]},
        "supported_parameters": [],
        "pricing": {"prompt": "0", "completion": "0"},
    },
    {"id": "maker/varies", "pricing": {"prompt": "-1", "completion": "-1"}, "architecture": None},
    {"id": "maker/odd", "pricing": {"prompt": "NaN", "completion": 1}, "supported_parameters": "tools"},
    {"id": "openai/gpt-4o-mini", "pricing": {"prompt": "1", "completion": "1"}},
]


@pytest.fixture
async def router(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Models]:
    """OpenRouter at its own address, which is one of this machine."""
    async with upstream(plain(200, json.dumps({"data": ROUTED}).encode())) as server:
        monkeypatch.setitem(PLACES, "openrouter", replace(PLACES["openrouter"], url=server.url))
        environ = {"OPENROUTER_BASE_URL": server.url, "OPENROUTER_API_KEY": KEY}
        models = Models({**environ, "OLLAMA_HOST": "127.0.0.1:1"}, egress, AT_HOME)
        await models.available(HOME, seconds=3)
        yield models


async def test_what_openrouters_list_tells_of_a_model_is_known(router: Models) -> None:
    able, dull, odd = (router.card_of(f"openrouter:maker/{name}", HOME) for name in ("able", "plain", "odd"))
    assert (able.known, able.tools, able.vision, able.reasoning) == (True, True, True, True)
    assert (able.context_tokens, able.may_see) == (200_000, True)
    assert (dull.known, dull.tools, dull.vision, dull.reasoning, dull.may_see) == (
        True,
        False,
        False,
        False,
        False,
    )
    assert (odd.known, odd.may_see) == (False, True)


async def test_prices_in_openrouters_list_are_those_of_today(router: Models) -> None:
    days = {datetime.now(UTC).date().isoformat()}
    price = router.price_of("openrouter:maker/able", HOME)
    days.add(datetime.now(UTC).date().isoformat())
    assert price is not None
    assert price.priced_at in days
    assert (spell(price.input), spell(price.output), price.currency) == ("0.15", "0.6", "USD")
    assert price.cached is not None
    assert spell(price.cached) == "0.075"
    free = router.price_of("openrouter:maker/plain", HOME)
    assert free is not None
    assert spell(free.input) == "0"
    assert router.price_of("openrouter:maker/varies", HOME) is None
    assert router.price_of("openrouter:maker/odd", HOME) is None


async def test_a_gateway_in_openrouters_place_is_not_said_to_ask_its_prices(egress: Egress) -> None:
    async with upstream(plain(200, json.dumps({"data": ROUTED}).encode())) as server:
        models = Models({"OPENROUTER_BASE_URL": server.url, "OLLAMA_HOST": "127.0.0.1:1"}, egress, AT_HOME)
        await models.available(HOME, seconds=3)
    assert models.card_of("openrouter:maker/able", HOME).known
    assert models.price_of("openrouter:maker/able", HOME) is None


async def test_without_a_network_every_provider_that_is_set_up_is_said_not_to_be_reached() -> None:
    keys = {place.key: KEY for place in PLACES.values() if place.usual}
    # A proxy at which nobody listens: whatever goes beyond this machine fails, as without a network.
    async with Egress(EgressSettings(proxy="http://127.0.0.1:1")) as egress:
        offers = await list_offers(
            Models({**keys, "OLLAMA_HOST": "127.0.0.1:1"}, egress, AT_HOME), HOME, seconds=3
        )
    states = {offer.provider: offer.state for offer in offers if offer.key}
    assert states == dict.fromkeys(("openai", "openai-responses", "anthropic", "openrouter"), "not reached")
    assert next(offer.models for offer in offers if offer.provider == "openai"), "the table needs no network"


async def test_openais_own_list_tells_whether_it_answers_and_the_table_which_models_converse(
    egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = json.dumps({"data": [{"id": "whisper-1"}, {"id": "gpt-4o"}]}).encode()
    async with upstream(plain(200, listed)) as server:
        monkeypatch.setitem(PLACES, "openai", replace(PLACES["openai"], url=server.url))
        told = await found(models_at(server, egress, OPENAI_API_KEY=KEY))
    assert (told.state, told.models) == ("ready", [f"openai:{name}" for name in known_models("openai")])
    assert len(server.requests) == 1


async def test_a_key_that_one_model_refused_leaves_the_others_to_be_tried(egress: Egress) -> None:
    async with upstream(LISTED) as place:
        models = models_at(place, egress, OPENAI_API_KEY=KEY)
        place.behaviours[:] = [plain(401)]
        with pytest.raises(ModelError):
            await models.probe("openai:m", HOME)
        place.behaviours[:] = [LISTED]
        offer = await offered(models)
    assert (offer.state, offer.ready, offer.tried) == ("refused", False, True)
    assert [name for name, _ in offer.models] == [f"openai:{name}" for name in NAMES]


async def test_anthropics_list_is_asked_for_in_its_own_dialect(egress: Egress) -> None:
    listed = json.dumps({"data": [{"type": "model", "id": "claude-test"}]}).encode()
    async with upstream(plain(200, listed)) as place:
        environ = {
            "ANTHROPIC_BASE_URL": place.url.removesuffix("/v1"),
            "ANTHROPIC_API_KEY": KEY,
            "OLLAMA_HOST": "127.0.0.1:1",
        }
        items = await Models(environ, egress, AT_HOME).available(HOME, seconds=3)
    assert next(item.models for item in items if item.provider == "anthropic") == ["anthropic:claude-test"]
    head = place.requests[0].head
    assert head.startswith("GET /v1/models?limit=1000 ")
    assert f"x-api-key: {KEY}" in head
    assert "anthropic-version: 2023-06-01" in head


async def test_a_look_ahead_makes_limits_known_before_anybody_opens_a_page(egress: Egress) -> None:
    async with upstream(plain(200, json.dumps({"data": TOLD}).encode())) as place, upstream(hang) as ollama:
        environ = {
            "OPENROUTER_BASE_URL": place.url,
            "MISTRAL_BASE_URL": "http://127.0.0.1:1/v1",
            "GROQ_BASE_URL": "nonsense",
            "OLLAMA_HOST": ollama.url.removesuffix("/v1"),
        }
        models = Models(environ, egress, AT_HOME)
        await models.look_ahead()
        assert models.resolve("openrouter:a/routed", HOME).context_tokens == 64_000
    assert [exchange.head.split(" HTTP")[0] for exchange in place.requests] == ["GET /v1/models"]
    assert ollama.requests == [], "what its models read is known without asking"


async def test_a_look_ahead_is_short_and_never_fails(
    egress: Egress, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("porch.models.listing.LIST_SECONDS", 0.1)
    monkeypatch.setattr("porch.models.service.LIST_SECONDS", 0.1)
    async with upstream(hang) as silent:
        models = Models({"VLLM_BASE_URL": silent.url}, egress, AT_HOME)
        await asyncio.wait_for(models.look_ahead(), 30)

    async def break_down(*_: object) -> Availability:
        raise ValueError

    monkeypatch.setattr("porch.models.service.look_at_list", break_down)
    await Models({"VLLM_BASE_URL": silent.url}, egress, AT_HOME).look_ahead()
    assert "list of models could not be read" in caplog.text


async def test_a_look_ahead_where_nothing_is_set_up_asks_nobody(
    egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def note(_: object, found: Found, plain: Availability) -> Availability:
        asked.append(found.place.name)
        return plain

    monkeypatch.setattr("porch.models.service.look_at_list", note)
    await Models({}, egress, AT_HOME).look_ahead()
    assert asked == []
    await Models(
        {"OPENAI_API_KEY": KEY, "GROQ_API_KEY": KEY, "PERPLEXITY_API_KEY": KEY}, egress, AT_HOME
    ).look_ahead()
    assert asked == ["openai", "groq"]


@pytest.mark.parametrize(
    ("status", "body", "key", "refused"),
    [
        (401, b'{"error": {"message": "Incorrect API key provided"}}', KEY, True),
        (400, b'[{"error": {"code": 400, "message": "API key not valid."}}]', KEY, True),
        (401, b"", KEY, True),
        (401, b"", "", False),
        (401, b'{"error": {"message": "Key not allowed to call this route"}}', KEY, False),
        (403, b"", KEY, False),
        (500, b"", KEY, False),
    ],
)
async def test_a_key_that_the_list_refuses_is_shown_as_refused(
    egress: Egress, status: int, body: bytes, key: str, refused: bool
) -> None:
    async with upstream(plain(status, body)) as place:
        told = await found(models_at(place, egress, OPENAI_API_KEY=key))
    assert (told.refused, told.ready) == (refused, not refused)
    assert str(status) in told.note
    assert ("it was refused when its models were asked for" in told.note) == refused
