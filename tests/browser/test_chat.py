"""The chat as a person uses it: in real Chromium, against a real server and the scripted model."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from porch.contract.ids import parse_id
from porch.storage.database import Database
from tests.browser.conftest import Visit, sign_in
from tests.browser.house import Gate, House

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Locator, Page

pytest.importorskip("playwright", reason="the browser group is not installed")
from playwright.async_api import expect

Axe = Callable[["Page"], Awaitable[None]]
Reload = Callable[["Page"], Awaitable[None]]

SLOW = "[[tokens 120 itl=25ms]]"
ENDLESS = "[[tokens 3 itl=1ms]] [[stall]]"


class Chat:
    """One open chat, by the names that people see."""

    def __init__(self, page: "Page", house: House, agent: str) -> None:
        self.page = page
        self.house = house
        self.agent = agent

    @property
    def box(self) -> "Locator":
        return self.page.get_by_label("Message", exact=True)

    @property
    def answers(self) -> "Locator":
        return self.page.locator(".turn-agent")

    @property
    def questions(self) -> "Locator":
        return self.page.locator(".turn-user")

    @property
    def stop(self) -> "Locator":
        return self.page.get_by_role("button", name="Stop the answer")

    async def open(self) -> "Chat":
        await self.page.goto(f"{self.house.url}/@{self.house.workspace}/{self.agent}")
        return self

    async def show(self, conversation: str) -> "Chat":
        await self.page.goto(f"{self.house.url}/chat/{conversation}")
        return self

    async def say(self, text: str) -> None:
        await self.box.fill(text)
        await self.box.press("Enter")

    async def finished(self) -> None:
        """Wait until nothing is being answered."""
        await expect(self.answers.last).not_to_have_class(re.compile(r"\blive\b"))
        await expect(self.stop).to_be_hidden()

    async def conversation(self) -> str:
        await self.page.wait_for_url("**/chat/*")
        return self.page.url.rsplit("/", 1)[1]

    async def words(self) -> str:
        """What the last answer shows, spaces evened."""
        return " ".join((await self.answers.last.locator(".answer").inner_text()).split())

    async def stored(self) -> str:
        """What the server holds of the newest answer, spaces evened."""
        path = f"/api/v1/conversations/{await self.conversation()}/messages?order=newest&limit=1"
        message = (await self.house.api("GET", path))["items"][0]
        assert message["role"] == "assistant"
        return " ".join("".join(part.get("text", "") for part in message["parts"]).split())

    async def count(self) -> int:
        """How many messages the server holds."""
        path = f"/api/v1/conversations/{await self.conversation()}/messages?limit=200"
        return len((await self.house.api("GET", path))["items"])


@pytest.fixture
async def chat(page: "Page", house: House) -> Chat:
    return await Chat(page, house, await house.agent(tools=["clock"])).open()


# ---------------------------------------------------------------- talking


async def test_a_message_is_answered_and_the_address_becomes_the_conversations(chat: Chat) -> None:
    await chat.say("[[say Good evening.]]")
    await expect(chat.answers.last).to_contain_text("Good evening.")
    await chat.finished()
    await expect(chat.box).to_have_value("")
    await expect(chat.box).to_be_focused()
    assert await chat.stored() == "Good evening."
    assert (await chat.conversation()).startswith("conv_")


async def test_an_answer_ends_with_a_line_of_its_model_tokens_and_times(chat: Chat) -> None:
    await chat.say("[[tokens 40 itl=5ms]]")
    await chat.finished()
    figures = chat.answers.last.locator(".figures")
    await expect(figures).to_contain_text("scripted:test")
    await expect(figures).to_contain_text(re.compile(r"first token after \d+ ms"))
    await expect(figures).to_contain_text(re.compile(r"tokens in, 40 out · \d+ tokens/s"))


async def test_thoughts_are_folded_and_open_on_demand(chat: Chat) -> None:
    await chat.say("[[think The porch is quiet.]] [[say It is quiet.]]")
    await chat.finished()
    thoughts = chat.answers.last.locator("details.thinking")
    await expect(thoughts).not_to_have_attribute("open", "")
    await expect(thoughts.locator("summary")).to_contain_text("Thought for")
    await thoughts.locator("summary").press("Enter")
    await expect(thoughts).to_contain_text("The porch is quiet.")


async def test_a_tool_shows_what_it_was_asked_and_what_it_gave(chat: Chat) -> None:
    await chat.say('[[call clock {"timezone": "Asia/Tokyo"}]] [[say Done.]]')
    await chat.finished()
    tool = chat.answers.last.locator("details.tool")
    await expect(tool.locator("summary")).to_contain_text("clock")
    await expect(tool.locator("summary")).to_contain_text(re.compile(r"done in \d+ ms"))
    await tool.locator("summary").click()
    await expect(tool.get_by_label("Asked with")).to_contain_text('"timezone": "Asia/Tokyo"')
    await expect(tool.get_by_label("Gave")).to_contain_text("weekday")


async def test_a_tool_that_fails_says_so_unasked(chat: Chat) -> None:
    await chat.say('[[call clock {"timezone": "Nowhere"}]]')
    await chat.finished()
    tool = chat.answers.last.locator("details.tool")
    await expect(tool).to_have_attribute("data-state", "failed")
    await expect(tool.get_by_label("Gave")).to_contain_text("There is no time zone 'Nowhere'")


async def test_a_suggestion_is_sent_by_a_tap(chat: Chat) -> None:
    await chat.page.locator("porch-chat").evaluate(
        "chat => { chat.setAttribute('suggestions', '[\"What time is it?\"]'); chat.reset(); }"
    )
    await chat.page.get_by_role("button", name="What time is it?").click()
    await expect(chat.questions.last).to_contain_text("What time is it?")
    await chat.finished()


async def test_shift_enter_is_a_new_line_and_enter_that_ends_a_composition_sends_nothing(chat: Chat) -> None:
    await chat.box.fill("one")
    await chat.box.press("Shift+Enter")
    await chat.box.press_sequentially("two")
    await chat.box.evaluate(
        "box => box.dispatchEvent(new KeyboardEvent('keydown',"
        " {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
    )
    await expect(chat.box).to_have_value("one\ntwo")
    await expect(chat.questions).to_have_count(0)
    await chat.box.press("Enter")
    await expect(chat.questions).to_have_count(1)
    await chat.finished()


async def test_a_message_sent_while_an_answer_comes_is_refused_and_kept(chat: Chat) -> None:
    await chat.say(ENDLESS)
    await expect(chat.stop).to_be_visible()
    await chat.say("And another thing")
    await expect(chat.page.get_by_text("The answer is still being written.")).to_be_visible()
    await expect(chat.box).to_have_value("And another thing")
    await expect(chat.questions).to_have_count(1)
    await chat.stop.click()
    await chat.finished()


@pytest.mark.parametrize("way", ["button", "escape"])
async def test_an_answer_can_be_stopped_and_what_came_stays(chat: Chat, way: str) -> None:
    await chat.say(ENDLESS)
    await expect(chat.answers.last).to_contain_text("The porch is")
    await (chat.stop.click() if way == "button" else chat.box.press("Escape"))
    await expect(chat.answers.last).to_contain_text("Stopped before its end.")
    await chat.finished()
    assert await chat.stored() == "The porch is"
    await expect(chat.answers).to_have_count(1)


# ---------------------------------------------------------------- failures


async def test_a_failed_answer_says_why_and_can_be_asked_for_again(chat: Chat) -> None:
    await chat.say("[[fail after=2 overloaded]]")
    alert = chat.answers.last.get_by_role("alert")
    await expect(alert).to_contain_text("Try again in a moment")
    await alert.get_by_role("button", name="Try again").click()
    await expect(chat.answers.last.get_by_text("2/2")).to_be_visible()
    await expect(chat.answers).to_have_count(1)


async def test_a_failure_without_a_word_survives_a_reload_with_its_way_forward(
    chat: Chat, reload: Reload
) -> None:
    await chat.say("[[fail 401]]")
    alert = chat.answers.last.get_by_role("alert")
    await expect(alert).to_be_visible()
    await expect(alert.get_by_role("link", name="Look at the models")).to_have_attribute("href", "/models")
    said = await alert.locator("p").inner_text()
    await chat.conversation()
    await reload(chat.page)
    await expect(chat.answers.last.get_by_role("alert")).to_contain_text(said)
    await chat.say("[[say Still here.]]")
    await expect(chat.answers.last).to_contain_text("Still here.")
    await expect(chat.questions).to_have_count(2)


async def test_an_answer_that_hit_its_length_says_so_and_goes_on(chat: Chat) -> None:
    await chat.say("[[say Half]] [[finish length]]")
    await expect(chat.answers.last).to_contain_text("breaks off here")
    await chat.answers.last.get_by_role("button", name="Go on").click()
    await expect(chat.questions.last).to_contain_text("Please go on.")
    await chat.finished()


# ---------------------------------------------------------------- versions


async def test_an_edited_message_begins_a_branch_and_both_can_be_seen(chat: Chat, reload: Reload) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    await chat.questions.first.hover()
    await chat.questions.first.get_by_role("button", name="Edit this message").click()
    box = chat.questions.first.get_by_label("Your message")
    await expect(box).to_be_focused()
    await box.fill("[[say Second.]]")
    await box.press("Enter")
    await expect(chat.answers.last).to_contain_text("Second.")
    await chat.finished()
    await expect(chat.questions).to_have_count(1)
    await expect(chat.questions.first.get_by_text("2/2")).to_be_visible()
    await chat.questions.first.get_by_role("button", name="Show the version before").click()
    await expect(chat.answers.last).to_contain_text("First.")
    await expect(chat.answers).to_have_count(1)
    await chat.page.wait_for_load_state("networkidle")
    await reload(chat.page)
    await expect(chat.answers.last).to_contain_text("First.")
    await expect(chat.questions.first.get_by_text("1/2")).to_be_visible()


async def test_escape_leaves_a_message_as_it_was(chat: Chat) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    await chat.questions.first.hover()
    await chat.questions.first.get_by_role("button", name="Edit this message").click()
    await chat.questions.first.get_by_label("Your message").fill("something else")
    await chat.questions.first.get_by_label("Your message").press("Escape")
    await expect(chat.questions.first).to_contain_text("First.")
    await expect(chat.questions.first.get_by_role("button", name="Edit this message")).to_be_focused()


async def test_answering_again_keeps_the_answer_before(chat: Chat) -> None:
    await chat.say("[[call clock]] [[say {result}]]")
    await chat.finished()
    await chat.answers.last.get_by_role("button", name="Answer again").click()
    await expect(chat.answers.last.get_by_text("2/2")).to_be_visible()
    await expect(chat.answers).to_have_count(1)
    await chat.answers.last.get_by_role("button", name="Show the version before").click()
    await expect(chat.answers.last.get_by_text("1/2")).to_be_visible()
    assert await chat.count() == 3


# ---------------------------------------------------------------- nothing twice, nothing missing


async def test_a_reload_in_mid_answer_goes_on(chat: Chat, reload: Reload) -> None:
    await chat.say(SLOW)
    await expect(chat.answers.last).to_contain_text("The porch")
    await chat.conversation()
    await reload(chat.page)
    await expect(chat.answers.last).to_have_class(re.compile(r"\blive\b"))
    await chat.finished()
    assert await chat.words() == await chat.stored()
    await expect(chat.questions).to_have_count(1)
    await expect(chat.answers).to_have_count(1)


class Wire:
    """A network between browser and server that can be cut: Chromium's offline mode spares open streams."""

    def __init__(self, house: House) -> None:
        self.target = urlsplit(house.url).port
        self.writers: set[asyncio.StreamWriter] = set()
        self.whole = True

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            writer.transport.abort()
            return
        further, back = await asyncio.open_connection("localhost", self.target)
        self.writers |= {writer, back}
        await asyncio.gather(self.pump(reader, back), self.pump(further, writer), return_exceptions=True)

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        finally:
            self.writers.discard(writer)
            writer.close()

    def cut(self) -> None:
        self.whole = False
        for writer in list(self.writers):
            writer.transport.abort()


