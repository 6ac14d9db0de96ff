"""Conversations and their messages over HTTP."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from porch.agents.bodies import MessageBody
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.contract.messages import Message, ToolCallPart, ToolResultPart
from tests.http.app import DEFINITION, Tenant, World
from tests.http.client import Client


@pytest.fixture
async def conversations(ada: Tenant) -> str:
    """The path of an agent's conversations."""
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    return f"{ada.path}/agents/helper/conversations"


async def begin(client: Client, path: str, **body: Any) -> str:
    answer = await client.post(path, json=body)
    assert answer.status == 201, answer.body
    return answer.json["id"]


async def add_messages(world: World, tenant: Tenant, conversation: str, parts: list[list[Any]]) -> list[UUID]:
    """A branch of messages, user and assistant by turns."""
    made: list[UUID] = []
    async with world.database.tenant(tenant.workspace) as connection:
        for each in parts:
            parent = made[-1] if made else None
            made.append(new_uuid())
            await connection.execute(
                "INSERT INTO porch.messages (workspace_id, id, conversation_id, parent_id, role, parts)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                tenant.workspace,
                made[-1],
                parse_id("conv", conversation),
                parent,
                "user" if len(made) % 2 else "assistant",
                msgspec.json.encode(each),
            )
    return made


async def add_run(
    world: World, tenant: Tenant, conversation: str, message: Any, status: str, paused_for: str | None = None
) -> str:
    run = new_uuid()
    async with world.database.tenant(tenant.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, draft, input_message_id, status,"
            " paused_for) SELECT workspace_id, $3, id, agent_id, '{}', $4, $5, $6 FROM porch.conversations"
            " WHERE workspace_id = $1 AND id = $2",
            tenant.workspace,
            parse_id("conv", conversation),
            run,
            message,
            status,
            paused_for,
        )
    return format_id("run", run)


async def test_a_conversation_knows_its_agent_and_its_participant(ada: Tenant, conversations: str) -> None:
    made = await ada.client.post(conversations, json={"title": " Plans "})
    assert made.status == 201
    assert made.json["agent"] == f"@{ada.handle}/helper"
    assert made.json["participant"] == {"kind": "user", "id": format_id("usr", ada.owner)}
    assert made.json["title"] == "Plans"
    read = await ada.client.get(f"/api/v1/conversations/{made.json['id']}")
    assert (read.status, read.json) == (200, made.json)


async def test_a_conversation_needs_no_body(ada: Tenant, conversations: str) -> None:
    assert (await ada.client.post(conversations)).json["title"] == ""


@pytest.mark.parametrize(
    "body", [{"title": "a\x00"}, {"title": "x" * 401}, {"title": 3}, {"name": "x"}, {"title": "\ud800"}]
)
async def test_an_odd_body_is_422(ada: Tenant, conversations: str, body: dict[str, Any]) -> None:
    answer = await ada.client.post(conversations, json=body)
    assert (answer.status, answer.code) == (422, "invalid_input")


async def test_participants_see_their_own_and_owners_all(
    world: World, ada: Tenant, conversations: str
) -> None:
    editor, runner = await world.member(ada, "editor"), await world.member(ada, "runner")
    theirs = await begin(editor, conversations)
    mine = await begin(ada.client, conversations)
    assert [item["id"] for item in (await editor.get(conversations)).json["items"]] == [theirs]
    assert (await runner.get(conversations)).json["items"] == []
    assert [item["id"] for item in (await ada.client.get(conversations)).json["items"]] == [mine, theirs]
    for other in (editor, runner):
        for method, path in (("GET", ""), ("GET", "/messages"), ("DELETE", "")):
            answer = await other.request(method, f"/api/v1/conversations/{mine}{path}")
            assert (answer.status, answer.code) == (404, "not_found")
    assert (await ada.client.get(f"/api/v1/conversations/{theirs}")).status == 200


async def test_an_owner_s_modest_token_sees_only_their_own(
    world: World, ada: Tenant, conversations: str
) -> None:
    theirs = await begin(await world.member(ada, "editor"), conversations)
    modest = Client(
        world.app, await world.token(ada.workspace, ada.owner, ["read:conversations", "read:agents"])
    )
    assert (await modest.get(conversations)).json["items"] == []
    assert (await modest.get(f"/api/v1/conversations/{theirs}")).status == 404


async def test_a_viewer_cannot_begin_one(world: World, ada: Tenant, conversations: str) -> None:
    viewer = await world.member(ada, "viewer")
    answer = await viewer.post(conversations)
    assert (answer.status, answer.code) == (403, "forbidden")


