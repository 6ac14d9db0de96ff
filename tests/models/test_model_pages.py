"""The Models page over HTTP: what stands first, what a key would bring, and a model tried in a stream."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.types import Message

from porch.contract.errors import InvalidInput, ModelError
from porch.contract.events import AnyEvent, Cost, Usage, decode_event
from porch.contract.sse import SseDecoder
from porch.egress import Egress
from porch.http.event_stream import EventResponse
from porch.identity.pages import router as sign_in_pages
from porch.models import Models, pages
from porch.models.abilities import chain_view, price_words
from porch.models.places import PLACES
from porch.models.prices import Price
from porch.models.routes import router as routes
from porch.models.sharing import Sharing
from porch.models.trial_events import tell
from porch.models.trials import Trial
from tests.conftest import FreshUrls
from tests.http.app import Tenant, World, assembled
from tests.http.browser import Browser
from tests.http.client import Answer, Client
from tests.providers.upstream import DONE, SAY, STOP, Upstream, answer, plain, upstream

FORM = {"content-type": "application/x-www-form-urlencoded"}
KEY = "sk-a-key-of-many-letters-x7Qa"
COUNTED = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}\n\n'


@dataclass(frozen=True)
class Desk:
    """The app, an owner, and a server that stands in OpenAI's place."""

    world: World
    ada: Tenant
    place: Upstream
    egress: Egress

    def configure(self, **environ: str) -> None:
        """Other variables than those of the stand-in."""
        self.world.app.state.models = Models(
            {"OLLAMA_HOST": "127.0.0.1:1", **environ}, self.egress, Sharing(self.ada.workspace)
        )

    async def page(self, client: Client | None = None) -> str:
        """The Models page."""
        shown = await (client or self.ada.client).get("/models")
        assert shown.status == 200
        return shown.body.decode()

    async def try_model(self, model: str, client: Client | None = None) -> Answer:
        """Ask for the stream."""
        body = urlencode({"model": model}).encode()
        return await (client or self.ada.client).post("/models/test/stream", body=body, headers=FORM)


@pytest.fixture
async def desk(fresh_urls: FreshUrls) -> AsyncIterator[Desk]:
    async with (
        Egress() as egress,
        upstream(answer(SAY, STOP, COUNTED, DONE)) as place,
        assembled(await fresh_urls(), [routes, pages.router, sign_in_pages]) as world,
    ):
        world.app.state.default_model = "local:smollm2"
        made = Desk(world, await world.tenant("ada"), place, egress)
        world.app.state.home = made.ada.workspace
        made.configure(OPENAI_BASE_URL=place.url)
        yield made


def events_of(body: bytes) -> list[AnyEvent]:
    decoder = SseDecoder()
    found = [decode_event(each.data) for each in [*decoder.feed(body), *decoder.finish()]]
    assert None not in found
    return [event for event in found if event is not None]


def types_of(events: Sequence[AnyEvent]) -> list[str]:
    return [str(event.__struct_config__.tag) for event in events]


def text_of(markup: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)))