@pytest.fixture
async def wire(house: House) -> AsyncGenerator[tuple[Wire, House]]:
    """A wire, and the house as seen through it."""
    made = Wire(house)
    server = await asyncio.start_server(made.carry, "localhost", 0)
    port = server.sockets[0].getsockname()[1]
    yield made, replace(house, url=f"http://localhost:{port}")
    made.cut()
    server.close()


async def chat_over(
    wire: tuple[Wire, House], house: House, visit: Visit
) -> "tuple[Wire, Chat, BrowserContext]":
    """A chat that reaches the house by the wire alone, signed in."""
    line, far = wire
    context = await visit(far, signed_in=False)
    await sign_in(context, house)
    return line, await Chat(await context.new_page(), far, await house.agent()).open(), context


async def test_a_lost_network_in_mid_answer_is_told_and_made_up_for(
    wire: tuple[Wire, House], house: House, visit: Visit
) -> None:
    line, chat, _ = await chat_over(wire, house, visit)
    await chat.say(SLOW)
    await expect(chat.answers.last).to_contain_text("The porch")
    line.cut()
    lost = chat.page.get_by_text("The connection is lost.")
    await expect(lost).to_be_visible()
    line.whole = True
    await expect(lost).to_be_hidden()
    await chat.finished()
    chat.house = house
    assert await chat.words() == await chat.stored()
    assert await chat.count() == 2


