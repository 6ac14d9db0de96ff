"""An export is written in bounded pieces, whatever happens to the conversation meanwhile."""

import tracemalloc
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from starlette.types import Message as Sent
from starlette.types import Scope

from porch.agents.conversations import Conversations
from porch.agents.exports import JsonFile, MarkdownFile
from porch.contract.errors import NotFound
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.contract.messages import FilePart, ImagePart, Message, TextPart, ToolCallPart
from porch.contract.principal import Principal
from tests.agents.test_conversation_care import of, text
from tests.agents.test_conversations import add_messages, begin
from tests.agents.test_shares import a_conversation, say
from tests.http.app import DEFINITION, Tenant, World, definer

MANY, EACH = 10_000, 1_000


@pytest.fixture
async def conversation(ada: Tenant) -> str:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    return await begin(ada.client, f"{ada.path}/agents/helper/conversations", title="Long")


async def lengthen(world: World, tenant: Tenant, conversation: str) -> None:
    """A branch of ten thousand messages, 10 MB in all."""
    names = [new_uuid() for _ in range(MANY)]
    async with world.database.tenant(tenant.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, role, parts)"
            " SELECT $1, id, $2, lag(id) OVER (ORDER BY n), CASE n % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,"
            "  jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'No ' || n || repeat(' word', $4)))"
            " FROM unnest($3::uuid[]) WITH ORDINALITY AS t (id, n)",
            tenant.workspace,
            parse_id("conv", conversation),
            names,
            EACH // 5,
        )
        await connection.execute(
            "UPDATE porch.conversations SET head_message_id = $2 WHERE workspace_id = $1 AND id = $3",
            tenant.workspace,
            names[-1],
            parse_id("conv", conversation),
        )


async def download(tenant: Tenant, path: str) -> tuple[int, int, int]:
    """Status, bytes and messages of an answer whose pieces are dropped as they come."""
    status, size, messages = 0, 0, 0
    headers = [(b"host", b"localhost:8642"), (b"authorization", f"Bearer {tenant.client.token}".encode())]
    name, _, query = path.partition("?")
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": name,
        "raw_path": name.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8642),
    }

    async def receive() -> Sent:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(sent: Sent) -> None:
        nonlocal status, size, messages
        status = sent.get("status", status)
        size += len(sent.get("body", b""))
        messages += sent.get("body", b"").count(b"No ")

    await tenant.client.app(scope, receive, send)
    return status, size, messages


