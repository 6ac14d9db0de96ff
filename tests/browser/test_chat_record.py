"""What a chat that was gone over again keeps telling: how its answers ended, and what they took."""

import re

import pytest

from tests.browser.test_chat import ENDLESS, Chat, Reload, chat

pytest.importorskip("playwright", reason="the browser group is not installed")
from playwright.async_api import expect

__all__ = ["chat"]


# ---------------------------------------------------------------- how answers ended


async def test_every_answer_that_did_not_end_whole_says_so_after_a_reload(chat: Chat, reload: Reload) -> None:
    told: list[list[str]] = []
    for text in (
        "[[say Some words first.]] [[fail 429 retry=3]]",
        "[[fail after=3 auth]]",
        "[[empty]]",
        "[[say a]] [[finish length]]",
        "[[refuse No, thank you.]]",
    ):
        await chat.say(text)
        await expect(chat.answers).to_have_count(len(told) + 1)
        await chat.finished()
        told.append(await chat.answers.last.locator(".asides p").all_text_contents())
    await chat.say(ENDLESS)
    await expect(chat.answers.last).to_contain_text("The porch is")
    await chat.stop.click()
    await chat.finished()
    told.append(await chat.answers.last.locator(".asides p").all_text_contents())
    assert [bool(each) for each in told] == [True, True, True, True, False, True]
    await chat.conversation()
    await reload(chat.page)
    await expect(chat.answers).to_have_count(len(told))
    await expect(chat.answers.last).to_contain_text("Stopped before its end.")
    for at, sentences in enumerate(told):
        # By their text and not by what is painted: turns out of sight are laid out when they come into it.
        await expect(chat.answers.nth(at).locator(".asides p")).to_have_text(sentences)
    # What happened long ago interrupts nobody who hears the page.
    await expect(chat.page.get_by_role("alert")).to_have_count(0)


async def test_the_figures_of_every_answer_are_there_after_a_reload(chat: Chat, reload: Reload) -> None:
    for _ in range(2):
        await chat.say("[[tokens 60 itl=5ms]]")
        await chat.finished()
    await chat.conversation()
    await reload(chat.page)
    for at in range(2):
        figures = chat.answers.nth(at).locator(".figures")
        await expect(figures).to_contain_text(
            re.compile(r"scripted:test · first token after \d+ ms · .* tokens in, 60 out · \d+ tokens/s")
        )


async def test_how_older_answers_ended_is_told_as_they_come_into_sight(chat: Chat) -> None:
    agent = await chat.house.agent()
    conversation = await chat.house.conversation(agent)
    await chat.house.say(conversation, "[[say a]] [[finish length]]")
    for _ in range(51):
        await chat.house.say(conversation, "[[say b]]")
    await chat.show(conversation)
    await expect(chat.answers.last).to_contain_text("b")
    for shown in (25, 50, 52):
        await expect(chat.answers).to_have_count(shown)
        await chat.page.locator(".scroller").evaluate("scroller => (scroller.scrollTop = 0)")
    await expect(chat.answers.first).to_contain_text("breaks off here")


# ---------------------------------------------------------------- small things that mislead


async def test_a_window_that_grows_is_not_taken_for_a_reader_who_scrolls_up(chat: Chat) -> None:
    page = chat.page
    await page.set_viewport_size({"width": 390, "height": 500})
    await chat.say("[[tokens 400]]")
    await chat.finished()
    newest = page.get_by_role("button", name="Newest")
    await expect(newest).to_be_hidden()
    moved = await page.locator(".scroller").evaluate("""async scroller => {
      const keeper = document.querySelector("porch-chat").transcript.keeper;
      keeper.observer.disconnect();
      scroller.scrollTop -= 10;
      await new Promise((done) => setTimeout(done, 100));
      const before = scroller.scrollTop;
      scroller.style.maxBlockSize = `${scroller.clientHeight}px`;
      keeper.keep();
      const end = scroller.scrollTop;
      // The window grows, and by the time it is told of the reader stands higher up.
      scroller.style.maxBlockSize = "none";
      scroller.parentElement.style.minBlockSize = `${scroller.clientHeight + 80}px`;
      scroller.scrollTop = end - 200;
      await new Promise((done) => setTimeout(done, 100));
      return [before, end, keeper.following];
    }""")
    assert moved[2], moved


async def test_the_figures_read_from_left_to_right_on_any_page(chat: Chat) -> None:
    await chat.page.evaluate("document.documentElement.dir = 'rtl'")
    await chat.say("[[say One.]]")
    await chat.finished()
    figures = chat.answers.last.locator(".figures")
    await expect(figures).to_have_css("direction", "ltr")
    assert "tokens in" in await figures.inner_text()


async def test_a_refusal_says_in_a_word_that_it_is_one(chat: Chat, reload: Reload) -> None:
    await chat.say("[[refuse That I do not do.]]")
    await chat.finished()
    await chat.conversation()
    for _ in range(2):
        await expect(chat.answers.last.locator(".refusal")).to_contain_text("Declined")
        await expect(chat.answers.last.locator(".refusal .prose")).to_have_text("That I do not do.")
        await reload(chat.page)


async def test_bullets_are_full_at_the_first_level_and_tasks_have_their_boxes_only(chat: Chat) -> None:
    await chat.say("[[say - one\n  - two\n- [ ] three]]")
    await chat.finished()
    items = chat.answers.last.locator(".prose li")
    await expect(items).to_have_count(3)
    styles = await items.evaluate_all("items => items.map(item => getComputedStyle(item).listStyleType)")
    assert styles == ["disc", "circle", "none"]


async def test_the_box_is_one_line_high_before_and_after_a_message_and_asks_the_same(
    chat: Chat, reload: Reload
) -> None:
    title = "An agent whose title is much longer than any phone is wide"
    page = chat.page
    await page.set_viewport_size({"width": 390, "height": 844})
    agent = await chat.house.agent(title=title)
    other = await Chat(page, chat.house, agent).open()
    await expect(other.box).to_have_attribute("placeholder", f"Message {title}")
    before = await other.box.evaluate("box => box.offsetHeight")
    assert before < 50
    await other.say("[[say One.]]\nTwo\nThree")
    await other.finished()
    assert await other.box.evaluate("box => box.offsetHeight") == before
    await other.conversation()
    await reload(page)
    await expect(other.box).to_have_attribute("placeholder", f"Message {title}")
    assert await other.box.evaluate("box => box.offsetHeight") == before


async def test_a_conversation_that_has_not_begun_holds_no_empty_list(chat: Chat) -> None:
    await expect(chat.box).to_be_visible()
    await expect(chat.page.locator(".turns")).to_be_hidden()
    await chat.say("[[say One.]]")
    await expect(chat.page.locator(".turns")).to_be_visible()
