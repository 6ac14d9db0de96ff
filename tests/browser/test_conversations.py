"""Conversations in a real browser: found again, renamed, shared with a stranger, deleted and brought back."""

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.house import House

Axe = Callable[[Page], Awaitable[None]]


async def test_a_conversation_is_found_renamed_deleted_and_brought_back(
    house: House, page: Page, axe: Axe
) -> None:
    made = await house.conversation(await house.agent(title="Station"))
    await house.say(made, "[[say The train leaves at noon.]] When does it leave?")
    await page.goto(house.url + "/conversations")
    await axe(page)
    menu = page.locator("details.menu")
    await menu.locator("summary").click()
    await axe(page)
    await menu.get_by_role("link", name="Rename").click()
    await page.get_by_label("Title").fill("To the sea")
    await page.get_by_role("button", name="Rename").click()
    await expect(page.locator(".flash")).to_contain_text("new name")
    await menu.locator("summary").click()
    await menu.get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("main")).to_contain_text("To the sea is deleted")
    await axe(page)
    await page.get_by_role("button", name="Bring it back").click()
    await page.get_by_role("searchbox").fill("sea")
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("link", name="To the sea").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("To the sea")
    await expect(page.locator("porch-chat")).to_contain_text("The train leaves at noon.")
    await axe(page)


async def test_a_stranger_reads_what_was_shared_and_nothing_after_it_is_closed(
    house: House, page: Page, visit: Visit, axe: Axe
) -> None:
    made = await house.conversation(await house.agent())
    await house.say(made, "[[say The **train** leaves at noon.]] When?")
    await page.goto(f"{house.url}/conversations/{made}/share")
    await page.get_by_role("button", name="Make a link").click()
    link = await page.get_by_label("The link is made").input_value()
    await axe(page)
    stranger = await (await visit(signed_in=False)).new_page()
    await stranger.goto(link)
    await expect(stranger.locator("porch-chat strong")).to_have_text("train")
    await expect(stranger.get_by_role("textbox")).to_have_count(0)
    await axe(stranger)
    await page.get_by_role("button", name="Close it").click()
    await expect(page.locator(".flash")).to_contain_text("closed")
    await stranger.goto(link)
    await expect(stranger.get_by_role("main")).to_contain_text("revoked")


async def test_without_javascript_everything_can_be_read(house: House, visit: Visit) -> None:
    made = await house.conversation(await house.agent())
    await house.say(made, "[[say The train leaves at noon.]] When?")
    page = await (await visit(java_script_enabled=False)).new_page()
    await page.goto(f"{house.url}/chat/{made}")
    # What stands in <noscript> is on the screen, and still no text to Playwright's matchers.
    shown = await page.locator("noscript").inner_text()
    assert "needs JavaScript" in shown
    assert await page.locator("noscript article").count() == 2
    assert "The train leaves at noon." in await page.locator("noscript article").last.inner_text()


async def test_a_long_name_of_an_agent_takes_one_line_of_a_phones_heading(house: House, visit: Visit) -> None:
    made = await house.conversation(
        await house.agent(title="The agent whose name is longer than a phone " * 2)
    )
    await house.say(made, "[[say Hello.]] Hi")
    page = await (await visit(viewport={"width": 390, "height": 844})).new_page()
    await page.goto(f"{house.url}/chat/{made}")
    line = await page.locator(".talk-head .talk-facts").bounding_box()
    assert line
    assert line["height"] < 32
    assert line["x"] + line["width"] <= 390


@pytest.mark.parametrize("size", [(390, 844), (1440, 900)])
async def test_without_javascript_what_was_said_stands_on_the_screen(
    house: House, visit: Visit, size: tuple[int, int]
) -> None:
    width, height = size
    made = await house.conversation(await house.agent())
    await house.say(made, "[[say The train leaves at noon.]] When?")
    share = await house.api("POST", f"/api/v1/conversations/{made}/shares")
    context = await visit(java_script_enabled=False, viewport={"width": width, "height": height})
    page = await context.new_page()
    for url in (f"{house.url}/chat/{made}", house.url + str(share["url"])):
        await page.goto(url)
        room = await page.locator("main > noscript").bounding_box()
        said = await page.locator("noscript article").last.locator(".said-text").bounding_box()
        assert room
        assert said
        assert room["height"] > height / 2, url
        assert room["y"] + room["height"] <= height, url
        assert said["height"] > 0, url
        assert room["y"] <= said["y"] < said["y"] + said["height"] <= height, url
        assert 0 <= said["x"] < said["x"] + said["width"] <= width, url