@pytest.mark.parametrize("kind", ["markdown", "json"])
async def test_ten_thousand_messages_are_never_in_memory_together(
    world: World, ada: Tenant, conversation: str, kind: str
) -> None:
    await lengthen(world, ada, conversation)
    assert (await ada.client.get(of(conversation))).status == 200, "everything is warm"
    tracemalloc.start()
    try:
        status, size, messages = await download(ada, of(conversation, f"/export?format={kind}"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (status, messages) == (200, MANY)
    assert size > MANY * EACH
    assert peak < size / 3, f"{peak / 1e6:.1f} MB for {size / 1e6:.1f} MB"


def whole(principal_world: World, tenant: Tenant) -> tuple[Conversations, Principal]:
    principal = Principal(
        "user", tenant.owner, tenant.workspace, tenant.handle, "owner", frozenset({"admin:*"}), new_uuid()
    )
    return Conversations(principal_world.database), principal


async def test_what_is_said_and_deleted_meanwhile_changes_nothing(
    world: World, ada: Tenant, conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("porch.agents.conversations.PAGE_MESSAGES", 2)
    before = await say(world, ada, conversation, text("a", "b", "c", "d", "e"))
    service, principal = whole(world, ada)
    _, _, pages = await service.whole_branch(principal, conversation)
    read = await anext(pages)
    await say(world, ada, conversation, text("another branch"))
    await ada.client.delete(of(conversation))
    async for page in pages:
        assert len(page) <= 2
        read += page
    assert [message.id for message in read] == before


async def test_pages_are_bounded_in_bytes_too(
    world: World, ada: Tenant, conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("porch.agents.conversations.PAGE_BYTES", 2500)
    before = await say(world, ada, conversation, text(*("x" * 1000 for _ in range(7)), "y" * 9000, "z"))
    service, principal = whole(world, ada)
    _, _, pages = await service.whole_branch(principal, conversation)
    read = [[message.id for message in page] async for page in pages]
    assert [name for page in read for name in page] == before
    assert [len(page) for page in read] == [3, 3, 2, 1]


async def test_a_conversation_removed_for_good_meanwhile_ends_the_file_with_an_error(
    world: World, ada: Tenant, conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("porch.agents.conversations.PAGE_MESSAGES", 2)
    await say(world, ada, conversation, text("a", "b", "c"))
    service, principal = whole(world, ada)
    _, _, pages = await service.whole_branch(principal, conversation)
    await anext(pages)
    async with definer(world.urls) as connection:
        await connection.execute(
            "DELETE FROM porch.conversations WHERE id = $1", parse_id("conv", conversation)
        )
    with pytest.raises(NotFound, match="removed while it was read"):
        await anext(pages)


async def test_what_fails_before_the_first_byte_is_a_problem(
    world: World, ada: Tenant, conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await say(world, ada, conversation, text("a"))

    async def gone(*_: Any) -> list[Message]:
        return []

    monkeypatch.setattr("porch.agents.conversation_store.read_messages", gone)
    answer = await ada.client.get(of(conversation, "/export"))
    assert (answer.status, answer.code) == (404, "not_found")


async def test_only_the_branch_of_the_head_is_in_the_file(
    world: World, ada: Tenant, conversation: str
) -> None:
    first = await add_messages(world, ada, conversation, text("kept", "left"))
    await ada.client.patch(of(conversation), json={"head": format_id("msg", first[0])})
    answer = await ada.client.get(of(conversation, "/export?format=json"))
    assert [message["id"] for message in answer.json["messages"]] == [format_id("msg", first[0])]


def some_messages(count: int) -> list[Message]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    call = ToolCallPart(call="c", name="clock", arguments={"lines": "a\nb", "list": [1, {}]})
    return [
        Message(
            id=format_id("msg", UUID(int=at)),
            role="assistant",
            parts=[TextPart(text=f"\n{at}\u2028"), call],
            created_at=now,
        )
        for at in range(count)
    ]


@pytest.mark.parametrize("sizes", [[], [1], [2, 1], [0, 3]])
def test_json_in_pieces_is_laid_out_as_in_one(sizes: list[int]) -> None:
    file = JsonFile(a_conversation("T"), "@a/b")
    messages = some_messages(sum(sizes))
    content, rest = file.opening(), messages
    for size in sizes:
        content += file.messages(rest[:size])
        rest = rest[size:]
    content += file.closing()
    assert content == msgspec.json.format(content, indent=2) + b"\n"
    assert len(msgspec.json.decode(content)["messages"]) == len(messages)


def test_markdown_in_pieces_reads_as_in_one() -> None:
    messages = some_messages(3)
    one = MarkdownFile(a_conversation("T"), "@a/b", "B")
    assert one.messages(messages) == b"".join(one.messages([message]) for message in messages)


def test_files_are_named_in_markdown_and_whole_in_json() -> None:
    parts = [
        ImagePart(media_type="image/png", data="aGVsbG8="),
        FilePart(media_type="text/plain", data="aGk=", name="*notes*\n# of mine"),
    ]
    message = Message(id="msg_1", role="user", parts=[*parts], created_at=datetime.now(UTC))
    conversation = a_conversation("T")
    shown = MarkdownFile(conversation, "@ada/helper", "Helper").messages([message]).decode()
    assert "Image (image/png, 5 bytes)" in shown
    assert "File \\*notes\\* \\# of mine (text/plain, 2 bytes)" in shown
    assert "aGVsbG8" not in shown
    file = JsonFile(conversation, "@ada/helper")
    whole = msgspec.json.decode(file.opening() + file.messages([message]) + file.closing())
    assert whole["messages"][0]["parts"] == msgspec.to_builtins(parts)
