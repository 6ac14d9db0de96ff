"""Two people with one Porch in real browsers: invited, signed up, in two workspaces each, kept apart."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import Literal

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import Visit
from tests.browser.house import House, standing
from tests.browser.test_chat import Chat
from tests.postgres import TestServer

Axe = Callable[[Page], Awaitable[None]]
PASSWORD = "seven quiet lanterns"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
NARROWEST = {"width": 320, "height": 600}
MAKE_AGENT = """async (ws) => {
  const csrf = document.querySelector("meta[name=csrf-token]").content;
  const send = (path, body) => fetch(`/api/v1/workspaces/${ws}/agents${path}`, {method: "POST",
    headers: {"Content-Type": "application/json", "X-CSRF-Token": csrf}, body: JSON.stringify(body)});
  const made = await send("", {name: "host", title: "Host", instructions: "Talk.", model: "scripted:test"});
  return [made.status, (await send("/host/versions", {note: "First."})).status];
}"""


@pytest.fixture(scope="module")
async def town(browser: Browser, postgres: TestServer) -> AsyncGenerator[House]:
    """The operator's workspace on a server that lets in other people, anybody even."""
    del browser
    async with standing(postgres, multi_user=True, sign_up="open") as gate:
        yield gate.house


async def invite(page: Page, url: str) -> str:
    """A link into the workspace where the page's person is."""
    await page.goto(url + "/members")
    await page.get_by_role("button", name="Make a link").click()
    return await page.get_by_label("The invitation is made").input_value()


async def sign_up(page: Page, link: str, login: str) -> None:
    await page.goto(link)
    await page.get_by_label("Name to sign in with").fill(login)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign up").click()
    await expect(page.get_by_text("Welcome.")).to_be_visible()


async def make_workspace(page: Page, url: str, handle: str) -> None:
    await page.goto(url)
    await switcher(page).click()
    await page.get_by_role("link", name="New workspace").click()
    await page.get_by_label("Handle").fill(handle)
    await page.get_by_role("button", name="Make it").click()
    await expect(switcher(page)).to_contain_text(handle)


def switcher(page: Page) -> Locator:
    return page.get_by_role("button", name="Workspace and account")


async def ask(context: BrowserContext, house: House, workspace: str, words: str) -> str:
    """Talk to the host of a workspace in a tab of its own; the conversation."""
    page = await context.new_page()
    chat = await Chat(page, replace(house, workspace=workspace), "host").open()
    await chat.say(f"[[say {words}]] [[tokens 40 itl=2ms]]")
    await expect(chat.answers.last).to_contain_text(words)
    await chat.finished()
    return await chat.conversation()


async def test_two_people_talk_in_two_workspaces_each_and_keep_them_apart(town: House, visit: Visit) -> None:
    ada, ben = await visit(town), await visit(town, signed_in=False)
    one, two = await ada.new_page(), await ben.new_page()
    await sign_up(two, await invite(one, town.url), "ben")
    # Invited into the operator's workspace, and with one of his own: the switcher has both.
    await switcher(two).click()
    await two.get_by_role("button", name="ben", exact=True).click()
    await expect(switcher(two)).to_contain_text("ben")
    await make_workspace(one, town.url, "garden")
    await make_workspace(two, town.url, "choir")
    for page, workspaces in ((one, (town.workspace, "garden")), (two, ("ben", "choir"))):
        for workspace in workspaces:
            assert await page.evaluate(MAKE_AGENT, workspace) == [201, 201], workspace

    talks = [(ada, town.workspace, "Ada at home"), (ada, "garden", "Ada in the garden")]
    talks += [(ben, "ben", "Ben at home"), (ben, "choir", "Ben in the choir")]
    first, second, third, fourth = await asyncio.gather(
        *(ask(context, town, workspace, words) for context, workspace, words in talks)
    )

    for page, own, others in (
        (one, (first, second), (third, fourth)),
        (two, (third, fourth), (first, second)),
    ):
        for conversation, status in (*((each, 200) for each in own), *((each, 404) for each in others)):
            reply = await page.goto(f"{town.url}/chat/{conversation}")
            assert reply
            assert reply.status == status, page.url