async def test_a_killed_server_goes_on_in_the_open_tab(gate: Gate, visit: Visit) -> None:
    house = gate.house
    page = await (await visit(house)).new_page()
    chat = await Chat(page, house, await house.agent()).open()
    await chat.say("[[tokens 60 itl=50ms]]")
    await expect(chat.answers.last).to_contain_text("The porch")
    await gate.kill()
    await expect(page.get_by_text("The connection is lost.")).to_be_visible()
    await gate.start()
    await expect(chat.stop).to_be_hidden(timeout=60_000)
    assert await chat.words() == await chat.stored()
    assert await chat.count() == 2
    await expect(page.get_by_text("The connection is lost.")).to_be_hidden()


async def test_a_message_sent_without_network_comes_back_and_counts_once(
    chat: Chat, context: "BrowserContext"
) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    await context.set_offline(True)
    await chat.say("[[say Second.]]")
    await expect(chat.questions).to_have_count(2)
    await expect(chat.page.get_by_text("Trying again to send your message")).to_be_visible()
    await expect(chat.page.get_by_text("goes on without it")).to_have_count(0)
    await context.set_offline(False)
    await expect(chat.answers.last).to_contain_text("Second.")
    await chat.finished()
    assert await chat.count() == 4


# ---------------------------------------------------------------- others at work


