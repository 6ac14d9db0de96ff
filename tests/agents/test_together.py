"""A conversation that is open to the members of its workspace: who reads it, who changes it, who said what."""

from collections.abc import Iterator
from typing import Any

import pytest

from porch.agents.shares import Shares
from porch.agents.together import GONE
from porch.contract.ids import format_id, parse_id
from tests.agents.test_conversation_care import of, text
from tests.agents.test_conversations import add_messages, begin
from tests.http.app import DEFINITION, Tenant, World
from tests.http.client import Client

ROLES = ("owner", "admin", "editor", "runner", "viewer")
KEEPERS = ("owner", "admin")


@pytest.fixture(autouse=True)
def several_people(world: World) -> Iterator[None]:
    """Others than the operator may come in."""
    with world.several_people():
        yield


@pytest.fixture
async def editor(world: World, ada: Tenant) -> Client:
    """Somebody with a conversation of their own who is no admin."""
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    return await world.member(ada, "editor")


@pytest.fixture
async def conversation(world: World, ada: Tenant, editor: Client) -> str:
    """The editor's, in which something was said, and which nobody has opened yet."""
    made = await begin(editor, f"{ada.path}/agents/helper/conversations", title="Plans")
    messages = await add_messages(world, ada, made, text("What now?", "Rest."))
    assert (await editor.patch(of(made), json={"head": format_id("msg", messages[-1])})).status == 200
    return made


async def open_to_members(client: Client, conversation: str) -> None:
    answer = await client.patch(of(conversation), json={"audience": "members"})
    assert (answer.status, answer.json["audience"]) == (200, "members")


async def said(client: Client, conversation: str) -> list[Any]:
    answer = await client.get(of(conversation, "/messages"))
    assert answer.status == 200, answer.body
    return answer.json["items"]


@pytest.mark.parametrize("role", ["editor", "runner", "viewer"])
async def test_a_member_reads_it_while_it_is_open(
    world: World, ada: Tenant, editor: Client, conversation: str, role: Any
) -> None:
    other = await world.member(ada, role)
    assert (await other.get(of(conversation))).status == 404
    await open_to_members(editor, conversation)
    assert (await other.get(of(conversation))).json["title"] == "Plans"
    assert len(await said(other, conversation)) == 2
    assert (await editor.patch(of(conversation), json={"audience": "own"})).status == 200
    assert (await other.get(of(conversation))).status == 404
    assert (await other.get(of(conversation, "/messages"))).status == 404


async def test_other_workspaces_and_former_members_never_see_it(
    world: World, ada: Tenant, eve: Tenant, editor: Client, conversation: str
) -> None:
    await open_to_members(editor, conversation)
    user = await world.join(ada.workspace, "runner")
    left = Client(world.app, await world.token(ada.workspace, user))
    assert (await left.get(of(conversation))).status == 200
    removed = await ada.client.delete(f"{ada.path}/members/{format_id('usr', user)}")
    assert removed.status == 204
    for client, status in ((eve.client, 404), (left, 401)):
        for path in (of(conversation), of(conversation, "/messages")):
            assert (await client.get(path)).status == status, path
    listed = await eve.client.get("/api/v1/conversations?audience=members")
    assert (listed.status, listed.json["items"]) == (200, [])


@pytest.mark.parametrize("role", ROLES)
async def test_only_its_keepers_change_it(
    world: World, ada: Tenant, editor: Client, conversation: str, role: Any
) -> None:
    await open_to_members(editor, conversation)
    other = await world.member(ada, role)
    may = role in KEEPERS
    for change in ({"title": "Mine"}, {"audience": "own"}, {"audience": "members"}):
        answer = await other.patch(of(conversation), json=change)
        assert answer.status == (200 if may else 403), (change, answer.body)
    assert (await other.post(of(conversation, "/shares"))).status == (201 if may else 403)
    assert (await other.delete(of(conversation))).status == (204 if may else 403)
    kept = await editor.get(of(conversation))
    assert kept.status == (404 if may else 200)
    if not may:
        assert (kept.json["title"], kept.json["audience"]) == ("Plans", "members")


async def test_a_refusal_says_whose_it_is(
    world: World, ada: Tenant, editor: Client, conversation: str
) -> None:
    await open_to_members(editor, conversation)
    other = await world.member(ada, "editor")
    refused = await other.patch(of(conversation), json={"title": "Mine"})
    assert refused.code == "forbidden"
    assert "somebody else's" in refused.json["detail"]


