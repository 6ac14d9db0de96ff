"""Home: an empty house leads to a first answer; a furnished one to where one was."""

import re
import time
from collections.abc import Awaitable, Callable

from playwright.async_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.furnished import furnish
from tests.browser.house import Gate, House


async def test_a_stranger_is_led_to_sign_in_and_back_home(house: House, visit: Visit) -> None:
    page = await (await visit(signed_in=False)).new_page()
    await page.goto(house.url + "/")
    await expect(page).to_have_url(re.compile(r"/sign-in\?next=/$"))
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await page.goto(await house.sign_in_link())
    await page.get_by_role("main").get_by_role("button").click()
    await expect(page).to_have_url(house.url + "/")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Make your first agent")


async def test_an_empty_house_leads_to_a_first_answer_within_a_minute(
    gate: Gate, visit: Visit, axe: Callable[[Page], Awaitable[None]]
) -> None:
    page = await (await visit(gate.house, signed_in=False)).new_page()
    began = time.monotonic()
    await page.goto(await gate.house.sign_in_link())
    await page.get_by_role("main").get_by_role("button").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Make your first agent")
    await axe(page)
    await page.get_by_label("It thinks with").select_option("scripted:demo")
    await page.get_by_role("button", name="Make it and talk to the Assistant").click()
    await expect(page).to_have_url(re.compile(r"/@[^/]+/assistant$"))
    await page.get_by_role("textbox").fill("Good evening")
    await page.keyboard.press("Enter")
    await expect(page.locator(".prose").get_by_text("You said: Good evening")).to_be_visible()
    assert time.monotonic() - began < 60


async def test_on_a_phone_one_sees_what_thinks_before_the_buttons_that_make(
    standing_house: Gate, visit: Visit
) -> None:
    # The operator's own workspace, the only one that takes keys.
    home = standing_house.house
    page = await (await visit(home, viewport={"width": 390, "height": 844})).new_page()
    await page.goto(home.url + "/")
    model = page.get_by_label("It thinks with")
    button = page.get_by_role("button", name="Make it and talk to the Assistant")
    chosen, made = await model.bounding_box(), await button.bounding_box()
    assert chosen
    assert made
    assert chosen["y"] + chosen["height"] < made["y"]
    assert made["y"] + made["height"] <= 844, "one of the buttons is on the first screen all the same"
    await expect(page.get_by_role("link", name="add a key of a provider")).to_be_in_viewport()


async def test_a_first_agent_can_be_made_without_scripts(house: House, visit: Visit) -> None:
    page = await (await visit(java_script_enabled=False)).new_page()
    await page.goto(house.url + "/")
    await page.get_by_role("button", name="Make it and talk to the Translator").click()
    await expect(page).to_have_url(f"{house.url}/@{house.workspace}/translator")
    await page.goto(house.url + "/")
    await expect(page.get_by_role("heading", level=1)).to_have_text("On your porch")
    await expect(page.get_by_role("heading", name="Translator")).to_be_visible()


async def test_a_furnished_house_shows_what_one_was_doing_last_first(page: Page, house: House) -> None:
    furnished = await furnish(house)
    await page.goto(house.url + "/")
    conversations = page.get_by_role("region", name="Conversations")
    first = conversations.get_by_role("listitem").first
    await expect(first).to_contain_text("Help me plan a quiet Sunday.")
    await first.get_by_role("link").click()
    await expect(page).to_have_url(f"{house.url}/chat/{furnished.conversation}")


async def test_titles_that_people_write_stay_text(page: Page, house: House) -> None:
    title = '<img src=x onerror=alert(1)>"\u202e'
    await house.agent(name="odd", title=title, description="<script>alert(1)</script>")
    await house.say(await house.conversation("odd"), "<b>bold</b> javascript:alert(1)")
    await page.goto(house.url + "/")
    main = page.get_by_role("main")
    await expect(main.get_by_text("<script>alert(1)</script>")).to_be_visible()
    await expect(main.get_by_role("link", name="<b>bold</b>")).to_be_visible()
    assert await main.locator("img, script, b").count() == 0


async def test_the_mark_and_the_manifest_are_there_for_strangers(house: House, visit: Visit) -> None:
    context = await visit(signed_in=False)
    mark = await context.request.get(house.url + "/favicon.svg")
    assert mark.headers["content-type"].startswith("image/svg+xml")
    manifest = await (await context.request.get(house.url + "/manifest.webmanifest")).json()
    for icon in manifest["icons"]:
        assert (await context.request.get(house.url + icon["src"])).ok