async def test_two_tabs_show_the_same(chat: Chat, context: "BrowserContext") -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    other = await Chat(await context.new_page(), chat.house, chat.agent).show(await chat.conversation())
    await expect(other.answers.last).to_contain_text("First.")
    await chat.say(SLOW)
    await expect(other.answers.last).to_have_class(re.compile(r"\blive\b"))
    await other.finished()
    await chat.finished()
    assert await other.words() == await chat.words() == await chat.stored()
    await other.say("[[say From the other.]]")
    await expect(chat.answers.last).to_contain_text("From the other.")
    await chat.finished()
    await expect(chat.questions).to_have_count(3)
    await expect(other.questions).to_have_count(3)


async def test_a_conversation_deleted_elsewhere_says_so_and_can_be_brought_back(chat: Chat) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    await chat.house.api("DELETE", f"/api/v1/conversations/{await chat.conversation()}")
    await chat.page.evaluate("window.dispatchEvent(new Event('focus'))")
    await expect(chat.page.get_by_text("This conversation is no longer there.")).to_be_visible()
    await expect(chat.answers.last).to_contain_text("First.")
    await chat.say("[[say Second.]]")
    await expect(
        chat.page.get_by_text("Bring it back or start a new one; your text goes along.")
    ).to_be_visible()
    await chat.page.get_by_role("button", name="Bring it back").click()
    await expect(chat.page.get_by_text("This conversation is")).to_have_count(0)
    await expect(chat.box).to_have_value("[[say Second.]]")
    await chat.box.press("Enter")
    await expect(chat.answers.last).to_contain_text("Second.")


