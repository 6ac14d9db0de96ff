"""The chat when things go wrong around it: sessions end, others are first, pages go away at the worst moment."""

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Visit, sign_in
from tests.browser.house import House
from tests.browser.test_chat import ENDLESS, SLOW, Chat, Wire, chat, chat_over, wire

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page, Route

pytest.importorskip("playwright", reason="the browser group is not installed")
from playwright.async_api import expect

__all__ = ["chat", "wire"]

FOCUSED = """() => { const at = document.activeElement?.shadowRoot?.activeElement;
  return at ? (at.getAttribute("aria-label") ?? at.tagName) : ""; }"""


async def focused(page: "Page") -> str:
    return await page.evaluate(FOCUSED)


async def walk_to(page: "Page", name: str, key: str) -> None:
    """Press a key until the control of this name has the focus."""
    for _ in range(20):
        if await focused(page) == name:
            return
        await page.keyboard.press(key)
    pytest.fail(f"{name!r} is not reached by {key}")


# ---------------------------------------------------------------- answers of the server that are no longer true

LOOK = "window.dispatchEvent(new Event('focus'))"


async def test_messages_that_were_read_before_the_conversation_went_on_empty_no_page(chat: Chat) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    went_on = asyncio.Event()

    async def keep_old(route: "Route") -> None:
        old = await route.fetch()
        await chat.house.say(await chat.conversation(), "[[say Second.]]")
        went_on.set()
        await route.fulfill(response=old)

    async def follow_behind(route: "Route") -> None:
        await went_on.wait()
        await route.continue_()

    await chat.page.route("**/messages?*", keep_old, times=1)
    await chat.page.route(f"**/api/v1/conversations/{await chat.conversation()}", follow_behind, times=1)
    await chat.page.evaluate(LOOK)
    await expect(chat.answers.last).to_contain_text("Second.")
    await expect(chat.answers).to_have_count(2)


async def test_a_look_that_is_answered_late_does_not_take_back_what_a_later_one_found(chat: Chat) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    conversation = await chat.conversation()
    begun, free, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def keep_old(route: "Route") -> None:
        old = await route.fetch()
        begun.set()
        await free.wait()
        await route.fulfill(response=old)
        told.set()

    await chat.page.route(f"**/api/v1/conversations/{conversation}", keep_old, times=1)
    await chat.page.evaluate(LOOK)
    await begun.wait()
    await chat.house.say(conversation, "[[say Second.]]")
    await chat.page.evaluate(LOOK)
    await expect(chat.answers.last).to_contain_text("Second.")
    free.set()
    await told.wait()
    # Whoever looks once more afterwards sees what the page made of the old answer.
    await chat.page.evaluate("fetch('/healthz').then(({ status }) => status)")
    await expect(chat.answers.last).to_contain_text("Second.")
    await expect(chat.answers).to_have_count(2)


# ---------------------------------------------------------------- by keyboard alone


