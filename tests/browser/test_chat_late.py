"""Requests and answers that are late and pass each other: nothing said is lost, and the page comes to what is true."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.browser.house import House
from tests.browser.test_chat import Chat, Reload
from tests.browser.test_chat_queue import ENDLESS, begin, open_chat, waiting

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

pytest.importorskip("playwright", reason="the browser group is not installed")
from playwright.async_api import expect

LOOK = "window.dispatchEvent(new Event('focus'))"


async def end(house: House, run: str) -> None:
    """Stop a run and wait for its end."""
    await house.api("POST", f"/api/v1/runs/{run}/cancel")
    assert "run.cancelled" in (await house.ask("GET", f"/api/v1/runs/{run}/events"))[1]


async def ask(house: House, conversation: str, text: str) -> str:
    """Say something by the API and wait for no answer; its run."""
    return str(
        (await house.api("POST", f"/api/v1/conversations/{conversation}/runs", {"input": text}))["run"]
    )


async def test_what_is_said_before_the_conversation_is_there_is_sent_as_soon_as_it_is(
    page: "Page", house: House
) -> None:
    agent = await house.agent(concurrency="queue")
    conversation = await house.conversation(agent)
    await ask(house, conversation, ENDLESS)
    free = asyncio.Event()

    async def hold(route: "Route") -> None:
        await free.wait()
        await route.continue_()

    await page.route(f"**/api/v1/conversations/{conversation}", hold, times=1)
    chat = await Chat(page, house, agent).show(conversation)
    await chat.say("Early. [[say Here I am.]]")
    await expect(
        page.get_by_text("Your message is sent as soon as the conversation is here.")
    ).to_be_visible()
    await expect(chat.box).to_have_value("Early. [[say Here I am.]]")
    free.set()
    await expect(waiting(chat)).to_contain_text("Early.")
    await expect(chat.box).to_have_value("")
    await chat.stop.click()
    await expect(chat.answers.last).to_contain_text("Here I am.")
    await expect(chat.questions).to_have_count(2)


async def test_all_that_was_on_its_way_when_a_page_went_away_is_in_the_box_again(
    page: "Page", house: House, reload: Reload
) -> None:
    chat = await open_chat(page, house, "queue")
    await begin(chat)
    arrived = "Arrived. [[say It did.]]"
    await chat.say(arrived)
    await expect(waiting(chat).get_by_role("button", name="Take back")).to_be_visible()
    await page.route("**/runs", lambda _: None)
    await chat.say("One.")
    await chat.say("Two.")
    await expect(waiting(chat)).to_have_count(3)
    await reload(page)
    await expect(chat.box).to_have_value("One.\nTwo.")
    await expect(waiting(chat)).to_have_count(1)


async def test_what_was_said_elsewhere_before_one_s_own_message_stands_before_it(chat: Chat) -> None:
    await chat.say("[[say Answer 0.]]")
    await chat.finished()
    for number in range(1, 6):
        await chat.house.say(await chat.conversation(), f"[[say Answer {number}.]]")
    await chat.say("[[say Answer 6.]]")
    await expect(chat.answers.locator(".prose")).to_have_text([f"Answer {number}." for number in range(7)])
    await expect(chat.questions).to_have_count(7)
    await expect(chat.page.get_by_role("group", name="Versions")).to_have_count(0)


async def test_a_pause_that_is_over_is_not_told_for_ever(page: "Page", house: House) -> None:
    agent = await house.agent(tools=["clock"], approval={"tools": ["clock"], "expires_in": 3600})
    conversation = await house.conversation(agent)
    await house.say(conversation, "[[say First.]]")
    runs: list[str] = []

    async def pause(route: "Route") -> None:
        cue = '[[say One moment.]] [[call clock {"timezone": "Europe/Paris"}]]'
        path = f"/api/v1/conversations/{conversation}/runs"
        status, stream = await house.ask("POST", path, {"input": cue}, Accept="text/event-stream")
        assert (status, "run.paused" in stream) == (200, True)
        runs.append(str((await house.api("GET", f"/api/v1/conversations/{conversation}"))["active_run"]))
        await route.continue_()

    await page.route("**/runs?*", pause, times=1)
    async with page.expect_response("**/runs?*"):
        chat = await Chat(page, house, agent).show(conversation)
    await expect(chat.answers).to_have_count(1)
    await end(house, runs[0])
    await page.evaluate(LOOK)
    await expect(chat.answers.last).to_contain_text("Stopped before its end.")
    await expect(chat.answers.last).to_contain_text("One moment.")


async def test_an_answer_that_was_in_the_way_and_is_over_is_not_told_of_any_more(chat: Chat) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    conversation = await chat.conversation()

    async def refuse(route: "Route") -> None:
        run = await ask(chat.house, conversation, ENDLESS)
        refused = await route.fetch()
        await end(chat.house, run)
        await route.fulfill(response=refused)

    await chat.page.route("**/runs", refuse, times=1)
    async with chat.page.expect_response(lambda answer: answer.status == 409):
        await chat.say("Mine.")
    await expect(chat.answers).to_have_count(2)
    await expect(chat.box).to_have_value("Mine.")
    await expect(chat.page.get_by_text("An answer is being written")).to_have_count(0)


async def test_what_is_said_right_after_another_version_was_chosen_follows_that_one(chat: Chat) -> None:
    page = chat.page
    await chat.say("[[say First.]]")
    await chat.finished()
    await chat.answers.last.get_by_role("button", name="Answer again").click()
    await expect(chat.answers.last.get_by_text("2/2")).to_be_visible()
    await chat.finished()
    chosen = asyncio.Event()
    sent: list[str] = []

    async def hold(route: "Route") -> None:
        if route.request.method == "PATCH":
            await chosen.wait()
        await route.continue_()

    await page.route("**/api/v1/conversations/*", hold)
    page.on("request", lambda request: sent.append(request.method + request.url))
    await page.get_by_role("button", name="Show the version before").click()
    await chat.say("[[say It follows.]]")
    await expect(chat.questions).to_have_count(2)
    # A request of the page itself has been answered since: the message would be on its way by now.
    await page.evaluate("fetch('/healthz').then(({ status }) => status)")
    assert not [each for each in sent if each.startswith("POST")]
    chosen.set()
    await expect(chat.answers.last).to_contain_text("It follows.")
    await chat.finished()
    await expect(chat.answers.first.get_by_text("1/2")).to_be_visible()


async def test_an_edited_message_that_cannot_be_sent_now_stays_as_it_was_written(chat: Chat) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    await chat.questions.last.get_by_role("button", name="Edit this message").click()
    edit = chat.page.get_by_label("Your message", exact=True)
    await edit.fill("Changed.")
    await ask(chat.house, await chat.conversation(), ENDLESS)
    await chat.page.evaluate(LOOK)
    await expect(chat.stop).to_be_visible()
    await edit.press("Enter")
    await expect(chat.page.get_by_text("The answer is still being written.")).to_be_visible()
    await expect(edit).to_have_value("Changed.")


@pytest.fixture
async def chat(page: "Page", house: House) -> Chat:
    return await Chat(page, house, await house.agent()).open()