async def test_a_conversation_that_is_open_to_members_is_read_and_continued_by_them(
    town: House, visit: Visit, axe: Axe
) -> None:
    ada = await visit(town)
    cid = await visit(town, signed_in=False, viewport=PHONE)
    one, two = await ada.new_page(), await cid.new_page()
    await sign_up(two, await invite(one, town.url), "cid")
    await one.evaluate(MAKE_AGENT, town.workspace)
    conversation = await ask(ada, town, town.workspace, "To all of us")
    path = f"{town.url}/chat/{conversation}"
    refused = await two.goto(path)
    assert refused
    assert refused.status == 404

    await one.goto(f"{town.url}/conversations/{conversation}/share")
    await axe(one)
    await one.get_by_role("button", name="Open it to members").click()
    await expect(one.get_by_text("It is open to the members")).to_be_visible()
    await two.goto(town.url + "/conversations")
    await two.get_by_role("link", name="Open to members").click()
    await axe(two)
    await two.locator(f'a[href="/chat/{conversation}"]').click()
    guest = Chat(two, town, "host")
    await expect(guest.answers.last).to_contain_text("To all of us")
    await expect(two.get_by_role("heading", name="Operator said")).to_have_count(1)
    await guest.say("[[say Cid agrees]]")
    await expect(guest.answers.last).to_contain_text("Cid agrees")
    await guest.finished()
    await axe(two)

    await one.goto(path)
    await expect(one.get_by_role("heading", name="cid said")).to_have_count(1)
    await expect(one.get_by_role("heading", name="You said")).to_have_count(1)
    refused = await two.goto(f"{town.url}/conversations/{conversation}/share")
    assert refused
    assert refused.status == 403
    await one.goto(f"{town.url}/conversations/{conversation}/share")
    await one.get_by_role("button", name="Close it to members").click()
    await expect(one.get_by_text("Only you and the admins see it now")).to_be_visible()
    closed = await two.goto(path)
    assert closed
    assert closed.status == 404


async def test_two_people_see_each_other_and_what_is_said_as_it_happens(
    town: House, visit: Visit, axe: Axe
) -> None:
    ada, dan = await visit(town), await visit(town, signed_in=False, viewport=PHONE)
    one, two = await ada.new_page(), await dan.new_page()
    await sign_up(two, await invite(one, town.url), "dan")
    await one.evaluate(MAKE_AGENT, town.workspace)
    conversation = await ask(ada, town, town.workspace, "Come in")
    await one.goto(f"{town.url}/conversations/{conversation}/share")
    await one.get_by_role("button", name="Open it to members").click()
    await expect(one.get_by_text("It is open to the members")).to_be_visible()
    for page in (one, two):
        await page.goto(f"{town.url}/chat/{conversation}")
    await expect(one.get_by_text("dan is here")).to_be_visible()
    await expect(two.get_by_text("Operator is here")).to_be_visible()
    await axe(two)
    host, guest = Chat(one, town, "host"), Chat(two, town, "host")
    await expect(guest.answers.last).to_contain_text("Come in")
    # Nobody reloads: what one says the other sees while it is answered.
    await guest.say("[[say Good evening]] [[tokens 60 itl=20ms]]")
    await expect(host.answers.last).to_contain_text("Good evening")
    await expect(one.get_by_role("heading", name="dan said")).to_have_count(1)
    await guest.finished()
    await host.finished()
    await host.say("[[say And to you]]")
    await expect(guest.answers.last).to_contain_text("And to you")
    await two.close()
    await expect(one.get_by_text("dan is here")).to_be_hidden(timeout=45_000)


@pytest.mark.parametrize(("scheme", "size"), [("light", PHONE), ("dark", DESK)], ids=["phone", "desk"])
async def test_the_pages_of_people_can_be_read_by_all(
    town: House, visit: Visit, axe: Axe, scheme: Literal["light", "dark"], size: dict[str, int]
) -> None:
    member = await visit(town, color_scheme=scheme, viewport=size)
    page = await member.new_page()
    link = await invite(page, town.url)
    await axe(page)
    stranger = await visit(town, signed_in=False, color_scheme=scheme, viewport=size)
    other = await stranger.new_page()
    for path in ("/sign-in", "/sign-up", "/recover", link.removeprefix(town.url), "/join/x"):
        await other.goto(town.url + path)
        await axe(other)
    await other.goto(town.url + "/sign-up")
    await other.get_by_label("Name to sign in with").fill("!!")
    await other.get_by_label("Password").fill("short")
    await other.get_by_role("button", name="Sign up").click()
    await expect(other.get_by_role("alert")).to_be_visible()
    await expect(other.get_by_label("Name to sign in with")).to_be_focused()
    await axe(other)
    await other.get_by_label("Name to sign in with").fill(f"eve-{scheme}")
    await other.get_by_label("Password").fill(PASSWORD)
    await other.get_by_role("button", name="Sign up").click()
    await expect(other.get_by_text("Welcome.")).to_be_visible()
    for path in ("/account", "/account/recovery", link.removeprefix(town.url)):
        await other.goto(town.url + path)
        await axe(other)
    for path in ("/account", "/workspaces/new", "/members"):
        await page.goto(town.url + path)
        await axe(page)
    await page.get_by_role("link", name="Leave").click()
    await axe(page)
    await switcher(page).press("Enter")
    await expect(page.get_by_role("link", name="Account", exact=True)).to_be_visible()
    await axe(page)


async def test_without_scripts_on_the_narrowest_screen_it_all_fits_and_works(
    town: House, visit: Visit
) -> None:
    context = await visit(town, viewport=NARROWEST, java_script_enabled=False)
    page = await context.new_page()
    link = await invite(page, town.url)
    for path in ("/members", "/account", "/workspaces/new", link.removeprefix(town.url)):
        await page.goto(town.url + path)
        width = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, path
    await make_workspace(page, town.url, "a-workspace-with-rather-a-long-name")
    await switcher(page).click()
    await page.locator(".house-workspaces button").first.click()
    await expect(switcher(page)).not_to_contain_text("a-workspace")