async def test_what_cannot_be_opened_says_so(
    world: World, ada: Tenant, editor: Client, conversation: str
) -> None:
    for column, value in (("draft", "true"), ("participant_kind", "'guest'")):
        made = await begin(editor, f"{ada.path}/agents/helper/conversations")
        async with world.database.tenant(ada.workspace) as connection:
            source = await connection.fetchrow(
                "SELECT agent_id, participant_id FROM porch.conversations WHERE id = $1",
                parse_id("conv", made),
            )
            assert source is not None
            columns = {"draft": "false", "participant_kind": "'user'", column: value}
            other = await connection.fetchval(
                "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_id, draft, participant_kind)"
                f" VALUES ($1, gen_random_uuid(), $2, $3, {columns['draft']}, {columns['participant_kind']})"
                " RETURNING id",
                ada.workspace,
                source["agent_id"],
                source["participant_id"],
            )
        named = format_id("conv", other)
        refused = await ada.client.patch(of(named), json={"audience": "members"})
        assert (refused.status, refused.code) == (409, "conflict"), column
        assert (await ada.client.get(of(named))).json["audience"] == "own"


async def test_open_conversations_are_found_by_every_member(
    world: World, ada: Tenant, editor: Client, conversation: str
) -> None:
    other = await world.member(ada, "viewer")
    path = "/api/v1/conversations?audience=members"
    assert (await other.get(path)).json["items"] == []
    await open_to_members(editor, conversation)
    second = await begin(editor, f"{ada.path}/agents/helper/conversations")
    await open_to_members(editor, second)
    await begin(editor, f"{ada.path}/agents/helper/conversations")
    first = (await other.get(f"{path}&limit=1")).json
    rest = (await other.get(f"{path}&limit=1&cursor={first['next_cursor']}")).json
    assert {first["items"][0]["id"], rest["items"][0]["id"]} == {conversation, second}
    assert rest["next_cursor"] is None
    assert (await other.get("/api/v1/conversations")).json["items"] == []
    words = await other.get(f"{path}&q=plans")
    assert (words.status, words.code) == (422, "invalid_input")


async def test_messages_tell_who_said_them(
    world: World, ada: Tenant, editor: Client, conversation: str
) -> None:
    await open_to_members(editor, conversation)
    other = await world.join(ada.workspace, "runner")
    messages = await add_messages(world, ada, conversation, text("And then?"))
    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.message_authors (workspace_id, message_id, conversation_id, kind, author_id, name)"
            " VALUES ($1, $2, $3, 'user', $4, 'Bob')",
            ada.workspace,
            messages[0],
            parse_id("conv", conversation),
            other,
        )
    bob = Client(world.app, await world.token(ada.workspace, other))
    mine, answer, bobs = await said(bob, conversation)
    assert answer["author"] is None
    assert bobs["author"] == {"id": format_id("usr", other), "name": "Bob", "you": True}
    assert mine["author"]["name"].startswith("editor-")
    assert not mine["author"]["you"]
    me = (await editor.get("/api/v1/me")).json["user"]["id"]
    seen = [each["author"] for each in await said(editor, conversation)]
    assert [author and author["you"] for author in seen] == [True, None, False]
    assert seen[0]["id"] == me
    removed = await ada.client.delete(f"{ada.path}/members/{me}")
    assert removed.status == 204
    assert (await said(bob, conversation))[0]["author"]["name"] == GONE


async def test_a_shared_link_names_nobody(
    world: World, ada: Tenant, editor: Client, conversation: str
) -> None:
    await open_to_members(editor, conversation)
    made = (await editor.post(of(conversation, "/shares"))).json["url"]
    shown = await Shares(world.database).open(made.rpartition("/shared/")[2])
    assert [message.author for message in shown.messages] == [None, None]


async def test_nobody_names_an_author_or_a_participant_in_a_body(
    ada: Tenant, editor: Client, conversation: str
) -> None:
    for field in ("author", "participant", "participant_id", "workspace", "workspace_id"):
        before = (await editor.get(of(conversation))).json
        answer = await editor.patch(of(conversation), json={"title": "Plans", field: ada.id})
        assert answer.status == 422, field
        assert (await editor.get(of(conversation))).json["participant"] == before["participant"]
