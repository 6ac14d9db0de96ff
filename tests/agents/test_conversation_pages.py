"""The pages of conversations, as they are without any script."""

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from porch.agents.conversation_pages import router
from porch.agents.conversation_views import excerpt, marked
from porch.agents.upkeep import Upkeep
from porch.contract.ids import parse_id
from tests.agents.test_conversation_care import of
from tests.agents.test_conversations import add_messages, add_run, begin
from tests.agents.test_shares import ANSWER, say
from tests.http.app import DEFINITION, Tenant, World, assembled
from tests.http.client import Answer, Client
from tests.postgres import TestServer

FORM = {"content-type": "application/x-www-form-urlencoded"}
HOSTILE = "<script>alert(1)</script>\u202eevil\u2066\x1b[31m</noscript></script><b>&amp;"


@pytest.fixture(scope="module")
async def world(postgres: TestServer) -> AsyncIterator[World]:
    """The app with the pages of conversations."""
    urls = await postgres.create()
    async with assembled(urls, [router]) as world:
        yield world
    await postgres.drop(urls)


@pytest.fixture
async def conversations(ada: Tenant) -> str:
    """The path of an agent's conversations."""
    await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "title": "Helper"})
    return f"{ada.path}/agents/helper/conversations"


@pytest.fixture
async def conversation(world: World, ada: Tenant, conversations: str) -> str:
    """One in which something was said."""
    made = await begin(ada.client, conversations, title="Time & place")
    await say(world, ada, made, [[{"type": "text", "text": "What time is it?"}], ANSWER])
    return made


async def look(client: Client, path: str, status: int = 200) -> str:
    answer = await client.get(path)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.body.decode()


async def send(client: Client, path: str, **fields: str) -> Answer:
    return await client.post(path, body=urlencode(fields).encode(), headers=FORM)


