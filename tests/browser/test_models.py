"""The page of models: a key is added, tried on the spot, used and removed, with and without scripts."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.house import Gate, House, standing
from tests.postgres import TestServer
from tests.providers.upstream import (
    DONE,
    SAY,
    STOP,
    Behaviour,
    Exchange,
    Upstream,
    answer,
    hang_up,
    plain,
    then,
    upstream,
)

Axe = Callable[[Page], Awaitable[None]]
KEY = "sk-a-key-of-many-letters-x7Qa"


@dataclass(frozen=True)
class Shop:
    """A server whose OpenAI is played here."""

    gate: Gate
    openai: Upstream


@pytest.fixture(scope="module")
async def shop(browser: Browser, postgres: TestServer) -> AsyncGenerator[Shop]:
    del browser
    async with (
        upstream(answer(SAY, STOP, DONE)) as place,
        standing(postgres, {"OPENAI_BASE_URL": place.url}) as gate,
    ):
        yield Shop(gate, place)


def asked(behave: Behaviour) -> Behaviour:
    """For the questions of a model alone: the list of models is asked for beside them."""

    async def choose(exchange: Exchange) -> None:
        await (behave if exchange.head.startswith("POST") else plain(404))(exchange)

    return choose


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_key_is_added_tried_and_removed(shop: Shop, visit: Visit, axe: Axe, scripts: bool) -> None:
    page = await (await visit(shop.gate.house, java_script_enabled=scripts)).new_page()
    await page.goto(shop.gate.house.url + "/models")
    card = page.get_by_role("region", name="OpenAI", exact=True)
    await card.get_by_text("Add a key, if it asks for one").click()
    await card.get_by_label("OpenAI key").fill(KEY)
    await card.get_by_label("Test it with").fill("openai:m")
    await card.get_by_role("button", name="Keep and test").click()
    await expect(page.get_by_role("status").filter(has_text="The key works")).to_be_visible()
    assert f"Bearer {KEY}" in shop.openai.requests[-1].head
    await expect(card).to_contain_text("ending in x7Qa")
    assert KEY not in await page.content()
    if scripts:
        await axe(page)
    await card.get_by_role("button", name="Remove key").click()
    await expect(page.get_by_role("status").filter(has_text="The key is removed")).to_be_visible()
    await expect(card.get_by_role("button", name="Remove key")).to_have_count(0)


async def test_a_key_that_is_refused_says_so_where_one_stands(shop: Shop, visit: Visit) -> None:
    page = await (await visit(shop.gate.house)).new_page()
    await page.goto(shop.gate.house.url + "/models")
    shop.openai.behaviours[:] = [plain(401, b'{"error": {"message": "Incorrect API key provided"}}')]
    card = page.get_by_role("region", name="OpenAI", exact=True)
    await card.get_by_text("Add a key, if it asks for one").click()
    await card.get_by_label("OpenAI key").fill(KEY)
    await card.get_by_label("Test it with").fill("openai:m")
    await card.get_by_role("button", name="Keep and test").click()
    await expect(page.get_by_role("alert")).to_contain_text("The key is kept, but the test failed.")
    await page.get_by_role("link", name="Give another key").press("Enter")
    await page.keyboard.type("typed where the link leads")
    await expect(card.get_by_label("OpenAI key")).to_have_value("typed where the link leads")
    await expect(card.get_by_label("Test it with")).to_have_value("openai:m")
    await card.get_by_label("OpenAI key").fill("no key at all")
    await card.get_by_role("button", name="Keep and test").click()
    await expect(card.get_by_label("OpenAI key")).to_have_attribute("aria-invalid", "true")
    await expect(card.get_by_label("OpenAI key")).to_be_focused()
    await expect(card).to_contain_text("That is no key")
    await card.get_by_role("button", name="Remove key").click()


async def test_without_scripts_a_model_is_tried_by_a_form(house: House, visit: Visit) -> None:
    page = await (await visit(house, java_script_enabled=False)).new_page()
    await page.goto(house.url + "/models")
    card = page.get_by_role("region", name="Try a model")
    await card.get_by_label("Model").fill("scripted:test")
    await card.get_by_role("button", name="Test").click()
    await expect(page.get_by_role("status").filter(has_text="scripted:test answers")).to_be_visible()
    await card.get_by_label("Model").fill("anthropic:claude")
    await card.get_by_role("button", name="Test").click()
    await expect(page.get_by_role("alert")).to_contain_text("PORCH_SHARED_PROVIDERS=anthropic")
    await page.get_by_role("button", name="Test scripted:demo").click()
    await expect(page.get_by_role("status").filter(has_text="scripted:demo answers")).to_be_visible()


async def test_a_model_is_tried_on_the_spot_and_one_that_cannot_be_says_why(
    page: Page, house: House, axe: Axe
) -> None:
    await page.goto(house.url + "/models")
    card = page.get_by_role("region", name="Try a model")
    await card.get_by_label("Model").fill("scripted:test")
    await card.get_by_label("Model").press("Enter")
    trial = card.locator(".trial")
    await expect(trial.locator(".trial-text")).to_contain_text("You said: Say hello in one short sentence.")
    figures = r"scripted:test · first token after [\d.]+ m?s · \d+ tokens in, \d+ out · .*in all"
    await expect(trial.locator(".hint")).to_have_text(re.compile(figures))
    await expect(trial.get_by_role("log")).to_contain_text("I am the scripted model")
    await expect(trial.get_by_role("button", name="Stop")).to_have_count(0)
    await axe(page)
    await card.get_by_label("Model").fill("anthropic:claude")
    await card.get_by_role("button", name="Test").click()
    await expect(card.get_by_role("alert")).to_contain_text("PORCH_SHARED_PROVIDERS=anthropic")
    await expect(card.locator(".trial-text")).to_be_hidden()
    await axe(page)
    await page.get_by_role("button", name="Test scripted:demo").click()
    row = page.get_by_role("listitem").filter(has=page.get_by_role("button", name="Test scripted:demo"))
    await expect(row.locator(".trial-text")).to_contain_text("I am the scripted model")
    assert page.url == house.url + "/models"


async def test_a_test_is_stopped_and_the_model_is_let_go(shop: Shop, visit: Visit) -> None:
    page = await (await visit(shop.gate.house)).new_page()
    await page.goto(shop.gate.house.url + "/models")
    gone = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        await exchange.chunks(SAY)
        await exchange.hold()
        gone.set()

    shop.openai.behaviours[:] = [asked(hold)]
    card = page.get_by_role("region", name="Try a model")
    await card.get_by_label("Model").fill("openai:m")
    await card.get_by_role("button", name="Test").click()
    await expect(card.locator(".trial-text")).to_have_text("Hi")
    stop = card.get_by_role("button", name="Stop")
    await stop.focus()
    await stop.press("Enter")
    await expect(card.locator(".trial .hint")).to_have_text("Stopped.")
    await expect(card.get_by_role("button", name="Test")).to_be_focused()
    async with asyncio.timeout(20):
        await gone.wait()


async def test_an_answer_that_breaks_off_keeps_its_words_and_says_so(shop: Shop, visit: Visit) -> None:
    page = await (await visit(shop.gate.house)).new_page()
    await page.goto(shop.gate.house.url + "/models")
    await page.set_viewport_size({"width": 390, "height": 844})
    turned = SAY.replace(b"Hi", rb"Hi\u202e" + b"x" * 120)
    shop.openai.behaviours[:] = [asked(then(turned, end=hang_up))]
    card = page.get_by_role("region", name="Try a model")
    await card.get_by_label("Model").fill("openai:" + "m" * 120)
    await card.get_by_role("button", name="Test").click()
    await expect(card.get_by_role("alert")).to_contain_text("again")
    await expect(card.locator(".trial-text")).to_have_text("Hi⟨U+202E⟩" + "x" * 120)
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    called = SAY.replace(b'{"choices"', rb'{"model":"m\u202e","choices"')
    shop.openai.behaviours[:] = [asked(answer(called, STOP, DONE))]
    await card.get_by_role("button", name="Test").click()
    await expect(card.locator(".trial .hint")).to_contain_text("openai:m⟨U+202E⟩ · first token")


async def test_a_page_of_an_ended_session_says_so_where_the_answer_would_be(house: House, page: Page) -> None:
    await page.goto(house.url + "/models")
    await page.context.clear_cookies()
    await page.get_by_role("region", name="Try a model").get_by_role("button", name="Test").click()
    await expect(page.locator("#trial").get_by_role("alert")).to_contain_text("You are signed out")


async def test_the_sheet_says_what_the_models_typed_into_it_can_do(
    house: House, page: Page, axe: Axe
) -> None:
    agent = await house.agent(model="scripted:test", tools=["clock"])
    await page.goto(f"{house.url}/agents/{agent}")
    said = page.locator("[data-abilities]")
    await expect(said).to_contain_text("tools")
    await page.get_by_label("Model", exact=True).fill("local:smollm2")
    await expect(said).to_contain_text("local:smollm2 cannot call tools")
    await axe(page)
    await page.get_by_role("checkbox", name=re.compile("^clock")).uncheck()
    await expect(said).not_to_contain_text("cannot call tools")
    await page.get_by_label("Other models").fill("openai:gpt-4o\nscripted:demo")
    await expect(said.locator(".mono")).to_have_text(["local:smollm2", "openai:gpt-4o", "scripted:demo"])
    await expect(said).to_contain_text("PORCH_SHARED_PROVIDERS=openai")
    await page.reload()
    await expect(said.locator(".mono")).to_have_count(3)
    await page.get_by_role("button", name="Drop it").click()
    await expect(said.locator(".mono")).to_have_count(0)
    await page.get_by_role("button", name="Test the model").click()
    await expect(page.locator("#trial .trial-text")).to_contain_text("I am the scripted model")
    await axe(page)


async def test_how_the_model_is_asked_is_kept_and_a_wrong_schema_is_named(house: House, page: Page) -> None:
    agent = await house.agent(tools=["clock"])
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_text("How the model is asked").click()
    await page.get_by_label("Reasoning effort").select_option("low")
    await page.get_by_label("Tool choice").select_option("clock")
    await page.get_by_label("Cache").select_option("yes")
    schema = page.get_by_label("Response schema")
    await schema.fill('{"type": "object",\n "properties": {"title": {"type": "text"}}}')
    await page.get_by_role("button", name="Save draft").click()
    await page.get_by_role("alert").get_by_role("link", name="Response schema").click()
    await expect(schema).to_be_focused()
    await expect(page.locator("#error-response_schema")).to_contain_text(
        "/properties/title has the type 'text'"
    )
    await schema.fill('{"type": "object",\n "properties": {"title": {"type": "string"}}}')
    await page.get_by_role("button", name="Save draft").click()
    await expect(page.locator(".toast")).to_contain_text("saved")
    await expect(page.get_by_label("Tool choice")).to_have_value("clock")
    await expect(page.locator("[data-state]")).not_to_have_text("Not saved yet")
    kept = await house.api("GET", f"/api/v1/workspaces/{house.workspace}/agents/{agent}")
    assert kept["definition"]["settings"] == {
        "reasoning_effort": "low",
        "tool_choice": "clock",
        "cache": True,
        "response_schema": {"type": "object", "properties": {"title": {"type": "string"}}},
    }


async def test_a_model_that_fails_at_once_gives_way_to_the_next_without_a_word(
    shop: Shop, visit: Visit
) -> None:
    house = shop.gate.house
    shop.openai.behaviours[:] = [asked(plain(500))]
    asked_before = len(shop.openai.requests)
    agent = await house.agent(model=["openai:m", "scripted:test"], instructions="[[say From the other.]]")
    page = await (await visit(house)).new_page()
    await page.goto(f"{house.url}/@{house.workspace}/{agent}")
    await page.get_by_role("textbox", name="Message").fill("Is anybody there?")
    await page.keyboard.press("Enter")
    answer = page.locator("porch-chat .turn").last
    await expect(answer).to_contain_text("From the other.")
    await expect(page.locator("porch-chat").get_by_role("alert")).to_have_count(0)
    posted = [each for each in shop.openai.requests[asked_before:] if each.head.startswith("POST")]
    assert posted, "the first model was asked"


async def test_a_model_that_breaks_off_in_mid_answer_gives_way_and_its_words_go(
    shop: Shop, visit: Visit
) -> None:
    house, broken = shop.gate.house, asyncio.Event()

    async def break_off(exchange: Exchange) -> None:
        await exchange.chunks(SAY.replace(b"Hi", b"Half an answer, and"))
        await broken.wait()
        exchange.writer.close()

    shop.openai.behaviours[:] = [asked(break_off)]
    agent = await house.agent(model=["openai:m", "scripted:test"], instructions="[[say The whole answer.]]")
    page = await (await visit(house)).new_page()
    await page.goto(f"{house.url}/@{house.workspace}/{agent}")
    await page.get_by_role("textbox", name="Message").fill("Is anybody there?")
    await page.keyboard.press("Enter")
    chat = page.locator("porch-chat")
    await expect(chat.locator(".turn").last).to_contain_text("Half an answer, and")
    broken.set()
    await expect(chat.locator(".turn").last).to_contain_text("The whole answer.")
    await expect(chat).not_to_contain_text("Half an answer")
    await page.wait_for_url("**/chat/conv_*")
    await page.reload()
    await expect(chat.locator(".turn").last).to_contain_text("The whole answer.")
    await expect(chat).not_to_contain_text("Half an answer")


async def test_another_workspace_is_told_whom_the_providers_serve_and_takes_no_keys(
    house: House, page: Page, axe: Axe
) -> None:
    await page.goto(house.url + "/models")
    await page.locator("#more > summary").press("Enter")
    await expect(page.get_by_text("PORCH_SHARED_PROVIDERS=mistral")).to_be_visible()
    await expect(page.get_by_text("Add a key")).to_have_count(0)
    await expect(page.locator('input[type="password"]')).to_have_count(0)
    await axe(page)


async def test_the_other_providers_unfold_by_keyboard_and_stay_open_over_a_wrong_key(
    standing_house: Gate, visit: Visit, axe: Axe
) -> None:
    home = standing_house.house
    page = await (await visit(home)).new_page()
    await page.goto(home.url + "/models")
    field = page.get_by_label("Mistral key")
    await expect(page.get_by_label("Anthropic key")).to_be_hidden()
    await expect(page.get_by_text("ANTHROPIC_API_KEY")).to_be_visible()
    await expect(page.get_by_text("MISTRAL_API_KEY")).to_be_hidden()
    await page.locator("#more > summary").press("Enter")
    await expect(page.get_by_role("link", name="Get a key for Mistral")).to_be_visible()
    await page.get_by_text("Add a key for Mistral").press("Enter")
    await expect(field).to_be_visible()
    await axe(page)
    await field.fill("short")
    await field.press("Enter")
    await expect(field).to_be_focused()
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(page.locator("#error-mistral")).to_contain_text("That is no key")
