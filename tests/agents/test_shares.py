"""Links under which anybody reads a conversation, and its export as a file."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest

from porch.agents.exports import MarkdownFile, disposition
from porch.agents.model import Conversation, SharedConversation
from porch.agents.shares import Shares
from porch.contract.errors import NotFound
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.contract.messages import Message, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from tests.agents.test_conversation_care import of, text
from tests.agents.test_conversations import add_messages, add_run, begin
from tests.http.app import DEFINITION, Tenant, World
from tests.http.client import Client

ANSWER: list[dict[str, Any]] = [
    {"type": "reasoning", "text": "hm"},
    {"type": "reasoning", "text": "", "format": "x", "sealed": {"blob": "provider's own"}},
    {"type": "tool_call", "call": "call_1", "name": "clock", "arguments": {"zone": "UTC"}},
    {"type": "tool_result", "call": "call_1", "output": {"now": "noon"}},
    {"type": "text", "text": "It is **noon**."},
]


@pytest.fixture
async def conversation(world: World, ada: Tenant) -> str:
    """One in which something was said."""
    await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "title": "Helper"})
    made = await begin(ada.client, f"{ada.path}/agents/helper/conversations", title="Time & place")
    await say(world, ada, made, [text("What time is it?")[0], ANSWER])
    return made


async def say(world: World, tenant: Tenant, conversation: str, parts: list[Any]) -> list[str]:
    messages = [
        format_id("msg", message) for message in await add_messages(world, tenant, conversation, parts)
    ]
    assert (await tenant.client.patch(of(conversation), json={"head": messages[-1]})).status == 200
    return messages


async def share(client: Client, conversation: str) -> tuple[str, str]:
    answer = await client.post(of(conversation, "/shares"))
    assert answer.status == 201, answer.body
    return answer.json["id"], answer.json["url"].removeprefix("/shared/")


async def opened(world: World, token: str) -> SharedConversation:
    return await Shares(world.database).open(token)


async def test_whoever_holds_the_link_reads_the_branch(world: World, ada: Tenant, conversation: str) -> None:
    _, token = await share(ada.client, conversation)
    shown = await opened(world, token)
    assert (shown.title, shown.agent, shown.agent_title) == (
        "Time & place",
        f"@{ada.handle}/helper",
        "Helper",
    )
    assert [message.role for message in shown.messages] == ["user", "assistant"]
    assert not shown.left_out
    answer = shown.messages[1]
    assert [type(part).__name__ for part in answer.parts] == [
        "ReasoningPart",
        "ToolCallPart",
        "ToolResultPart",
        "TextPart",
    ], "a provider's sealed block is nobody's to read"
    assert answer.run is None


async def test_a_link_shows_what_there_was_when_it_was_made(
    world: World, ada: Tenant, conversation: str
) -> None:
    _, token = await share(ada.client, conversation)
    await say(world, ada, conversation, text("A secret said later"))
    assert "secret" not in str((await opened(world, token)).messages)


async def test_a_link_keeps_the_title_of_its_day(world: World, ada: Tenant, conversation: str) -> None:
    _, before = await share(ada.client, conversation)
    await ada.client.patch(of(conversation), json={"title": "Not for everybody's eyes"})
    _, after = await share(ada.client, conversation)
    assert (await opened(world, before)).title == "Time & place"
    assert (await opened(world, after)).title == "Not for everybody's eyes"


async def test_a_revoked_link_opens_nothing(world: World, ada: Tenant, conversation: str) -> None:
    name, token = await share(ada.client, conversation)
    other, still_open = await share(ada.client, conversation)
    assert (await ada.client.delete(of(conversation, f"/shares/{name}"))).status == 204
    with pytest.raises(NotFound):
        await opened(world, token)
    assert await opened(world, still_open)
    listed = (await ada.client.get(of(conversation, "/shares"))).json["items"]
    assert [item["id"] for item in listed] == [other]
    assert (await ada.client.delete(of(conversation, f"/shares/{name}"))).status == 404


async def test_a_deleted_conversation_s_links_open_nothing_until_it_is_back(
    world: World, ada: Tenant, conversation: str
) -> None:
    _, token = await share(ada.client, conversation)
    await ada.client.delete(of(conversation))
    with pytest.raises(NotFound):
        await opened(world, token)
    await ada.client.post(of(conversation, "/restore"))
    assert await opened(world, token)


@pytest.mark.parametrize("token", ["", "x", "a" * 32, "\x00" * 32, "ä" * 32, "a" * 5000, "'--"])
async def test_a_made_up_link_opens_nothing(world: World, token: str) -> None:
    with pytest.raises(NotFound):
        await opened(world, token)


async def test_the_token_is_shown_once_and_only_its_hash_is_kept(
    world: World, ada: Tenant, conversation: str
) -> None:
    key = {"idempotency-key": "one"}
    first = await ada.client.post(of(conversation, "/shares"), headers=key)
    again = await ada.client.post(of(conversation, "/shares"), headers=key)
    assert again.json == {**first.json, "url": None}
    token = first.json["url"].removeprefix("/shared/")
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", token)
    assert "url" not in (await ada.client.get(of(conversation, "/shares"))).json["items"][0]
    async with world.database.tenant(ada.workspace) as connection:
        rows = await connection.fetch("SELECT s::text FROM porch.conversation_shares s")
    assert len(rows) == 1
    assert token not in rows[0][0]


async def test_nothing_is_shared_of_an_empty_or_an_answering_conversation(
    world: World, ada: Tenant, conversation: str
) -> None:
    empty = await begin(ada.client, f"{ada.path}/agents/helper/conversations")
    answer = await ada.client.post(of(empty, "/shares"))
    assert (answer.status, answer.code) == (409, "conflict")
    head = (await ada.client.get(of(conversation))).json["head"]
    await add_run(world, ada, conversation, parse_id("msg", head), "running")
    answer = await ada.client.post(of(conversation, "/shares"))
    assert (answer.status, answer.code) == (409, "conversation_busy")


async def test_others_neither_share_nor_list_nor_revoke(
    world: World, ada: Tenant, eve: Tenant, conversation: str
) -> None:
    name, token = await share(ada.client, conversation)
    for client in (eve.client, await world.member(ada, "editor"), await world.member(ada, "viewer")):
        for method, path in (
            ("POST", "/shares"),
            ("GET", "/shares"),
            ("DELETE", f"/shares/{name}"),
            ("GET", "/export"),
        ):
            answer = await client.request(method, of(conversation, path))
            assert answer.status in {403, 404}, path
    await eve.client.post(f"{eve.path}/agents", json=DEFINITION)
    hers = await begin(eve.client, f"{eve.path}/agents/helper/conversations")
    assert (await eve.client.delete(of(hers, f"/shares/{name}"))).status == 404
    assert await opened(world, token)


# -- exports


async def test_json_has_the_whole_branch(world: World, ada: Tenant, conversation: str) -> None:
    answer = await ada.client.get(of(conversation, "/export?format=json"))
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json["format"], answer.json["version"]) == ("porch.conversation", 1)
    assert (answer.json["title"], answer.json["agent"]) == ("Time & place", f"@{ada.handle}/helper")
    assert [message["role"] for message in answer.json["messages"]] == ["user", "assistant"]
    assert "provider's own" not in json.dumps(answer.json)


async def test_markdown_reads_as_it_was_said(ada: Tenant, conversation: str) -> None:
    answer = await ada.client.get(of(conversation, "/export"))
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    words = answer.body.decode()
    assert words.startswith("# Time & place\n\nWith Helper (@")
    for piece in ("## You\n\nWhat time is it?", "> Thinking:\n> hm", "Called clock:", "It is **noon**."):
        assert piece in words


async def test_an_empty_conversation_is_exported_too(ada: Tenant, conversation: str) -> None:
    empty = await begin(ada.client, f"{ada.path}/agents/helper/conversations")
    assert (await ada.client.get(of(empty, "/export"))).body.startswith(b"# Conversation\n")
    assert (await ada.client.get(of(empty, "/export?format=json"))).json["messages"] == []
    assert (await ada.client.get(of(empty, "/export?format=pdf"))).status == 422


@pytest.mark.parametrize(
    ("title", "plain", "full"),
    [
        ("Time & place", "Time-place", "Time-place"),
        ("../../etc/passwd", "etc-passwd", "etc-passwd"),
        ('a"; filename="b.exe', "a-filename-b-exe", "a-filename-b-exe"),
        ("Grüße\r\nX-Evil: 1", "Gru-e-X-Evil-1", "Grüße-X-Evil-1"),
        ("今天", "conversation", "今天"),
        ("\u202e\x00…", "conversation", "conversation"),
        ("", "conversation", "conversation"),
        ("CON.", "CON", "CON"),
        ("x" * 300, "x" * 60, "x" * 60),
    ],
)
def test_a_file_is_named_safely_after_the_title(title: str, plain: str, full: str) -> None:
    header = disposition(a_conversation(title), "md")
    header.encode("ascii")
    assert header.startswith("attachment; ")
    assert "\n" not in header
    found = re.search(r"filename=\"([^\"]*)\"; filename\*=UTF-8''(\S+)$", header)
    assert found
    assert (found[1], unquote(found[2])) == (f"{plain}.md", f"{full}.md")


def test_nothing_that_is_quoted_ends_its_own_fence() -> None:
    parts: list[Part] = [
        ReasoningPart(text="one\n\n# two"),
        ToolCallPart(call="c", name="a`b\n# c", arguments={"x": "``` \n# not a heading\n`````"}),
        ToolResultPart(call="c", output="~~~\n````\n# nor this"),
        TextPart(text="# mine"),
    ]
    now = a_conversation("").created_at
    message = Message(id="msg_x", role="assistant", parts=parts, created_at=now)
    file = MarkdownFile(a_conversation("# <b>\n# x"), "@a/b", "B")
    words = (file.opening() + file.messages([message]) + file.closing()).decode()
    headings: list[str] = []
    fence = ""
    for line in words.splitlines():
        if fence and line == fence:
            fence = ""
        elif not fence and (found := re.match(r"`{3,}", line)):
            fence = found[0]
        elif not fence and line.startswith("#"):
            headings.append(line)
    assert headings == [r"# \# \<b\> \# x", "## B", "### mine"]


def a_conversation(title: str) -> Conversation:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Conversation(
        id=new_uuid(),
        agent_id=new_uuid(),
        agent_handle="b",
        participant_kind="user",
        participant_id=new_uuid(),
        title=title,
        created_at=now,
        updated_at=now,
        draft=False,
        head_message_id=None,
        active_run=None,
    )
