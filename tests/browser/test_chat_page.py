"""The page around a chat: its address, heading, title and history go with the conversation."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Visit
from tests.browser.house import House
from tests.browser.test_chat import Chat, chat

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Locator, Page, Route

pytest.importorskip("playwright", reason="the browser group is not installed")
from playwright.async_api import expect

__all__ = ["chat"]

Axe = Callable[["Page"], Awaitable[None]]
PHONE = {"width": 390, "height": 844}


def heading(page: "Page") -> "Locator":
    return page.get_by_role("main").get_by_role("heading", level=1)


def menu(page: "Page") -> "Locator":
    return page.get_by_role("main").locator("details.menu")


async def conversations(house: House, agent: str) -> list[str]:
    path = f"/api/v1/workspaces/{house.workspace}/agents/{agent}/conversations"
    return [item["id"] for item in (await house.api("GET", path))["items"]]


@pytest.mark.parametrize("viewport", [PHONE, None], ids=["phone", "desktop"])
async def test_an_agent_s_page_becomes_the_conversation_s_with_the_first_message(
    house: House, visit: Visit, axe: Axe, viewport: dict[str, int] | None
) -> None:
    page = await (await visit(house)).new_page()
    if viewport:
        await page.set_viewport_size({"width": viewport["width"], "height": viewport["height"]})
    chat = await Chat(page, house, await house.agent(title="Station")).open()
    await expect(heading(page)).to_have_text("Station")
    await expect(menu(page)).to_have_count(0)
    await chat.say("[[tokens 200 itl=20ms]] When does the train leave?")
    await expect(heading(page)).to_contain_text("When does the train leave?")
    await expect(chat.stop).to_be_visible()
    await expect(page).to_have_title(re.compile(r"When does the train leave\?.* · Porch"))
    await expect(page.locator(".agent-door")).to_have_count(0)
    await expect(page.get_by_role("main").get_by_role("link", name="Station")).to_be_visible()
    current = page.locator("#house-nav [aria-current]")
    await expect(current).to_have_text("Conversations")
    await chat.stop.click()
    await chat.finished()
    await menu(page).locator("summary").click()
    await axe(page)
    await menu(page).get_by_role("link", name="Rename").click()
    await page.get_by_label("Title").fill("To the sea")
    await page.get_by_role("button", name="Rename").click()
    await expect(heading(page)).to_have_text("To the sea")
    await expect(chat.answers).to_have_count(1)


async def test_what_became_the_conversation_s_is_what_a_reload_shows(
    chat: Chat, reload: Callable[["Page"], Awaitable[None]]
) -> None:
    await chat.say("[[say Yes.]] Is anybody home?")
    await chat.finished()
    shown = """main => [document.title, main.querySelector(".talk-head").outerHTML,
      document.querySelector("#house-nav").outerHTML]"""
    await expect(heading(chat.page)).to_contain_text("Is anybody home?")
    became = await chat.page.get_by_role("main").evaluate(shown)
    await reload(chat.page)
    assert await chat.page.get_by_role("main").evaluate(shown) == became


async def test_its_menu_deletes_the_conversation_that_began_on_this_page(chat: Chat) -> None:
    await chat.say("[[say Yes.]] Is anybody home?")
    await chat.finished()
    await menu(chat.page).locator("summary").click()
    await menu(chat.page).get_by_role("button", name="Delete").click()
    await expect(chat.page.get_by_role("main")).to_contain_text("is deleted")
    assert await conversations(chat.house, chat.agent) == []


async def test_a_title_given_elsewhere_appears_and_leaves_an_open_menu_open(chat: Chat) -> None:
    await chat.say("[[say Yes.]] Is anybody home?")
    await chat.finished()
    await expect(heading(chat.page)).to_contain_text("Is anybody home?")
    await menu(chat.page).locator("summary").click()
    path = f"/api/v1/conversations/{await chat.conversation()}"
    await chat.house.api("PATCH", path, {"title": "\u202eNeighbours <b>"})
    await chat.page.evaluate("window.dispatchEvent(new Event('focus'))")
    await expect(heading(chat.page)).to_have_text("⟨U+202E⟩Neighbours <b>")
    await expect(chat.page).to_have_title("⟨U+202E⟩Neighbours <b> · Porch")
    await expect(menu(chat.page)).to_have_attribute("open", "")


async def test_a_conversation_without_a_title_gets_one_from_its_first_message(
    house: House, page: "Page"
) -> None:
    agent = await house.agent()
    chat = await Chat(page, house, agent).show(await house.conversation(agent))
    await expect(heading(page)).to_have_text("A conversation without a title")
    await chat.say("[[say Yes.]] Is anybody home?")
    await expect(heading(page)).to_contain_text("Is anybody home?")
    await chat.finished()


async def test_the_heading_is_made_up_for_when_it_could_not_be_fetched(chat: Chat) -> None:
    await chat.page.route("**/chat/*", lambda route: route.abort())
    await chat.say("[[say Yes.]] Is anybody home?")
    await chat.finished()
    await expect(heading(chat.page)).not_to_contain_text("Is anybody home?")
    await chat.page.unroute("**/chat/*")
    await chat.page.evaluate("window.dispatchEvent(new Event('focus'))")
    await expect(heading(chat.page)).to_contain_text("Is anybody home?")


async def test_back_and_forward_lead_past_the_conversation_and_into_it_again(
    house: House, page: "Page"
) -> None:
    agent = await house.agent(title="Station")
    await page.goto(house.url + "/agents")
    chat = await Chat(page, house, agent).open()
    await chat.say("[[say Yes.]] Is anybody home?")
    await chat.finished()
    await expect(heading(page)).to_contain_text("Is anybody home?")
    talk = page.url
    await page.get_by_role("main").get_by_role("link", name="Station").click()
    await expect(heading(page)).to_have_text("Station")
    await expect(chat.questions).to_have_count(0)
    await page.go_back()
    assert page.url == talk
    await expect(heading(page)).to_contain_text("Is anybody home?")
    await expect(chat.answers).to_have_count(1)
    await page.go_back()
    await page.wait_for_url("**/agents")
    await page.go_forward()
    assert page.url == talk
    await expect(heading(page)).to_contain_text("Is anybody home?")
    await expect(page).to_have_title(re.compile("Is anybody home"))
    await page.go_forward()
    await expect(heading(page)).to_have_text("Station")
    await expect(chat.questions).to_have_count(0)


async def test_a_new_conversation_after_a_deleted_one_has_an_address_of_its_own(
    house: House, page: "Page"
) -> None:
    agent = await house.agent(title="Station")
    made = await house.conversation(agent)
    await house.say(made, "[[say First.]]")
    chat = await Chat(page, house, agent).show(made)
    await expect(chat.answers).to_have_count(1)
    await house.api("DELETE", f"/api/v1/conversations/{made}")
    await page.evaluate("window.dispatchEvent(new Event('focus'))")
    await page.get_by_role("button", name="Start a new conversation").click()
    await expect(heading(page)).to_have_text("Station")
    await chat.say("[[say Yes.]] Is anybody home?")
    await expect(heading(page)).to_contain_text("Is anybody home?")
    assert made not in page.url
    await chat.finished()


# ---------------------------------------------------------------- messages that are refused


async def test_a_message_that_is_too_long_is_kept_before_anything_is_made_of_it(chat: Chat) -> None:
    line = "a" * 1_000_000
    await chat.box.fill(line, timeout=60_000)  # the browser lays it out as one line
    before = chat.page.url
    await chat.box.press("Enter")
    await expect(chat.page.get_by_text("977 KiB long, and one message holds 512 KiB")).to_be_visible()
    assert await chat.box.input_value() == line
    await expect(chat.questions).to_have_count(0)
    assert chat.page.url == before
    assert await conversations(chat.house, chat.agent) == []
    await chat.box.fill("[[say Short.]]")
    await expect(chat.page.get_by_text("977 KiB long")).to_have_count(0)
    await chat.box.press("Enter")
    await chat.finished()
    assert await chat.stored() == "Short."


async def test_the_longest_message_that_is_let_through_is_one_that_the_server_takes(chat: Chat) -> None:
    await chat.say("[[say Long.]]" + "ä" * ((512 * 1024 - 13) // 2) + "a")
    await expect(chat.answers.last).to_contain_text("Long.")
    await chat.finished()
    await chat.box.fill("[[say Long.]]" + "ä" * ((512 * 1024 - 12) // 2) + "a")
    await chat.box.press("Enter")
    await expect(chat.page.get_by_text("513 KiB long")).to_be_visible()
    assert await chat.count() == 2


async def test_an_edited_message_that_is_too_long_stays_in_its_box(chat: Chat) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    await chat.questions.first.hover()
    await chat.questions.first.get_by_role("button", name="Edit this message").click()
    box = chat.questions.first.get_by_label("Your message")
    await box.fill("a" * 600_000)
    await box.press("Enter")
    await expect(chat.questions.first.get_by_text("586 KiB long")).to_be_visible()
    assert len(await box.input_value()) == 600_000
    assert await chat.count() == 2


async def test_a_first_message_that_the_server_refuses_leaves_nothing_in_the_lists(
    chat: Chat, context: "BrowserContext"
) -> None:
    await chat.page.evaluate("document.querySelector('porch-chat').send('NUL: \\u0000')")
    await expect(chat.page.get_by_role("alert")).to_contain_text("NUL")
    await expect(chat.box).to_have_value(re.compile("NUL:"))
    (made,) = await conversations(chat.house, chat.agent)
    lists = await context.new_page()
    for path in ("/", "/conversations"):
        await lists.goto(chat.house.url + path)
        await expect(lists.get_by_role("heading", level=1)).to_be_visible()
        await expect(lists.locator(f'a[href="/chat/{made}"]')).to_have_count(0)
    await expect(heading(chat.page)).to_have_text("A conversation without a title")
    await chat.box.fill("[[say Yes.]] Is anybody home?")
    await chat.box.press("Enter")
    await chat.finished()
    assert await conversations(chat.house, chat.agent) == [made]
    await expect(heading(chat.page)).to_contain_text("Is anybody home?")


async def test_a_title_given_before_the_page_has_looked_again_appears_too(chat: Chat) -> None:
    gate = asyncio.Event()

    async def hold(route: "Route") -> None:
        await gate.wait()
        await route.continue_()

    await chat.page.route("**/api/v1/conversations/*", hold)
    await chat.say("[[say Yes.]] Is anybody home?")
    await expect(heading(chat.page)).to_contain_text("Is anybody home?")
    path = f"/api/v1/conversations/{await chat.conversation()}"
    await chat.house.api("PATCH", path, {"title": "Neighbours"})
    gate.set()
    await expect(heading(chat.page)).to_have_text("Neighbours")