async def test_messages_come_oldest_first_with_their_parents(
    world: World, ada: Tenant, conversations: str
) -> None:
    conversation = await begin(ada.client, conversations)
    text = [{"type": "text", "text": "What time is it? שלום"}]
    answer = [
        {"type": "reasoning", "text": "hm", "sealed": {"b": [1]}, "format": "x"},
        {"type": "tool_call", "call": "call_1", "name": "clock", "arguments": {"z": 1, "a": None}},
        {"type": "tool_result", "call": "call_1", "output": {"now": "noon"}},
        {"type": "text", "text": "Noon."},
    ]
    first, second = await add_messages(world, ada, conversation, [text, answer])
    page = await ada.client.get(f"/api/v1/conversations/{conversation}/messages")
    assert page.json["next_cursor"] is None
    assert [item["id"] for item in page.json["items"]] == [format_id("msg", first), format_id("msg", second)]
    assert [item["parent"] for item in page.json["items"]] == [None, format_id("msg", first)]
    assert page.json["items"][0]["parts"] == text
    messages = msgspec.json.decode(msgspec.json.encode(page.json["items"]), type=list[Message])
    assert isinstance(messages[1].parts[1], ToolCallPart)
    assert isinstance(messages[1].parts[2], ToolResultPart)
    for item in page.json["items"]:
        MessageBody.model_validate(item, extra="forbid")


async def test_messages_come_in_pages_from_either_end(world: World, ada: Tenant, conversations: str) -> None:
    conversation = await begin(ada.client, conversations)
    made = await add_messages(
        world, ada, conversation, [[{"type": "text", "text": str(n)}] for n in range(5)]
    )
    path = f"/api/v1/conversations/{conversation}/messages"
    for order, expected in (("oldest", made), ("newest", made[::-1])):
        seen: list[str] = []
        cursor = ""
        while cursor is not None:
            page = (await ada.client.get(f"{path}?order={order}&limit=2{cursor}")).json
            seen += [item["id"] for item in page["items"]]
            cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
        assert seen == [format_id("msg", each) for each in expected]
    page = (await ada.client.get(f"{path}?order=oldest&limit=2")).json
    crossed = await ada.client.get(f"{path}?order=newest&cursor={page['next_cursor']}")
    assert (crossed.status, crossed.code) == (422, "invalid_input")
    assert (await ada.client.get(f"{path}?order=random")).status == 422


@pytest.mark.parametrize(
    "name",
    [
        "conv_x",
        "x",
        "%00",
        "conv_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b",
        "agt_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b",
        "conv_" + "a" * 500,
    ],
)
async def test_a_conversation_that_is_not_there_is_404(ada: Tenant, name: str) -> None:
    for method, path in (("GET", ""), ("GET", "/messages"), ("DELETE", "")):
        answer = await ada.client.request(method, f"/api/v1/conversations/{name}{path}")
        assert (answer.status, answer.code) == (404, "not_found")


async def test_a_deleted_conversation_is_gone(world: World, ada: Tenant, conversations: str) -> None:
    conversation = await begin(ada.client, conversations)
    await add_messages(world, ada, conversation, [[{"type": "text", "text": "x"}]])
    assert (await ada.client.delete(f"/api/v1/conversations/{conversation}")).status == 204
    assert (await ada.client.get(f"/api/v1/conversations/{conversation}")).status == 404


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "approval",
            "waits for a decision about a tool's call. Decide in the chat or the inbox (/inbox), or cancel",
        ),
        ("quota", "the workspace has used up its quota. Wait until there is more, or cancel it"),
    ],
)
async def test_nothing_is_done_under_a_run_that_waits_and_it_is_said_for_what(
    world: World, ada: Tenant, conversations: str, reason: str, said: str
) -> None:
    conversation = await begin(ada.client, conversations)
    (message,) = await add_messages(world, ada, conversation, [[{"type": "text", "text": "x"}]])
    await add_run(world, ada, conversation, message, "paused", reason)
    path = f"/api/v1/conversations/{conversation}"
    answers = [
        await ada.client.delete(path),
        await ada.client.delete(f"{ada.path}/agents/helper"),
        await ada.client.post(f"{path}/shares"),
        await ada.client.patch(path, json={"head": format_id("msg", message)}),
    ]
    for answer in answers:
        assert answer.status == 409
        assert said in answer.json["detail"]


@pytest.mark.parametrize("status", ["running", "paused"])
async def test_nothing_is_deleted_under_a_run_at_work(
    world: World, ada: Tenant, conversations: str, status: str
) -> None:
    conversation = await begin(ada.client, conversations)
    (message,) = await add_messages(world, ada, conversation, [[{"type": "text", "text": "x"}]])
    await add_run(world, ada, conversation, message, status)
    for path in (f"/api/v1/conversations/{conversation}", f"{ada.path}/agents/helper"):
        answer = await ada.client.delete(path)
        assert (answer.status, answer.code) == (409, "conflict")
        assert "Stop it or wait" in answer.json["detail"]
    assert (await ada.client.get(f"/api/v1/conversations/{conversation}")).status == 200