def seen(page: str) -> str:
    """The text between a page's tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


async def test_an_empty_list_leads_to_the_agents(ada: Tenant) -> None:
    page = await look(ada.client, "/conversations")
    assert "No conversations yet" in page
    assert 'href="/agents"' in page
    assert 'role="search"' not in page, "there is nothing to search"


async def test_the_list_shows_one_s_own_with_their_menus(
    world: World, ada: Tenant, conversation: str
) -> None:
    page = await look(ada.client, "/conversations")
    assert "Time &amp; place" in page
    for path in (
        f"/chat/{conversation}",
        f"/conversations/{conversation}/rename",
        f"/conversations/{conversation}/share",
        f"/conversations/{conversation}/delete",
        f"/api/v1/conversations/{conversation}/export?format=markdown",
    ):
        assert f'"{path}"' in page, path
    other = await world.member(ada, "editor")
    assert "Time &amp; place" not in await look(other, "/conversations")


async def test_a_reader_s_menu_has_nothing_that_changes(
    world: World, ada: Tenant, conversations: str
) -> None:
    runner = Client(
        world.app,
        await world.token(ada.workspace, ada.owner, ["read:conversations", "run:agents", "read:agents"]),
    )
    await begin(ada.client, conversations, title="Mine")
    page = await look(runner, "/conversations")
    assert "Mine" in page
    assert "/delete" not in page
    assert "/rename" not in page


async def test_the_search_works_by_its_form_and_marks_what_it_found(
    world: World, ada: Tenant, conversations: str
) -> None:
    made = await begin(ada.client, conversations, title="A journey")
    await add_messages(world, ada, made, [[{"type": "text", "text": "The <i>train</i> leaves at noon"}]])
    await begin(ada.client, conversations, title="Nothing of that")
    await Upkeep(world.database).index()
    page = await look(ada.client, "/conversations?q=train")
    assert "The &lt;i&gt;<mark>train</mark>&lt;/i&gt; leaves" in page
    assert "Nothing of that" not in page
    assert 'value="train"' in page
    none = await look(ada.client, "/conversations?" + urlencode({"q": HOSTILE.replace("\x1b", "")}))
    assert "Nothing here says" in none
    assert "<script>alert" not in none


async def test_what_people_wrote_stays_text(world: World, ada: Tenant, conversations: str) -> None:
    made = await begin(ada.client, conversations, title=HOSTILE)
    parts = [
        {"type": "text", "text": HOSTILE},
        {"type": "reasoning", "text": HOSTILE},
        {"type": "tool_call", "call": "c", "name": HOSTILE, "arguments": {"x": HOSTILE}},
        {"type": "tool_result", "call": "c", "output": HOSTILE},
    ]
    await say(world, ada, made, [[{"type": "text", "text": HOSTILE}], parts])
    shared = (await ada.client.post(of(made, "/shares"))).json["url"]
    for path in ("/conversations", f"/chat/{made}", f"/conversations/{made}/share", shared):
        page = await look(ada.client, path)
        assert "<script>alert" not in page, path
        assert page.count("</noscript>") == page.count("<noscript>"), path
        outside = re.sub(r'<script type="application/json">.*?</script>', "", page, flags=re.DOTALL)
        assert "\u202e" not in outside, path
        assert "⟨U+202E⟩" in outside, path


async def test_pages_of_the_list_follow_each_other(ada: Tenant, conversations: str) -> None:
    for at in range(31):
        await begin(ada.client, conversations, title=f"Number {at}.")
    first = await look(ada.client, "/conversations")
    assert "Number 1." in first
    assert "Number 0." not in first
    following = re.search(r'href="(/conversations\?cursor=[^"]+)"', first)
    assert following
    second = await look(ada.client, html.unescape(following[1]))
    assert "Number 0." in second
    assert "Newest" in second
    await look(ada.client, "/conversations?cursor=nonsense", 422)


async def test_the_chat_page_can_be_read_without_javascript(
    world: World, ada: Tenant, conversation: str
) -> None:
    page = await look(ada.client, f"/chat/{conversation}")
    assert f'<porch-chat class="talk-chat" agent="@{ada.handle}/helper" conversation="{conversation}"' in page
    reading = seen(page.partition("<noscript>")[2])
    for words in ("needs JavaScript", "What time is it?", "Thinking", "Called clock", "It is **noon**."):
        assert words in reading
    assert "This is the end of it" not in reading
    await say(world, ada, conversation, [[{"type": "text", "text": "word " * 4000}] for _ in range(20)])
    long = await look(ada.client, f"/chat/{conversation}")
    assert "This is the end of it" in long
    assert len(long) < 60_000, "the page stays small however long the conversation is"


async def test_long_messages_make_no_long_page(world: World, ada: Tenant, conversations: str) -> None:
    made = await begin(ada.client, conversations, title="Long")
    essay = [{"type": "text", "text": "word " * 50_000}]
    await say(world, ada, made, [essay] * 10)
    page = await look(ada.client, f"/chat/{made}")
    assert len(page) < 60_000
    assert "word word" in page
    assert "Read it all as a file" in page
    url = (await ada.client.post(of(made, "/shares"))).json["url"]
    shared = await look(Client(world.app), url)
    assert len(shared) < 1_500_000, "of two and a half million characters"
    assert "this is the end of it" in shared


async def test_a_link_names_the_public_address_where_there_is_one(
    world: World, ada: Tenant, conversation: str
) -> None:
    async def made() -> str:
        page = await look_at_link(ada.client, conversation)
        return page.partition('id="link" type="text" readonly value="')[2].partition("/shared/")[0]

    assert await made() == "http://localhost:8642"
    world.app.state.url = "https://porch.example"
    try:
        assert await made() == "https://porch.example"
    finally:
        del world.app.state.url


async def look_at_link(client: Client, conversation: str) -> str:
    """The page that shows a link just made."""
    answer = await send(client, f"/conversations/{conversation}/share")
    assert answer.status == 200, answer.body
    return answer.body.decode()


async def test_an_empty_conversation_is_a_page_too(ada: Tenant, conversations: str) -> None:
    made = await begin(ada.client, conversations)
    page = await look(ada.client, f"/chat/{made}")
    assert "A conversation without a title" in page
    assert "Nothing was said here yet." in page


@pytest.mark.parametrize("name", ["conv_x", "%00", "conv_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b"])
async def test_what_is_not_there_says_so_on_a_page(ada: Tenant, name: str) -> None:
    for path in (
        f"/chat/{name}",
        f"/conversations/{name}/rename",
        f"/conversations/{name}/share",
        f"/shared/{name}",
    ):
        await look(ada.client, path, 404)
    for path in ("rename", "delete", "restore", "share", "shares/shr_x/revoke"):
        assert (await send(ada.client, f"/conversations/{name}/{path}", title="x")).status == 404, path


async def test_another_s_conversation_is_not_there(
    world: World, ada: Tenant, eve: Tenant, conversation: str
) -> None:
    for client in (eve.client, await world.member(ada, "editor")):
        await look(client, f"/chat/{conversation}", 404)
        for path in ("rename", "delete", "restore", "share"):
            answer = await send(client, f"/conversations/{conversation}/{path}", title="Mine now")
            assert answer.status == 404, path
    assert (await ada.client.get(of(conversation))).json["title"] == "Time & place"


async def test_renaming_goes_back_to_where_one_came_from(ada: Tenant, conversation: str) -> None:
    page = await look(ada.client, f"/conversations/{conversation}/rename?then=chat")
    assert 'value="Time &amp; place"' in page
    answer = await send(
        ada.client, f"/conversations/{conversation}/rename", title="Plans", then=f"/chat/{conversation}"
    )
    assert (answer.status, answer.headers["location"]) == (303, f"/chat/{conversation}")
    assert (await ada.client.get(of(conversation))).json["title"] == "Plans"
    away = await send(ada.client, f"/conversations/{conversation}/rename", title="x", then="//evil.example")
    assert away.headers["location"] == "/conversations"


async def test_a_title_that_cannot_be_kept_comes_back_with_a_sentence(ada: Tenant, conversation: str) -> None:
    answer = await send(ada.client, f"/conversations/{conversation}/rename", title="y" * 500)
    page = answer.body.decode()
    assert answer.status == 422
    assert f'value="{"y" * 500}"' in page
    assert "the limit is 400" in page


async def test_what_was_deleted_is_brought_back_from_the_list(ada: Tenant, conversation: str) -> None:
    answer = await send(ada.client, f"/conversations/{conversation}/delete")
    assert (answer.status, answer.headers["location"]) == (303, f"/conversations?deleted={conversation}")
    page = await look(ada.client, answer.headers["location"])
    assert "Time &amp; place" in page
    assert f'action="/conversations/{conversation}/restore"' in page
    await look(ada.client, f"/chat/{conversation}", 404)
    back = await send(ada.client, f"/conversations/{conversation}/restore")
    assert back.status == 303
    assert "restore" not in await look(ada.client, f"/conversations?deleted={conversation}")
    assert f"/chat/{conversation}" in await look(ada.client, "/conversations")


async def test_the_notice_of_a_deletion_is_only_for_whose_it_was(
    world: World, ada: Tenant, eve: Tenant, conversation: str
) -> None:
    await ada.client.delete(of(conversation))
    for client in (eve.client, await world.member(ada, "editor")):
        assert "Time &amp; place" not in await look(client, f"/conversations?deleted={conversation}")
    await look(ada.client, "/conversations?deleted=conv_x", 200)


async def test_the_notice_of_a_deletion_waits_for_nobody_who_writes(
    world: World, ada: Tenant, conversation: str
) -> None:
    await ada.client.delete(of(conversation))
    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute(
            "SELECT FROM porch.conversations WHERE id = $1 FOR UPDATE", parse_id("conv", conversation)
        )
        async with asyncio.timeout(5):
            page = await look(ada.client, f"/conversations?deleted={conversation}")
    assert "is deleted" in page


async def test_the_list_leaves_out_a_conversation_that_has_neither_message_nor_title(
    ada: Tenant, conversations: str, conversation: str
) -> None:
    empty = await begin(ada.client, conversations)
    named = await begin(ada.client, conversations, title="For later")
    page = await look(ada.client, "/conversations")
    assert empty not in page
    assert named in page
    assert conversation in page
    assert "Nothing was said here yet" in await look(ada.client, f"/chat/{empty}")
    await ada.client.patch(of(empty), json={"title": "Not empty any more"})
    assert empty in await look(ada.client, "/conversations")


async def test_nothing_is_deleted_under_an_answer(world: World, ada: Tenant, conversation: str) -> None:
    (message,) = await add_messages(world, ada, conversation, [[{"type": "text", "text": "x"}]])
    await add_run(world, ada, conversation, message, "running")
    answer = await send(ada.client, f"/conversations/{conversation}/delete")
    assert answer.status == 409
    assert "An answer in this conversation is still being written. Stop it or wait" in answer.body.decode()
    assert "answering now" in await look(ada.client, "/conversations")


async def test_a_link_is_made_shown_once_read_by_anybody_and_closed(
    world: World, ada: Tenant, conversation: str
) -> None:
    answer = await send(ada.client, f"/conversations/{conversation}/share")
    link = re.search(r'value="(http://localhost:8642(/shared/[A-Za-z0-9_-]{32}))"', answer.body.decode())
    assert link
    assert link[2] not in await look(ada.client, f"/conversations/{conversation}/share")
    anybody = await ada.client.as_(None).get(link[2])
    page = anybody.body.decode()
    assert anybody.status == 200
    assert anybody.headers["x-robots-tag"] == "noindex"
    assert "Time &amp; place" in page
    assert "What time is it?" in seen(page.partition("<noscript>")[2])
    given: Any = re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    messages = json.loads(given[1])
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert "provider" not in given[1]
    assert conversation not in page, "no id but the messages'"
    share = re.search(
        r"shares/(shr_[0-9a-f]+)/revoke", await look(ada.client, f"/conversations/{conversation}/share")
    )
    assert share
    closed = await send(ada.client, f"/conversations/{conversation}/shares/{share[1]}/revoke")
    assert closed.status == 303
    gone = await ada.client.as_(None).get(link[2])
    assert gone.status == 404
    assert "revoked" in gone.body.decode()


async def test_an_empty_conversation_offers_no_link(ada: Tenant, conversations: str) -> None:
    made = await begin(ada.client, conversations)
    page = await look(ada.client, f"/conversations/{made}/share")
    assert "nothing to share" in page
    assert 'method="post" action="/conversations' not in page
    assert (await send(ada.client, f"/conversations/{made}/share")).status == 409


async def test_a_new_chat_is_with_the_agent_that_home_offers(ada: Tenant, conversations: str) -> None:
    assert re.search(rf'href="/@{ada.handle}/helper">New chat</a>', await look(ada.client, "/conversations"))
    await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "name": "newer"})
    assert re.search(rf'href="/@{ada.handle}/newer">New chat</a>', await look(ada.client, "/conversations"))


async def test_without_an_agent_a_new_chat_begins_among_the_agents(ada: Tenant) -> None:
    assert re.search(r'href="/agents">New chat</a>', await look(ada.client, "/conversations"))


async def test_an_excerpt_ends_with_a_word_and_shows_no_signs_of_markdown(
    world: World, ada: Tenant, conversations: str
) -> None:
    made = await begin(ada.client, conversations, title="Days")
    words = "word " * 30 + "then **Morning.** Bread in `the` oven, " + "afterwards " * 40
    await say(world, ada, made, [[{"type": "text", "text": words}]])
    await Upkeep(world.database).index()
    page = await look(ada.client, "/conversations?q=morning")
    [shown] = re.findall(r'class="talk-snippet" dir="auto">(.*?)</p>', page)
    text = html.unescape(re.sub("<[^>]+>", "", shown))
    assert re.fullmatch(r"…(word )+then Morning\. Bread in the oven,( afterwards)+…", text), text
    assert "<mark>Morning</mark>" in shown


@pytest.mark.parametrize(
    ("text", "search", "shown"),
    [
        ("Short and whole.", "whole", "Short and whole."),
        ("## Plan\n\n> - **a** *b* ~~c~~ `d` __e__", "plan", "Plan a b c d e"),
        ("[the river](https://x.example/a_b) and ![a map](m.png)", "river", "the river and a map"),
        ("```python\n2**8 + a*b - snake_case\n```", "snake", "2**8 + a*b - snake_case"),
        ("2 * 3 * 4 # five", "five", "2 * 3 * 4 # five"),
        ("**kept** as it was searched", "**kept", "**kept** as it was searched"),
        ("", "x", ""),
    ],
)
def test_an_excerpt_is_words(text: str, search: str, shown: str) -> None:
    assert excerpt(text, search) == shown


def test_an_excerpt_of_nothing_but_marks_is_read_at_once() -> None:
    for mark in "*_`~[>#-! ":
        assert len(excerpt(mark * 240, "x")) <= 240


def test_marks_stand_where_the_words_do() -> None:
    assert marked("A train, a TRAIN-stop", "train") == [
        ("A ", False),
        ("train", True),
        (", a ", False),
        ("TRAIN", True),
        ("-stop", False),
    ]
    assert marked("a.b", ".") == [("a", False), (".", True), ("b", False)]
    assert marked("x", " ") == [("x", False)]
