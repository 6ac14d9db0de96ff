"""What a server that stands in OpenAI's place lists, and what is told where it lists nothing."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from porch.egress import Egress
from porch.models import Availability, Models
from porch.models.listing import other_server
from porch.models.offers import Offer, list_offers
from tests.providers.asking import KEY
from tests.providers.upstream import Upstream, hang, plain, upstream

NAMES = ["qwen3-32b", "meta/llama-4:free"]
LISTED = plain(200, json.dumps({"object": "list", "data": [{"id": name} for name in NAMES]}).encode())


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


def models_at(place: Upstream, egress: Egress, **environ: str) -> Models:
    return Models({"OPENAI_BASE_URL": place.url, "OLLAMA_HOST": "127.0.0.1:1", **environ}, egress)


async def found(models: Models, seconds: float = 3) -> Availability:
    return next(item for item in await models.available(seconds=seconds) if item.provider == "openai")


async def offered(models: Models) -> Offer:
    return next(offer for offer in await list_offers(models, seconds=3) if offer.provider == "openai")


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
    long = json.dumps({"data": [{"id": f"m{number}"} for number in range(100_000)]}).encode()
    for behaviour, words in ((plain(404), "(it answered 404)"), (plain(200, long), "gives no list")):
        async with upstream(behaviour) as place:
            offer = await offered(models_at(place, egress))
        assert offer.unlisted
        assert words in offer.note


async def test_a_list_shows_so_many_and_each_once(egress: Egress) -> None:
    many = json.dumps({"data": [{"id": f"m{number // 2}"} for number in range(1000)]}).encode()
    async with upstream(plain(200, many)) as place:
        names = (await found(models_at(place, egress))).models
    assert names == [f"openai:m{number}" for number in range(200)]


async def test_a_server_that_hangs_delays_nobody(egress: Egress) -> None:
    async with upstream(hang) as place:
        models = models_at(place, egress)
        told = await asyncio.wait_for(found(models, 0.05), 1)
    assert (told.ready, told.models) == (True, [])
    assert "has not said yet" in told.note


async def test_where_nothing_answers_it_is_not_ready(egress: Egress) -> None:
    told = await found(
        Models({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OLLAMA_HOST": "127.0.0.1:1"}, egress)
    )
    assert not told.ready
    assert "nothing answers there" in told.note
    assert "OPENAI_BASE_URL" in told.note


def test_openais_own_address_is_no_other_server() -> None:
    assert other_server({"OPENAI_BASE_URL": "https://api.openai.com/v1/"}) is None
    assert other_server({}) is None
    assert other_server({"OPENAI_BASE_URL": "http://gpu.lan/v1"}) == "http://gpu.lan/v1"