async def test_editing_switching_and_answering_again_need_no_mouse_and_keep_the_focus(chat: Chat) -> None:
    page = chat.page
    await chat.say("[[say First.]]")
    await chat.finished()
    await walk_to(page, "Edit this message", "Shift+Tab")
    await page.keyboard.press("Enter")
    assert await focused(page) == "Your message"
    await page.keyboard.press("Control+A")
    await page.keyboard.type("[[say Second.]]")
    await page.keyboard.press("Enter")
    await expect(chat.answers.last).to_contain_text("Second.")
    await chat.finished()
    await walk_to(page, "Show the version before", "Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(chat.answers.last).to_contain_text("First.")
    assert await focused(page) == "Show the version after"
    await page.keyboard.press("Enter")
    await expect(chat.answers.last).to_contain_text("Second.")
    assert await focused(page) == "Show the version before"
    await walk_to(page, "Answer again", "Tab")
    await page.keyboard.press("Enter")
    await expect(chat.answers.last.get_by_text("2/2")).to_be_visible()
    await chat.finished()
    await walk_to(page, "Show the version before", "Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(chat.answers.last.get_by_text("1/2")).to_be_visible()
    assert await focused(page) == "Show the version after"


# ---------------------------------------------------------------- sessions


async def test_a_session_that_ends_in_mid_answer_leaves_what_came_and_goes_on_after_signing_in(
    wire: tuple[Wire, House], house: House, visit: Visit
) -> None:
    line, chat, context = await chat_over(wire, house, visit)
    await chat.say("[[tokens 400 itl=20ms]]")
    await expect(chat.answers.last).to_contain_text("The porch is where")
    await context.clear_cookies()
    line.cut()
    await expect(chat.page.get_by_text("The connection is lost.")).to_be_visible()
    line.whole = True
    await expect(chat.page.get_by_text("You are signed out")).to_be_visible()
    await expect(chat.page.get_by_text("onnect")).to_have_count(0)
    await expect(chat.answers.last).to_contain_text("The porch is where")
    await expect(chat.answers.last).to_contain_text("as far as this page could follow")
    await expect(chat.answers.last).not_to_have_class(re.compile(r"\blive\b"))
    await sign_in(context, house)
    await chat.page.get_by_role("button", name="I have signed in").click()
    await expect(chat.page.get_by_text("You are signed out")).to_be_hidden()
    await expect(chat.page.get_by_text("as far as this page could follow")).to_have_count(0)
    await chat.finished()
    await expect(chat.answers).to_have_count(1)
    chat.house = house
    assert await chat.words() == await chat.stored()
    assert await chat.count() == 2
    # The page's own forms belong to the new session, too.
    menu = chat.page.get_by_role("main").locator("details.menu")
    await menu.locator("summary").click()
    await menu.get_by_role("button", name="Delete").click()
    await expect(chat.page.get_by_role("main")).to_contain_text("is deleted")


async def test_an_answer_that_ended_while_one_was_signed_out_is_whole_after_signing_in(
    wire: tuple[Wire, House], house: House, visit: Visit
) -> None:
    line, chat, context = await chat_over(wire, house, visit)
    await chat.page.set_viewport_size({"width": 390, "height": 500})
    await chat.say(SLOW)
    await expect(chat.answers.last).to_contain_text("nobody has to be let in")
    conversation = await chat.conversation()
    await context.clear_cookies()
    line.cut()
    line.whole = True
    await expect(chat.page.get_by_text("You are signed out")).to_be_visible()
    async with asyncio.timeout(20):
        while (await house.api("GET", f"/api/v1/conversations/{conversation}"))["active_run"]:
            await asyncio.sleep(0.1)
    await sign_in(context, house)
    await chat.page.get_by_role("button", name="I have signed in").click()
    await expect(chat.page.get_by_text("as far as this page could follow")).to_have_count(0)
    await expect(chat.answers).to_have_count(1)
    await expect(chat.page.get_by_role("button", name="Newest")).to_be_hidden()
    await expect(chat.answers.last.get_by_role("button", name="Answer again")).to_be_in_viewport()
    chat.house = house
    assert await chat.words() == await chat.stored()


# ---------------------------------------------------------------- others


async def test_whoever_comes_second_is_told_so_until_the_answer_has_ended(
    chat: Chat, context: "BrowserContext"
) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    other = await Chat(await context.new_page(), chat.house, chat.agent).show(await chat.conversation())
    await expect(other.answers.last).to_contain_text("First.")
    # The other tab sees nothing of it before it sends.
    await other.page.evaluate("document.querySelector('porch-chat').talk.tabs.close()")
    await chat.say(ENDLESS)
    await expect(chat.answers.last).to_contain_text("The porch is")
    await other.say("Me too.")
    told = other.page.get_by_text("An answer is being written in this conversation already.")
    await expect(told).to_be_visible()
    await expect(other.box).to_have_value("Me too.")
    await expect(other.answers.last).to_contain_text("The porch is")
    await expect(told).to_be_visible()
    await chat.stop.click()
    await other.finished()
    await expect(told).to_be_hidden()
    await expect(other.box).to_have_value("Me too.")
    assert await chat.count() == 4


async def test_what_was_written_to_a_deleted_conversation_goes_along_into_a_new_one(chat: Chat) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    deleted = await chat.conversation()
    await chat.house.api("DELETE", f"/api/v1/conversations/{deleted}")
    await chat.say("[[say Second.]]")
    await expect(chat.page.get_by_text("This conversation is no longer there.")).to_be_visible()
    await expect(chat.box).to_have_value("[[say Second.]]")
    await chat.page.get_by_role("button", name="Start a new conversation").click()
    await chat.page.wait_for_url(re.compile("/@"))
    await expect(chat.box).to_have_value("[[say Second.]]")
    await chat.box.press("Enter")
    await expect(chat.answers.last).to_contain_text("Second.")
    await chat.finished()
    assert await chat.conversation() != deleted


# ---------------------------------------------------------------- pages that go away


async def test_a_page_that_is_left_before_its_first_message_arrives_finds_its_conversation_again(
    chat: Chat,
) -> None:
    agent_page = chat.page.url

    async def hold(route: "Route") -> None:
        del route  # it is never answered

    await chat.page.route("**/runs", hold)
    await chat.say("[[say Yes.]] Is anybody home?")
    conversation = await chat.conversation()
    # A reload that began before the address changed leads to the old one.
    await chat.page.goto(agent_page)
    await chat.page.wait_for_url(f"**/chat/{conversation}")
    await expect(chat.box).to_have_value("[[say Yes.]] Is anybody home?")
    await chat.page.unroute("**/runs")
    await chat.box.press("Enter")
    await expect(chat.answers.last).to_contain_text("Yes.")
    await chat.finished()
    assert await chat.count() == 2
    await chat.page.goto(agent_page)
    await expect(chat.box).to_have_value("")
    await expect(chat.questions).to_have_count(0)
    assert chat.page.url == agent_page


# ---------------------------------------------------------------- the house's header


@pytest.mark.parametrize("width", [320, 390, 1440])
async def test_a_long_name_of_an_account_is_cut_and_nothing_else_is(
    house: House, page: "Page", width: int
) -> None:
    await page.set_viewport_size({"width": width, "height": 800})
    await page.goto(house.url + "/models")
    button = page.locator(".house-account-button")
    await button.locator("span").last.evaluate("span => span.textContent = 'Hohenstein-'.repeat(20)")
    await page.locator("#house-account b").evaluate("name => name.textContent = 'w'.repeat(200)")
    sizes = """() => ["svg.mark", ".house-theme svg", ".house-account-button > svg"].map((each) => {
      const { width, height } = document.querySelector(`.house ${each}`).getBoundingClientRect();
      return [width, height]; })"""
    marks = await page.evaluate(sizes)
    assert all(abs(wide - high) < 0.5 and wide >= 12 for wide, high in marks), marks
    inside = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert await page.evaluate(inside)
    assert await button.evaluate("one => one.scrollWidth <= one.clientWidth")
    await button.click()
    menu = await page.locator("#house-account").bounding_box()
    assert menu is not None
    assert menu["width"] <= 24 * 16 + 1
    assert await page.evaluate(inside)


@pytest.mark.parametrize("width", [390, 1440])
async def test_without_scripts_the_account_s_menu_opens_below_its_button(
    house: House, visit: Visit, width: int
) -> None:
    page = await (await visit(java_script_enabled=False)).new_page()
    await page.set_viewport_size({"width": width, "height": 800})
    await page.goto(house.url + "/models")
    button = page.get_by_role("button", name="Account")
    await button.click()
    menu = await page.locator("#house-account").bounding_box()
    held = await button.bounding_box()
    assert menu is not None
    assert held is not None
    assert menu["x"] <= held["x"] + held["width"] / 2 <= menu["x"] + menu["width"]
    assert held["y"] + held["height"] <= menu["y"] <= held["y"] + held["height"] + 24
