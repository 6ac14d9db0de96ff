"""Calls that wait for a person, in the chat and in the inbox."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Visit, sign_in
from tests.browser.house import House
from tests.browser.test_chat import Chat

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

pytest.importorskip("playwright", reason="the browser group is not installed")
from playwright.async_api import expect

APPROVAL = {"tools": ["clock"], "expires_in": 3600}
# A number that JavaScript would round, and words that read both ways.
ASKED = '{"timezone": "Europe/Paris"}'
CUE = f"[[say One moment.]] [[call clock {ASKED}]] [[say It is told.]]"


async def careful(house: House) -> str:
    return await house.agent(tools=["clock"], approval=APPROVAL)


@pytest.fixture
async def chat(page: "Page", house: House) -> Chat:
    return await Chat(page, house, await careful(house)).open()


def card(page: "Page") -> "Locator":
    return page.get_by_role("group", name="Approval")


async def test_a_call_that_waits_is_shown_as_it_will_run_and_goes_on_when_approved(
    chat: Chat, axe: Callable[["Page"], Awaitable[None]], picture: Callable[["Page", str], Awaitable[object]]
) -> None:
    await chat.say(CUE)
    waiting = card(chat.page)
    await expect(waiting).to_contain_text("This waits for a decision. Exactly this would run:")
    await expect(waiting.locator("pre")).to_have_text('{"timezone":"Europe/Paris"}')
    await expect(waiting).to_contain_text("Without a decision until")
    await expect(chat.answers.last).to_contain_text("The answer waits for a decision before it goes on.")
    await axe(chat.page)
    await picture(chat.page, "approval")
    await waiting.get_by_role("button", name="Approve").click()
    await expect(chat.answers.last).to_contain_text("It is told.")
    await expect(chat.answers.last).to_contain_text("done in")
    await chat.finished()
    assert "One moment." in await chat.words()


async def test_a_denied_call_does_not_run_and_the_agent_goes_on(chat: Chat) -> None:
    await chat.say(CUE)
    await card(chat.page).get_by_role("button", name="Deny").click()
    await expect(chat.answers.last).to_contain_text("It is told.")
    await expect(chat.answers.last.locator(".tool-state")).to_have_text(re.compile("failed"))


async def test_an_answer_that_waits_for_quota_says_until_when_and_goes_on(
    chat: Chat,
    reload: Callable[["Page"], Awaitable[None]],
    picture: Callable[["Page", str], Awaitable[object]],
) -> None:
    quota = f"/api/v1/workspaces/{chat.house.workspace}/quota"
    await chat.house.api("PUT", quota, {"tokens": 0, "period": "month"})
    await chat.say("Hello.")
    notice = re.compile(r"It goes on by itself when there is more, at the latest on 1 \w+ 20\d\d")
    await expect(chat.answers.last).to_contain_text(notice)
    await picture(chat.page, "quota")
    await reload(chat.page)
    await expect(chat.answers.last).to_contain_text(notice)
    await chat.house.api("PUT", quota, {"tokens": None, "period": "month"})
    await expect(chat.answers.last).to_contain_text("You said: Hello.", timeout=15_000)
    await chat.finished()


async def test_what_is_said_while_a_call_waits_comes_back_and_the_page_says_for_what_it_waits(
    chat: Chat,
) -> None:
    await chat.say(CUE)
    await expect(card(chat.page)).to_be_visible()
    await chat.say("And?")
    told = "An answer here waits for a decision about a tool's call. Decide in the chat or the inbox (/inbox)"
    await expect(chat.page.get_by_text(told)).to_be_visible()
    await expect(chat.box).to_have_value("And?")


async def test_a_reload_keeps_what_waits_and_a_decision_elsewhere_is_noticed(
    chat: Chat, reload: Callable[["Page"], Awaitable[None]]
) -> None:
    await chat.say(CUE)
    await expect(card(chat.page)).to_be_visible()
    conversation = await chat.conversation()
    await reload(chat.page)
    await expect(card(chat.page).get_by_role("button", name="Approve")).to_be_visible()
    waiting = (await chat.house.api("GET", "/api/v1/approvals"))["items"]
    [approval] = [found for found in waiting if found["conversation"] == conversation]
    path = f"/api/v1/runs/{approval['run']}/approvals/{approval['id']}"
    await chat.house.api("POST", path, {"decision": "approve"})
    await expect(chat.answers.last).to_contain_text("It is told.", timeout=15_000)
    await chat.finished()


async def test_the_inbox_shows_what_waits_and_what_was_decided(
    house: House,
    page: "Page",
    axe: Callable[["Page"], Awaitable[None]],
    picture: Callable[["Page", str], Awaitable[object]],
) -> None:
    await page.goto(f"{house.url}/inbox")
    await expect(page.get_by_role("heading", name="Nothing waits for you")).to_be_visible()
    agent = await careful(house)
    conversations = [await house.conversation(agent) for _ in range(2)]
    for conversation in conversations:
        assert '"type":"run.paused"' in await house.say(conversation, CUE)
    await page.get_by_role("link", name="Inbox").first.click()
    await expect(page.locator(".inbox-call")).to_have_text(['{"timezone":"Europe/Paris"}'] * 2)
    await axe(page)
    await picture(page, "inbox")
    await page.get_by_role("button", name="Approve clock").first.click()
    await expect(page.get_by_role("status")).to_contain_text(["Approved. The answer goes on."])
    await page.get_by_label("A note, which the agent reads beside a denial").fill("Not today.")
    await page.get_by_role("button", name="Deny clock").click()
    await expect(page.get_by_role("heading", name="Nothing waits for you")).to_be_visible()
    await page.get_by_role("link", name="Decided").click()
    await expect(page.locator(".badge")).to_have_text(["approved", "denied"])
    await expect(page.get_by_text("Not today.")).to_be_visible()
    for conversation in conversations:
        path = f"/api/v1/conversations/{conversation}/runs"
        async with asyncio.timeout(10):
            while (await house.api("GET", path))["items"][0]["status"] != "finished":
                await asyncio.sleep(0.05)


async def test_the_inbox_works_without_scripts_and_says_what_is_too_late(house: House, visit: Visit) -> None:
    context = await visit(java_script_enabled=False)
    page = await context.new_page()
    await sign_in(context, house)
    conversation = await house.conversation(await careful(house))
    await house.say(conversation, CUE)
    await page.goto(f"{house.url}/inbox")
    [approval] = (await house.api("GET", "/api/v1/approvals"))["items"]
    path = f"/api/v1/runs/{approval['run']}/approvals/{approval['id']}"
    await house.api("POST", path, {"decision": "deny"})
    await page.get_by_role("button", name="Approve clock").click()
    await expect(page.get_by_role("alert")).to_contain_text("and that stands.")
    assert (
        json.loads((await house.ask("GET", f"/api/v1/approvals/{approval['id']}"))[1])["decision"] == "deny"
    )