async def test_a_trial_streams_the_words_the_usage_and_the_time_to_the_first_token(desk: Desk) -> None:
    tried = await desk.try_model("openai:m")
    assert (tried.status, tried.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert tried.headers["cache-control"] == "no-store"
    events = events_of(tried.body)
    assert types_of(events) == [
        "step.started",
        "part.started",
        "stream.chunk",
        "part.finished",
        "usage",
        "step.finished",
    ]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
    told: Any = events
    assert (told[0].model, told[2].delta, told[3].value) == ("openai:m", "Hi", "Hi")
    assert (told[4].input_tokens, told[4].output_tokens) == (9, 2)
    assert 0 <= told[5].ext["first_token_ms"] <= told[5].ext["total_ms"]


@pytest.mark.parametrize(
    ("model", "category", "said"),
    [
        ("openai:m", "auth", "asks for a key"),
        ("anthropic:claude", "auth", "ANTHROPIC_API_KEY"),
        ("nobody:m", "bad_request", "there is no provider"),
        ("", "bad_request", "names no model"),
    ],
)
async def test_what_keeps_a_model_from_answering_is_told_in_the_stream_as_a_sentence(
    desk: Desk, model: str, category: str, said: str
) -> None:
    desk.place.behaviours[:] = [plain(401, b'{"error": {"message": "No key"}}')]
    tried = await desk.try_model(model)
    events: Any = events_of(tried.body)
    assert (tried.status, types_of(events)) == (200, ["step.started", "run.failed"])
    assert events[1].error.category == category
    assert said in events[1].error.message
    assert events[1].error.emitted_any is False


async def test_only_who_administers_models_may_try_one_and_from_a_page_of_ours(desk: Desk) -> None:
    reader = await desk.world.member(desk.ada, "editor")
    assert (await desk.try_model("scripted:test", reader)).status == 403
    assert (await desk.try_model("scripted:test", Client(desk.world.app))).status == 401
    browser = Browser(desk.world.app)
    made = await desk.ada.client.post("/api/v1/sign-in-links")
    await browser.sign_in(made.json["url"])
    mine = await browser.submit("/models/test/stream", {"model": "scripted:test"})
    assert types_of(events_of(mine.body))[-1] == "step.finished"
    browser.csrf = ""
    forged = await browser.submit("/models/test/stream", {"model": "scripted:test"})
    assert (forged.status, b"CSRF token" in forged.body) == (403, True)


async def test_a_failure_after_words_says_that_some_were_shown_and_a_fault_of_ours_tells_nothing() -> None:
    def breaking(error: Exception) -> Any:
        async def ask(_: str) -> AsyncGenerator[str | Trial]:
            yield "Well, "
            raise error

        return ask

    cut = ModelError("It broke off. Try again.", code="cut", category="cut", retryable=True)
    async with aclosing(tell("a:b", breaking(cut))) as stream:
        events: Any = [event async for event in stream]
    assert types_of(events)[-2:] == ["stream.chunk", "run.failed"]
    failure = events[-1].error
    assert (failure.code, failure.retryable, failure.emitted_any) == ("cut", True, True)
    async with aclosing(tell("a:b", breaking(KeyError("sk-secret")))) as stream:
        events = [event async for event in stream]
    assert events[-1].error.code == "internal"
    assert "sk-secret" not in events[-1].error.message


async def test_the_price_and_the_cached_tokens_of_a_trial_are_told_where_they_are_known() -> None:
    cost = Cost(amount="0.0001", currency="USD", priced_at="2026-11-01")
    usage = Usage(input_tokens=9, output_tokens=2, cached_input_tokens=4, reasoning_tokens=1, cost=cost)

    async def ask(_: str) -> AsyncGenerator[str | Trial]:
        yield Trial("a:b-2", None, 0.5, usage)

    async with aclosing(tell("a:b", ask)) as stream:
        events: Any = [event async for event in stream]
    assert types_of(events) == ["step.started", "usage", "step.finished"], "it said nothing"
    assert events[1].cost == cost
    assert (events[1].cached_input_tokens, events[1].reasoning_tokens) == (4, 1)
    assert (events[2].model, events[2].ext) == ("a:b-2", {"total_ms": 500})


async def test_a_model_is_let_go_when_its_reader_leaves() -> None:
    let_go, left = asyncio.Event(), asyncio.Event()

    async def ask(_: str) -> AsyncGenerator[str | Trial]:
        try:
            yield "Well, "
            left.set()
            await asyncio.Event().wait()
        finally:
            let_go.set()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        del message

    await EventResponse(tell("a:b", ask))({"type": "http"}, receive, send)
    assert let_go.is_set()


async def test_what_is_set_up_stands_first_and_the_rest_is_folded(desk: Desk) -> None:
    desk.configure(OPENAI_API_KEY=KEY)
    shown = await desk.page()
    first, _, rest = shown.partition('id="more"')
    assert 'id="provider-openai"' in first
    assert 'id="provider-scripted"' in first
    assert rest.startswith(">"), "it is not open"
    for name, place in PLACES.items():
        if place.holder != "openai":
            assert f'id="provider-{name}"' in rest
    mistral = text_of(rest[rest.index('id="provider-mistral"') :][:900])
    assert "Get a key for Mistral" in mistral
    assert "MISTRAL_API_KEY" in mistral
    assert f'href="{PLACES["mistral"].key_page}"' in rest
    assert "VLLM_BASE_URL" in rest


async def test_where_nothing_but_the_keyless_is_set_up_the_usual_ones_are_offered_at_once(desk: Desk) -> None:
    desk.configure()
    offered, _, folded = (await desk.page()).partition('id="more"')
    assert "Add a provider" in offered
    for name, place in PLACES.items():
        assert f'id="provider-{name}"' in (offered if place.usual else folded)
    desk.configure(OPENAI_API_KEY=KEY)
    assert "Add a provider" not in await desk.page()


async def test_what_shares_another_providers_key_asks_for_none(desk: Desk) -> None:
    desk.configure()
    shown = await desk.page()
    row = shown[shown.index('id="provider-openai-responses"') :].partition("</li>")[0]
    assert "Comes with OpenAI’s key." in row
    assert "<form" not in row
    assert "OPENAI_API_KEY" not in row


async def test_what_a_key_would_bring_stands_beside_its_field(desk: Desk) -> None:
    desk.configure()
    shown = await desk.page()
    card = text_of(shown[shown.index('id="provider-openai"') :].partition("</form>")[0])
    assert re.search(r"A key brings, among others: openai:\S+ .*tools.*images.* tokens", card)


def card_of(shown: str, provider: str) -> str:
    """A provider's card as it is read."""
    return text_of(shown[shown.index(f'id="provider-{provider}"') :].partition("</section>")[0])


async def test_a_server_that_does_not_answer_is_said_not_to_and_not_that_it_was_never_set_up(
    desk: Desk,
) -> None:
    desk.configure(VLLM_BASE_URL="http://127.0.0.1:1/v1")
    card = card_of(await desk.page(), "vllm")
    assert "not reached" in card
    assert "not set up" not in card
    assert "start that server, or change VLLM_BASE_URL" in card
    assert "Add a key, if it asks for one" in card


async def test_a_key_is_tested_with_a_model_of_which_the_name_is_known_or_with_none(desk: Desk) -> None:
    desk.configure(VLLM_BASE_URL="http://127.0.0.1:1/v1", OPENAI_API_KEY=KEY)
    shown = await desk.page()
    assert re.search(r'id="try-vllm" name="model" value=""', shown)
    assert re.search(r'id="try-openai" name="model" value="openai:gpt-4o-mini"', shown)
    assert "Leave it empty" in card_of(shown, "vllm")


async def test_what_is_only_assumed_of_a_model_is_told_from_what_its_list_says(desk: Desk) -> None:
    listed = b'{"data": [{"id": "mine", "context_length": 4000}, {"id": "yours"}]}'
    async with upstream(plain(200, listed)) as place:
        desk.configure(VLLM_BASE_URL=place.url)
        card = card_of(await desk.page(), "vllm")
    assert re.search(r"vllm:mine what it can do is not known; reads 4,000 tokens", card)
    assert re.search(r"vllm:yours what it can do is not known; 8,192 tokens assumed", card)


async def test_every_field_of_the_page_has_an_id_of_its_own(desk: Desk) -> None:
    for environ in ({}, {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "MISTRAL_API_KEY": KEY}):
        desk.configure(**environ)
        ids = re.findall(r'\sid="([^"]+)"', await desk.page())
        assert len(ids) == len(set(ids))


async def test_a_reader_sees_what_there_is_and_no_form(desk: Desk) -> None:
    reader = await desk.world.member(desk.ada, "viewer")
    shown = await desk.page(reader)
    assert "<form" not in shown.partition("<main")[2].partition("</main")[0]
    assert "ANTHROPIC_API_KEY" in shown


async def test_abilities_of_typed_models_come_as_a_piece_of_a_page(desk: Desk) -> None:
    desk.configure(OPENAI_API_KEY=KEY)
    asked = [("model", "openai:gpt-4o"), ("model", " "), ("model", "local:smollm2"), ("tools", "yes")]
    told = await desk.ada.client.get("/models/abilities?" + urlencode(asked))
    said = text_of(told.body.decode())
    assert re.search(
        r"1\. openai:gpt-4o tools images reads 128,000 tokens · "
        r"\$2\.50 in, \$10\.00 out per million, as of \d{4}-\d\d-\d\d",
        said,
    )
    assert "local:smollm2 cannot call tools" in said
    assert "switched off" in said, "what keeps it from answering"
    assert "<html" not in told.body.decode()
    hostile = await desk.ada.client.get("/models/abilities?" + urlencode({"model": "x:<b>\u202e</b>"}))
    assert b"<b>" not in hostile.body
    assert "\u202e" not in hostile.body.decode()
    assert (await Client(desk.world.app).get("/models/abilities?model=a:b")).status in (303, 401)


async def test_another_server_of_the_family_is_not_said_to_ask_openais_prices(desk: Desk) -> None:
    view = chain_view(desk.world.app.state.models, ["openai:gpt-4o"], desk.ada.workspace, uses_tools=False)
    assert (view["models"][0]["known"], view["models"][0]["price"]) == (True, "")


async def test_of_a_model_that_nobody_knows_nothing_is_claimed(desk: Desk) -> None:
    view = chain_view(desk.world.app.state.models, ["openai:brand-new"], desk.ada.workspace, uses_tools=True)
    assert (view["models"][0]["able"], view["toolless"]) == ([], [])
    with pytest.raises(InvalidInput):
        desk.world.app.state.models.resolve("nobody:x", desk.ada.workspace)
    view = chain_view(desk.world.app.state.models, ["nobody:x"], desk.ada.workspace, uses_tools=True)
    assert view["models"][0]["fault"]


@pytest.mark.parametrize(
    ("read", "written", "currency", "said"),
    [
        ("2.5", "10", "USD", "$2.50 in, $10.00 out per million, as of 2026-11-01"),
        ("0.075", "0.3", "USD", "$0.075 in, $0.30 out per million, as of 2026-11-01"),
        ("1", "1500", "EUR", "€1.00 in, €1,500.00 out per million, as of 2026-11-01"),
        ("0", "0", "CHF", "CHF 0.00 in, CHF 0.00 out per million, as of 2026-11-01"),
    ],
)
def test_prices_are_written_as_people_write_them(read: str, written: str, currency: str, said: str) -> None:
    price = Price(Decimal(read), Decimal(written), None, currency, "2026-11-01")
    assert price_words(price) == said