async def test_a_session_that_ends_in_mid_chat_keeps_what_was_written(
    chat: Chat, context: "BrowserContext"
) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    await context.clear_cookies()
    await chat.say("[[say Second.]]")
    await expect(chat.page.get_by_text("You are signed out")).to_be_visible()
    await expect(chat.box).to_have_value("[[say Second.]]")
    link = chat.page.get_by_role("link", name="Sign in")
    await expect(link).to_have_attribute("target", "_blank")
    await sign_in(context, chat.house)
    await chat.page.get_by_role("button", name="I have signed in").click()
    await expect(chat.page.get_by_text("You are signed out")).to_be_hidden()
    await chat.box.press("Enter")
    await expect(chat.answers.last).to_contain_text("Second.")
    await chat.finished()
    assert await chat.count() == 4


async def test_a_draft_outlives_a_reload(chat: Chat, reload: Reload) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    await chat.conversation()
    await chat.box.fill("Half a thought")
    await reload(chat.page)
    await expect(chat.box).to_have_value("Half a thought")


async def test_back_leads_away_and_forward_to_the_conversation_again(chat: Chat) -> None:
    await chat.say("[[say First.]]")
    await chat.finished()
    where = chat.page.url
    await chat.page.goto(chat.house.url + "/agents")
    await chat.page.go_back()
    assert chat.page.url == where
    await expect(chat.answers.last).to_contain_text("First.")
    await expect(chat.answers).to_have_count(1)


# ---------------------------------------------------------------- reading


async def test_text_that_grows_never_moves_a_reader_who_scrolled_up(chat: Chat) -> None:
    scroller = chat.page.get_by_role("region", name="Conversation")
    await chat.page.set_viewport_size({"width": 700, "height": 500})
    await chat.say("[[tokens 400 itl=1ms]]")
    await chat.finished()
    await chat.say("[[tokens 300 itl=10ms]]")
    await expect(chat.answers.last).to_contain_text("The porch")
    await scroller.hover()
    await chat.page.mouse.wheel(0, -300)
    pill = chat.page.get_by_role("button", name="New text below")
    await expect(pill).to_be_visible()
    before = await scroller.evaluate("element => element.scrollTop")
    await chat.finished()
    assert await scroller.evaluate("element => element.scrollTop") == before
    await pill.click()
    await expect(pill).to_be_hidden()
    left = "element => element.scrollHeight - element.clientHeight - element.scrollTop"
    assert await scroller.evaluate(left) <= 24


async def test_answers_are_read_out_by_sentences(chat: Chat) -> None:
    await chat.say("[[say The lamp is lit. The night is calm.]]")
    await chat.finished()
    log = chat.page.get_by_role("log")
    await expect(log).to_contain_text("The lamp is lit. The night is calm.")
    await expect(log).to_contain_text("The answer is complete.")
    assert await log.locator("p").count() <= 3


async def test_an_answer_that_broke_off_is_not_read_out_as_complete(chat: Chat) -> None:
    await chat.say("[[say Half.]] [[finish length]]")
    await expect(chat.answers.last.get_by_role("alert")).to_contain_text("breaks off here")
    await chat.finished()
    log = chat.page.get_by_role("log")
    await expect(log).to_contain_text("Half.")
    await expect(log).not_to_contain_text("complete")


