"""Agents in a real browser: made from a template, written and tried, published, compared, deleted."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Visit, sign_in
from tests.browser.house import House

Axe = Callable[[Page], Awaitable[None]]


async def path_of(house: House, agent: str, **changes: Any) -> str:
    await house.api("PATCH", f"/api/v1/workspaces/{house.workspace}/agents/{agent}", changes)
    return f"{house.url}/agents/{agent}"


async def definition_of(house: House, agent: str) -> Any:
    found = await house.api("GET", f"/api/v1/workspaces/{house.workspace}/agents/{agent}")
    return found["definition"]


async def ask(page: Page, text: str) -> None:
    box = page.get_by_role("textbox", name="Message")
    await box.fill(text)
    await box.press("Enter")


async def saved(page: Page) -> None:
    await page.get_by_role("button", name="Save draft").click()
    await expect(page.locator(".toast")).to_contain_text("saved")


async def test_from_an_empty_porch_to_a_published_agent(house: House, page: Page) -> None:
    await page.goto(house.url + "/agents")
    await page.get_by_role("link", name="Make your first agent").click()
    await page.get_by_role("link", name="Scripted demo").click()
    await page.get_by_label("Title").fill("Night watch")
    await page.get_by_label("Handle").fill("watch")
    await page.get_by_role("button", name="Make it").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Night watch")
    await ask(page, "Hello?")
    await expect(page.locator("porch-chat")).to_contain_text("Here is a whole run in miniature")
    await page.get_by_role("button", name="Publish…").click()
    await page.get_by_label("Note").fill("Good enough.")
    await page.get_by_role("button", name="Publish version 1").click()
    await expect(page.get_by_role("status").first).to_contain_text("Version 1 is published")
    await page.get_by_role("link", name="Versions").click()
    await expect(page.get_by_role("main")).to_contain_text("Good enough.")
    await page.get_by_role("link", name="Talk to it").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Night watch")
    await ask(page, "And now?")
    await page.wait_for_url("**/chat/conv_*")


async def test_what_is_saved_is_tried_at_once_and_the_public_hears_the_version(
    house: House, page: Page
) -> None:
    agent = await house.agent(instructions="[[say The old way.]]")
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_label("Instructions").fill("[[say The new way.]]")
    await expect(page.locator("[data-chat-hint]")).to_contain_text("save the draft first")
    await saved(page)
    await expect(page.locator("[data-state]")).to_have_text("Saved just now")
    await ask(page, "How?")
    await expect(page.locator("porch-chat")).to_contain_text("The new way.")
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.locator("porch-chat")).not_to_contain_text("The new way.")
    await page.goto(f"{house.url}/@{house.workspace}/{agent}")
    await ask(page, "How?")
    await expect(page.locator("porch-chat")).to_contain_text("The old way.")


async def test_questions_are_written_one_a_line_and_offered_in_the_chat_beside_them(
    house: House, page: Page
) -> None:
    agent = await house.agent(instructions="[[say It is both.]]", questions=["Who?"])
    await page.goto(f"{house.url}/agents/{agent}")
    offered = page.locator("porch-chat .suggestion")
    await expect(offered).to_have_text(["Who?"])
    questions = page.get_by_label("Example questions")
    await questions.fill("What is a lichen?\n" + "x" * 201)
    await page.get_by_role("button", name="Save draft").click()
    await page.get_by_role("link", name="Example questions").click()
    await expect(questions).to_be_focused()
    await expect(page.locator("#error-questions")).to_have_text(
        "Line 2 has 201 characters; shorten it to 200."
    )
    await questions.fill("What is a lichen?\n\nWhy is the sea salt?")
    await saved(page)
    await expect(offered).to_have_text(["What is a lichen?", "Why is the sea salt?"])
    await offered.first.click()
    await expect(page.locator("porch-chat")).to_contain_text("It is both.")
    await questions.fill("Another?")
    await saved(page)
    await expect(page.locator("porch-chat")).to_contain_text("It is both.")


async def test_saving_keeps_the_place_in_the_text_and_the_chat_beside_it(house: House, page: Page) -> None:
    agent = await house.agent(instructions="[[say Here.]]")
    await page.goto(f"{house.url}/agents/{agent}")
    await ask(page, "Where?")
    await expect(page.locator("porch-chat")).to_contain_text("Here.")
    text = page.get_by_label("Instructions")
    await text.fill("[[say There.]] and more")
    await text.press("Home")
    await text.press("Control+s")
    await expect(page.locator(".toast")).to_have_text("The draft is saved.")
    await page.keyboard.type("First ")
    await expect(text).to_have_value("First [[say There.]] and more")
    await expect(page.locator("porch-chat")).to_contain_text("Here.")
    assert (await definition_of(house, agent))["instructions"] == "[[say There.]] and more"


async def test_what_was_typed_outlives_a_reload(house: House, page: Page) -> None:
    agent = await house.agent()
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_label("Instructions").fill("An hour of work.")
    await page.reload()
    await expect(page.get_by_label("Instructions")).to_have_value("An hour of work.")
    await expect(page.get_by_role("main")).to_contain_text("not saved yet")
    await page.get_by_role("button", name="Drop it").click()
    await expect(page.get_by_label("Instructions")).to_have_value("Act.")
    await page.reload()
    await expect(page.get_by_label("Instructions")).to_have_value("Act.")


async def test_text_typed_over_an_older_draft_is_offered_and_not_forced(house: House, page: Page) -> None:
    agent = await house.agent()
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_label("Instructions").fill("Mine.")
    await path_of(house, agent, instructions="Theirs.")
    await page.reload()
    await expect(page.get_by_label("Instructions")).to_have_value("Theirs.")
    await page.get_by_role("button", name="Put my text back").click()
    await expect(page.get_by_label("Instructions")).to_have_value("Mine.")


async def test_a_draft_changed_elsewhere_is_shown_before_it_is_overwritten(house: House, page: Page) -> None:
    agent = await house.agent()
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_label("Instructions").fill("Mine.")
    await path_of(house, agent, instructions="Theirs.")
    await page.get_by_role("button", name="Save draft").click()
    warning = page.get_by_role("alert")
    await expect(warning).to_contain_text("changed elsewhere")
    await expect(warning).to_be_focused()
    await expect(page.locator(".diff-del")).to_contain_text("Theirs.")
    await expect(page.get_by_label("Instructions")).to_have_value("Mine.")
    assert (await definition_of(house, agent))["instructions"] == "Theirs."
    await saved(page)
    assert (await definition_of(house, agent))["instructions"] == "Mine."


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_wrong_field_is_named_and_focused_with_and_without_a_script(
    house: House, visit: Visit, javascript: bool
) -> None:
    agent = await house.agent()
    page = await (await visit(java_script_enabled=javascript)).new_page()
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_label("Instructions").fill("Still here.")
    await page.get_by_label("Model", exact=True).fill("nocolon")
    await page.get_by_role("button", name="Save draft").click()
    alert = page.get_by_role("alert")
    await expect(alert).to_be_focused()
    await expect(page.get_by_label("Instructions")).to_have_value("Still here.")
    await expect(page.get_by_label("Model", exact=True)).to_have_attribute("aria-invalid", "true")
    await alert.get_by_role("link", name="Model").click()
    await page.get_by_label("Model", exact=True).fill("scripted:test")
    await page.get_by_role("button", name="Save draft").click()
    await expect(page.get_by_role("main").or_(page.locator(".toast"))).to_contain_text(["saved"])
    assert (await definition_of(house, agent))["instructions"] == "Still here."


async def test_without_a_script_everything_but_the_test_chat_works(house: House, visit: Visit) -> None:
    page = await (await visit(java_script_enabled=False)).new_page()
    await page.goto(house.url + "/agents/new?template=scripted-demo")
    await page.get_by_role("button", name="Make it").click()
    await expect(page.locator("noscript .notice")).to_be_visible()
    await page.get_by_label("Description").fill("A plain one.")
    await page.get_by_role("button", name="Publish…").click()
    await page.get_by_role("button", name="Publish version 1").click()
    await expect(page.get_by_role("main")).to_contain_text("Version 1 is published")
    await page.get_by_role("link", name="Delete this agent…").click()
    await page.get_by_role("button", name="Delete it for good").click()
    await expect(page.get_by_role("main")).to_contain_text("is deleted")


async def test_a_lost_server_leaves_the_text_where_it_is(house: House, page: Page) -> None:
    agent = await house.agent()
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_label("Instructions").fill("Written on a train.")
    await page.context.set_offline(True)
    await page.get_by_role("button", name="Save draft").click()
    await expect(page.locator("[data-state]")).to_contain_text("cannot be reached")
    await page.context.set_offline(False)
    await saved(page)
    assert (await definition_of(house, agent))["instructions"] == "Written on a train."


async def test_a_session_that_ends_while_writing_costs_no_word(house: House, page: Page) -> None:
    agent = await house.agent()
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_label("Instructions").fill("Written for long.")
    await page.context.clear_cookies()
    await page.get_by_role("button", name="Save draft").click()
    await expect(page.get_by_role("link", name="in another tab")).to_be_visible()
    await sign_in(page.context, house)
    await saved(page)
    assert (await definition_of(house, agent))["instructions"] == "Written for long."


async def test_a_new_handle_takes_the_page_along(house: House, page: Page) -> None:
    agent = await house.agent(instructions="[[say Still me.]]")
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_label("Handle").fill("somebody-else")
    await saved(page)
    await expect(page).to_have_url(f"{house.url}/agents/somebody-else")
    await ask(page, "Who?")
    await expect(page.locator("porch-chat")).to_contain_text("Still me.")
    await page.get_by_label("Title").fill("Somebody")
    await page.keyboard.press("Control+s")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Somebody")


async def test_hostile_names_stay_text(house: House, page: Page) -> None:
    evil = "<img src=x onerror=alert(1)>\u202e gnp.exe " + "x" * 100_000
    agent = await house.agent(title=evil, description=evil)
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    for path in ("/agents", f"/agents/{agent}", f"/agents/{agent}/versions", f"/@{house.workspace}/{agent}"):
        await page.goto(house.url + path)
        await expect(page.get_by_role("main")).to_contain_text("⟨U+202E⟩")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await page.locator("main img").count() == 0
    assert asked == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_any_page(house: House, visit: Visit, axe: Axe, scheme: str) -> None:
    agent = await house.agent(title="Seen", description="By everybody.", tools=["clock"])
    await path_of(house, agent, instructions="Act well.", settings={"temperature": 0.5})
    page = await (await visit(color_scheme=scheme, viewport={"width": 390, "height": 844})).new_page()
    for path in (
        "/agents",
        "/agents/new",
        "/agents/new?template=tutor",
        f"/agents/{agent}",
        f"/agents/{agent}/versions",
        f"/agents/{agent}/versions/1",
        f"/agents/{agent}/versions/1..draft",
        f"/agents/{agent}/publish",
        f"/agents/{agent}/delete",
        f"/@{house.workspace}/{agent}",
    ):
        await page.goto(house.url + path)
        await axe(page)
    await page.goto(f"{house.url}/agents/{agent}")
    await page.get_by_label("Model", exact=True).fill("nocolon")
    await page.get_by_role("button", name="Save draft").click()
    await expect(page.get_by_role("alert")).to_be_focused()
    await axe(page)


async def test_no_word_that_people_write_widens_a_page(house: House, visit: Visit) -> None:
    endless = "w" * 200
    agent = await house.agent(
        title=endless[:120], description=endless, instructions=endless, questions=[endless] * 6
    )
    page = await (await visit(viewport={"width": 390, "height": 844})).new_page()
    for path in (
        "/",
        "/agents",
        f"/agents/{agent}",
        f"/agents/{agent}/versions/1",
        f"/@{house.workspace}/{agent}",
    ):
        await page.goto(house.url + path)
        await page.wait_for_load_state()
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0, path


async def test_a_new_agent_can_be_talked_to_without_scrolling(house: House, page: Page) -> None:
    await page.set_viewport_size({"width": 1440, "height": 900})
    await page.goto(house.url + "/agents/new?template=scripted-demo")
    await page.get_by_role("button", name="Make it").click()
    await expect(page.locator(".flash")).to_contain_text("It is made.")
    await expect(page.get_by_role("textbox", name="Message")).to_be_in_viewport(ratio=1)


async def test_a_save_that_fails_takes_the_good_news_from_the_page(house: House, page: Page) -> None:
    await page.goto(f"{house.url}/agents/new?template=assistant")
    await page.get_by_role("button", name="Make it").click()
    await expect(page.locator(".flash")).to_contain_text("It is made.")
    await page.get_by_label("Handle").fill("No Handle")
    await page.get_by_role("button", name="Save draft").click()
    await expect(page.get_by_role("alert")).to_contain_text("cannot be kept yet")
    await expect(page.locator(".flash")).to_have_count(0)


async def test_without_scripts_no_empty_chat_takes_room(house: House, visit: Visit) -> None:
    agent = await house.agent(questions=["What is a lichen?"])
    page = await (await visit(java_script_enabled=False)).new_page()
    for path in (f"/agents/{agent}", f"/@{house.workspace}/{agent}"):
        await page.goto(house.url + path)
        await expect(page.locator("porch-chat")).to_be_hidden()
        await expect(page.locator("noscript .notice")).to_be_in_viewport()
    await expect(page.locator("noscript li")).to_have_text(["What is a lichen?"])
