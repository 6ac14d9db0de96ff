"""What a person says during an answer: it waits in sight, is taken back, comes next, here and in other tabs."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Visit
from tests.browser.house import House
from tests.browser.test_chat import Axe, Chat, Reload

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page, Route

pytest.importorskip("playwright", reason="the browser group is not installed")
from playwright.async_api import expect

Picture = Callable[["Page", str], Awaitable[Path]]

ENDLESS = "Tell me of the porch. [[say The porch is where a house meets the street.]] [[stall]]"


def waiting(chat: Chat) -> "Locator":
    return chat.page.locator(".turn-waits")


async def open_chat(page: "Page", house: House, conduct: str) -> Chat:
    return await Chat(page, house, await house.agent(concurrency=conduct, title="Porch")).open()


async def begin(chat: Chat) -> None:
    await chat.say(ENDLESS)
    await expect(chat.answers.last).to_contain_text("meets the street.")


async def test_a_message_during_an_answer_waits_in_sight_and_is_answered_next(
    page: "Page", house: House, reload: Reload, axe: Axe
) -> None:
    chat = await open_chat(page, house, "queue")
    await begin(chat)
    await expect(page.get_by_text("Your message will wait for this answer")).to_be_visible()
    await chat.say("And the garden? [[say The garden lies behind.]]")
    await expect(waiting(chat)).to_contain_text("Waits for the answer before it")
    await expect(chat.box).to_have_value("")
    await axe(page)
    await reload(page)
    await expect(waiting(chat)).to_contain_text("And the garden?")
    await chat.stop.click()
    await expect(chat.answers.last).to_contain_text("The garden lies behind.")
    await chat.finished()
    await expect(waiting(chat)).to_have_count(0)
    assert await chat.count() == 4


async def test_what_waits_is_taken_back_into_the_box(page: "Page", house: House) -> None:
    chat = await open_chat(page, house, "queue")
    await begin(chat)
    await chat.say("One more thing. [[say Yes?]]")
    await waiting(chat).get_by_role("button", name="Take back").click()
    await expect(waiting(chat)).to_have_count(0)
    await expect(chat.box).to_have_value("One more thing. [[say Yes?]]")
    await chat.stop.click()
    await chat.finished()
    await expect(chat.answers.last).to_contain_text("meets the street.")
    versions = page.get_by_role("group", name="Versions")
    await expect(versions).to_have_count(0)
    await chat.answers.last.get_by_role("button", name="Answer again").click()
    await expect(chat.answers.last).to_contain_text("meets the street.")
    await chat.stop.click()
    await chat.finished()
    await expect(versions.locator(".count")).to_have_text(["2/2"])


async def test_another_tab_sees_what_waits_and_its_answer(page: "Page", house: House, visit: Visit) -> None:
    chat = await open_chat(page, house, "queue")
    await begin(chat)
    other = await Chat(await page.context.new_page(), house, chat.agent).show(await chat.conversation())
    await expect(other.answers.last).to_contain_text("meets the street.")
    await chat.say("First. [[say Here is the first.]]")
    await chat.say("Second. [[say Here is the second.]]")
    await expect(waiting(other)).to_have_count(2)
    await other.stop.click()
    for each in (chat, other):
        await expect(each.answers).to_have_count(3)
        await expect(each.answers.nth(1)).to_contain_text("Here is the first.")
        await expect(each.answers.nth(2)).to_contain_text("Here is the second.")
        await expect(waiting(each)).to_have_count(0)


async def test_what_is_said_first_is_first_in_the_queue_however_long_it_was_on_its_way(
    page: "Page", house: House
) -> None:
    chat = await open_chat(page, house, "queue")
    await begin(chat)
    sent: list[str] = []
    free = asyncio.Event()

    async def hold(route: "Route") -> None:
        sent.append(str(route.request.post_data))
        if len(sent) == 1:
            await free.wait()
        await route.continue_()

    await page.route("**/runs", hold)
    await chat.say("First. [[say Here is the first.]]")
    await chat.say("Second. [[say Here is the second.]]")
    await expect(waiting(chat)).to_have_count(2)
    # A request of the page itself has been answered since: the second message would be on its way by now.
    await page.evaluate("fetch('/healthz').then(({ status }) => status)")
    assert len(sent) == 1
    free.set()
    await expect(waiting(chat).get_by_role("button", name="Take back")).to_have_count(2)
    await chat.stop.click()
    await expect(chat.answers.nth(2)).to_contain_text("Here is the second.")
    await expect(chat.answers.nth(1)).to_contain_text("Here is the first.")


async def test_an_interrupting_message_stops_the_answer_and_is_answered(page: "Page", house: House) -> None:
    chat = await open_chat(page, house, "interrupt")
    await begin(chat)
    await expect(page.get_by_text("Your message will stop this answer")).to_be_visible()
    await chat.say("Stop, rather this. [[say As you like.]]")
    await expect(chat.answers.last).to_contain_text("As you like.")
    await chat.finished()
    await expect(chat.answers.first).to_contain_text("meets the street.")
    assert await chat.count() == 4


async def test_where_messages_are_refused_the_words_stay_in_the_box(page: "Page", house: House) -> None:
    chat = await open_chat(page, house, "reject")
    await begin(chat)
    await chat.say("Too early.")
    await expect(page.get_by_text("The answer is still being written.")).to_be_visible()
    await expect(chat.box).to_have_value("Too early.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_waiting_message_is_told_apart_at_every_width(
    house: House, visit: Visit, picture: Picture, axe: Axe, scheme: str
) -> None:
    for name, width, height in (("phone", 390, 760), ("desktop", 1280, 800)):
        context = await visit(color_scheme=scheme, viewport={"width": width, "height": height})
        chat = await open_chat(await context.new_page(), house, "queue")
        await begin(chat)
        await chat.say("And what about the garden behind the house: who may go there, and when?")
        await chat.say("Never mind the shed.")
        await expect(waiting(chat).get_by_role("button", name="Take back")).to_have_count(2)
        wide = await chat.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        await axe(chat.page)
        await picture(chat.page, f"queue-{name}-{scheme}")