HOSTILE = [
    "<script>window.hurt = 1</script>",
    '<img src="x" onerror="window.hurt = 1">',
    '<svg onload="window.hurt = 1"><a href="javascript:window.hurt=1">x</a></svg>',
    "[click](javascript:window.hurt=1) ![](http://example.invalid/spy.png)",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200b\u200b \u001b[31mred\u001b[0m",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_stays_text(chat: Chat, text: str, reload: Reload) -> None:
    await chat.say(f"[[say {text}]]")
    await chat.finished()
    await chat.conversation()
    for _ in range(2):
        await expect(chat.answers).to_have_count(1)
        scripts = "porch-chat script, porch-chat img, porch-chat .prose svg, porch-chat a[href^='javascript']"
        await expect(chat.page.locator(scripts)).to_have_count(0)
        assert await chat.page.evaluate("window.hurt") is None
        shown = await chat.words() + await chat.questions.last.inner_text()
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\u001b]", shown)
        await reload(chat.page)
        await expect(chat.answers.last).to_be_visible()


async def test_each_paragraph_has_its_own_direction(chat: Chat) -> None:
    await chat.say("[[say مرحبا بك في الشرفة]]")
    await chat.finished()
    found = "element => getComputedStyle(element).direction"
    assert await chat.answers.last.locator(".prose p").evaluate(found) == "rtl"


async def test_a_shared_conversation_is_read_from_its_beginning_by_strangers(
    chat: Chat, visit: Visit
) -> None:
    for text in ("[[think Hm.]] [[call clock]] [[say First.]]", "[[tokens 900]]"):
        await chat.say(text)
        await chat.finished()
    path = f"/api/v1/conversations/{await chat.conversation()}/shares"
    shared = await chat.house.api("POST", path)
    page = await (await visit(chat.house, signed_in=False)).new_page()
    await page.goto(chat.house.url + urlsplit(str(shared["url"])).path)
    await expect(page.locator(".turn-agent").first).to_contain_text("First.")
    await expect(page.locator(".turn")).to_have_count(4)
    await expect(page.locator(".turn-agent").first).to_be_in_viewport()
    await expect(page.get_by_label("Message", exact=True)).to_have_count(0)
    await expect(page.get_by_role("button", name="Answer again")).to_have_count(0)


# ---------------------------------------------------------------- size


async def test_a_pasted_book_is_taken_at_once(chat: Chat) -> None:
    paste = """(box, text) => { const data = new DataTransfer(); data.setData("text/plain", text); box.focus();
      box.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true})); }"""
    book = "The porch is where a house meets the street.\n\n" * 2000
    await chat.box.evaluate(paste, book)
    await expect(chat.box).to_have_value(book)
    await chat.box.press("Enter")
    await expect(chat.questions.last.get_by_role("button", name="Show all")).to_be_visible()
    await expect(chat.box).to_have_value("")
    await chat.finished()


async def test_ten_thousand_messages_open_at_the_newest_and_scroll_back(
    standing_house: Gate, house: House, visit: Visit
) -> None:
    page = await (await visit()).new_page()
    agent = await house.agent()
    conversation = await house.conversation(agent)
    await house.say(conversation, "[[say The first.]]")
    await lengthen(standing_house, house, conversation, 10_000)
    chat = await Chat(page, house, agent).show(conversation)
    await expect(chat.answers.last).to_contain_text("message 10000")
    assert await page.locator(".turn").count() == 50
    scroller = page.get_by_role("region", name="Conversation")
    await scroller.evaluate("element => { element.scrollTop = 0; }")
    await expect(page.get_by_text("message 9930", exact=True)).to_be_attached()
    await chat.say("[[say And on it goes.]]")
    await expect(chat.answers.last).to_contain_text("And on it goes.")
    await chat.finished()


async def lengthen(gate: Gate, house: House, conversation: str, count: int) -> None:
    """Put messages behind a conversation's newest one."""
    me = await house.api("GET", "/api/v1/me")
    workspace = parse_id("ws", me["workspaces"][0]["id"])
    database = await Database.connect(gate.urls.app, pool_size=2)
    try:
        async with database.tenant(workspace) as connection:
            await connection.execute(LENGTHEN, workspace, parse_id("conv", conversation), count)
    finally:
        await database.close()


LENGTHEN = """
WITH last AS (SELECT head_message_id AS head FROM porch.conversations WHERE id = $2),
numbered AS (
  SELECT n, lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') AS at
  FROM generate_series(1, $3) AS n),
made AS (
  SELECT n, (substr(at, 1, 8) || '-' || substr(at, 9, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id
  FROM numbered),
linked AS (SELECT n, id, coalesce(lag(id) OVER (ORDER BY n), last.head) AS parent FROM made, last),
added AS (
  INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, role, parts)
  SELECT $1, id, $2, parent, CASE n % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
         jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'message ' || n))
  FROM linked RETURNING id)
UPDATE porch.conversations SET head_message_id = (SELECT max(id::text)::uuid FROM added) WHERE id = $2
"""

FRAMES = """
window.gaps = [];
let last = performance.now();
const frame = (now) => { window.gaps.push(now - last); last = now; requestAnimationFrame(frame); };
requestAnimationFrame(frame);
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({type: "longtask"});
"""


async def test_a_fast_answer_leaves_the_page_responsive(chat: Chat) -> None:
    await chat.page.evaluate(FRAMES)
    await chat.say("[[tokens 2000 itl=2ms]]")
    await expect(chat.stop).to_be_visible()
    await expect(chat.stop).to_be_hidden(timeout=30_000)
    assert await chat.words() == await chat.stored()
    blocked = await chat.page.evaluate("window.tasks.reduce((sum, task) => sum + task - 50, 0)")
    assert blocked < 1000, f"long tasks blocked the page for {blocked:.0f} ms"


# ---------------------------------------------------------------- for everybody


async def test_axe_finds_nothing_in_any_state(chat: Chat, axe: Axe) -> None:
    await axe(chat.page)
    await chat.say("[[think Hm.]] [[call clock]] [[say # Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n`x`]]")
    await chat.finished()
    await axe(chat.page)
    await chat.say(ENDLESS)
    await expect(chat.answers.last).to_contain_text("The porch is")
    await axe(chat.page)
    await chat.stop.click()
    await chat.finished()
    await chat.say("[[fail after=2 overloaded]]")
    await chat.finished()
    await axe(chat.page)
    await chat.questions.first.hover()
    await chat.questions.first.get_by_role("button", name="Edit this message").click()
    await axe(chat.page)


async def test_every_control_is_reached_by_the_keyboard_and_large_enough(chat: Chat) -> None:
    await chat.say("[[think Hm.]] [[call clock]] [[say Done.]]")
    await chat.finished()
    small = """() => [...document.querySelector("porch-chat").shadowRoot.querySelectorAll("button, summary, a")]
      .filter((element) => element.checkVisibility())
      .map((element) => [element.getAttribute("aria-label") ?? element.textContent, element.getBoundingClientRect()])
      .filter(([, box]) => box.width < 24 || box.height < 24).map(([name]) => name)"""
    assert await chat.page.evaluate(small) == []
    named: list[str] = []
    await chat.page.get_by_role("region", name="Conversation").focus()
    focused = """() => { const at = document.activeElement?.shadowRoot?.activeElement;
      return at ? (at.getAttribute("aria-label") ?? at.tagName) : ""; }"""
    for _ in range(12):
        await chat.page.keyboard.press("Tab")
        named.append(await chat.page.evaluate(focused))
    order = [
        "Copy this message",
        "Edit this message",
        "SUMMARY",
        "SUMMARY",
        "Copy this answer",
        "Answer again",
    ]
    places = [named.index(name) for name in order]
    assert places == sorted(places)
    assert "TEXTAREA" in named
