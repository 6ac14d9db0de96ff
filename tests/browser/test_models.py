"""The page of models: a key is added, tried on the spot, used and removed, with and without scripts."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.house import Gate, House, standing
from tests.postgres import TestServer
from tests.providers.upstream import DONE, SAY, STOP, Upstream, answer, plain, upstream

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


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_key_is_added_tried_and_removed(
    shop: Shop, visit: Visit, axe: Callable[[Page], Awaitable[None]], scripts: bool
) -> None:
    page = await (await visit(shop.gate.house, java_script_enabled=scripts)).new_page()
    await page.goto(shop.gate.house.url + "/models")
    card = page.get_by_role("region", name="OpenAI")
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
    card = page.get_by_role("region", name="OpenAI")
    await card.get_by_label("OpenAI key").fill(KEY)
    await card.get_by_label("Test it with").fill("openai:m")
    await card.get_by_role("button", name="Keep and test").click()
    await expect(page.get_by_role("alert")).to_contain_text("The key is kept, but the test failed.")
    await expect(card.get_by_label("Test it with")).to_have_value("openai:m")
    await card.get_by_label("OpenAI key").fill("no key at all")
    await card.get_by_role("button", name="Keep and test").click()
    await expect(card.get_by_label("OpenAI key")).to_have_attribute("aria-invalid", "true")
    await expect(card.get_by_label("OpenAI key")).to_be_focused()
    await expect(card).to_contain_text("That is no key")
    await card.get_by_role("button", name="Remove key").click()


async def test_a_model_is_tried_and_one_that_cannot_be_says_why(page: Page, house: House) -> None:
    await page.goto(house.url + "/models")
    card = page.get_by_role("region", name="Try a model")
    await card.get_by_label("Model").fill("scripted:test")
    await card.get_by_role("button", name="Test").click()
    await expect(page.get_by_role("status").filter(has_text="scripted:test answers")).to_be_visible()
    await card.get_by_label("Model").fill("anthropic:claude")
    await card.get_by_role("button", name="Test").click()
    await expect(page.get_by_role("alert")).to_contain_text("not built in yet")
