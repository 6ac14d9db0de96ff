"""What people do with their conversations: rename, switch branches, find, delete and bring back."""

import re
from datetime import timedelta
from typing import Any, cast
from urllib.parse import quote

import pytest

from porch.agents.upkeep import INDEX_BATCH, Upkeep
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.contract.principal import Role
from tests.agents.test_conversations import add_messages, add_run, begin
from tests.http.app import DEFINITION, Tenant, World, definer
from tests.http.client import Client

ODD = ["conv_x", "%00", "conv_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b", "msg_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b"]


@pytest.fixture
async def conversations(ada: Tenant) -> str:
    """The path of an agent's conversations."""
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    return f"{ada.path}/agents/helper/conversations"


def text(*words: str) -> list[list[Any]]:
    return [[{"type": "text", "text": word}] for word in words]


def of(conversation: str, rest: str = "") -> str:
    return f"/api/v1/conversations/{conversation}{rest}"


async def age(world: World, conversation: str, by: timedelta) -> None:
    """As if it had been deleted earlier."""
    async with world.database.tenant(await workspace_of(world, conversation)) as connection:
        await connection.execute(
            "UPDATE porch.conversations SET deleted_at = deleted_at - $2::interval WHERE id = $1",
            parse_id("conv", conversation),
            by,
        )


async def workspace_of(world: World, conversation: str) -> Any:
    async with definer(world.urls) as connection:
        return await connection.fetchval(
            "SELECT workspace_id FROM porch.conversations WHERE id = $1", parse_id("conv", conversation)
        )


async def found(client: Client, query: str = "") -> list[str]:
    await Upkeep(cast("Any", client.app).state.database).index()
    answer = await client.get(f"/api/v1/conversations?{query}")
    assert answer.status == 200, answer.body
    return [item["id"] for item in answer.json["items"]]


# -- renaming and branches


async def test_a_conversation_is_renamed_on_one_line(ada: Tenant, conversations: str) -> None:
    made = await begin(ada.client, conversations)
    answer = await ada.client.patch(of(made), json={"title": "  Plans\n for   Sunday "})
    assert (answer.status, answer.json["title"]) == (200, "Plans for Sunday")
    assert (await ada.client.get(of(made))).json == answer.json


@pytest.mark.parametrize("body", [{"title": "a\x00"}, {"title": "x" * 401}, {"name": "x"}, {"head": 3}])
async def test_an_odd_change_is_422(ada: Tenant, conversations: str, body: dict[str, Any]) -> None:
    made = await begin(ada.client, conversations)
    answer = await ada.client.patch(of(made), json=body)
    assert (answer.status, answer.code) == (422, "invalid_input")


async def test_any_message_of_it_may_be_the_head(world: World, ada: Tenant, conversations: str) -> None:
    made = await begin(ada.client, conversations)
    assert (await ada.client.get(of(made))).json["head"] is None
    for message in await add_messages(world, ada, made, text("a", "b", "c")):
        name = format_id("msg", message)
        assert (await ada.client.patch(of(made), json={"head": name})).json["head"] == name


async def test_a_message_of_another_conversation_is_no_head(
    world: World, ada: Tenant, conversations: str
) -> None:
    made, other = await begin(ada.client, conversations), await begin(ada.client, conversations)
    (foreign,) = await add_messages(world, ada, other, text("a"))
    for name in (format_id("msg", foreign), "msg_x", format_id("msg", new_uuid())):
        answer = await ada.client.patch(of(made), json={"head": name, "title": "Not this either"})
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await ada.client.get(of(made))).json["title"] == ""


async def test_under_a_run_at_work_the_title_changes_and_the_head_does_not(
    world: World, ada: Tenant, conversations: str
) -> None:
    made = await begin(ada.client, conversations)
    (message,) = await add_messages(world, ada, made, text("a"))
    run = await add_run(world, ada, made, message, "running")
    assert (await ada.client.get(of(made))).json["active_run"] == run
    assert (await ada.client.patch(of(made), json={"title": "New"})).status == 200
    answer = await ada.client.patch(of(made), json={"head": format_id("msg", message)})
    assert (answer.status, answer.code) == (409, "conversation_busy")


# -- deletion


async def test_a_deleted_conversation_is_gone_from_every_read(
    world: World, ada: Tenant, conversations: str
) -> None:
    made = await begin(ada.client, conversations, title="Plans")
    (message,) = await add_messages(world, ada, made, text("the train"))
    await ada.client.patch(of(made), json={"head": format_id("msg", message)})
    await add_run(world, ada, made, message, "finished")
    assert (await ada.client.delete(of(made))).status == 204
    for path in (of(made), of(made, "/messages"), of(made, "/shares"), of(made, "/export")):
        assert (await ada.client.get(path)).status == 404, path
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/shares")):
        answer = await ada.client.request(method, of(made, path), json={} if method == "PATCH" else None)
        assert answer.status == 404, path
    assert (await ada.client.get(conversations)).json["items"] == []
    assert await found(ada.client) == await found(ada.client, "q=train") == []


async def test_a_deleted_conversation_comes_back_as_it_was(
    world: World, ada: Tenant, conversations: str
) -> None:
    made = await begin(ada.client, conversations, title="Plans")
    await add_messages(world, ada, made, text("a", "b"))
    before = (await ada.client.get(of(made))).json
    await ada.client.delete(of(made))
    answer = await ada.client.post(of(made, "/restore"))
    assert (answer.status, answer.json) == (200, before)
    assert (await ada.client.get(of(made))).json == before
    assert len((await ada.client.get(of(made, "/messages"))).json["items"]) == 2
    assert (await ada.client.post(of(made, "/restore"))).status == 404, "it is not deleted any more"


async def test_after_ten_minutes_it_does_not_come_back_and_is_removed_for_good(
    world: World, ada: Tenant, conversations: str
) -> None:
    old, fresh = await begin(ada.client, conversations), await begin(ada.client, conversations)
    messages = await add_messages(world, ada, old, text("a", "b"))
    await add_run(world, ada, old, messages[0], "finished")
    for each in (old, fresh):
        await ada.client.delete(of(each))
    await age(world, old, timedelta(minutes=11))
    assert (await ada.client.post(of(old, "/restore"))).status == 404
    assert await Upkeep(world.database).purge() == 1
    async with world.database.tenant(ada.workspace) as connection:
        left = await connection.fetchval("SELECT array_agg(id) FROM porch.conversations")
        assert left == [parse_id("conv", fresh)]
        assert await connection.fetchval("SELECT count(*) FROM porch.messages") == 0
        assert await connection.fetchval("SELECT count(*) FROM porch.runs") == 0
    assert (await ada.client.post(of(fresh, "/restore"))).status == 200


@pytest.mark.parametrize("name", ODD)
async def test_what_is_not_there_is_404_everywhere(ada: Tenant, name: str) -> None:
    for method, path in (
        ("PATCH", ""),
        ("POST", "/restore"),
        ("POST", "/shares"),
        ("GET", "/shares"),
        ("DELETE", "/shares/shr_x"),
        ("GET", "/export"),
    ):
        body = {"title": "x"} if method == "PATCH" else None
        answer = await ada.client.request(method, of(name, path), json=body)
        assert (answer.status, answer.code) == (404, "not_found"), path


# -- the list


async def test_the_list_holds_one_s_own_the_last_active_first(
    world: World, ada: Tenant, conversations: str
) -> None:
    made = [await begin(ada.client, conversations) for _ in range(5)]
    theirs = await begin(await world.member(ada, "editor"), conversations)
    await begin(ada.client, conversations, draft=True)
    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute(
            "UPDATE porch.conversations SET updated_at = now() WHERE id = $1", parse_id("conv", made[1])
        )
    expected = [made[1], made[4], made[3], made[2], made[0]]
    assert await found(ada.client) == expected, "also for an owner: their own"
    assert theirs not in expected
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await ada.client.get(f"/api/v1/conversations?limit=2{cursor}")).json
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert seen == expected


async def test_equal_moments_lose_nothing_between_pages(
    world: World, ada: Tenant, conversations: str
) -> None:
    made = [await begin(ada.client, conversations) for _ in range(5)]
    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute("UPDATE porch.conversations SET updated_at = '2026-01-01T00:00:00Z'")
    first = (await ada.client.get("/api/v1/conversations?limit=3")).json
    rest = (await ada.client.get(f"/api/v1/conversations?limit=3&cursor={first['next_cursor']}")).json
    assert [item["id"] for item in first["items"] + rest["items"]] == made[::-1]


async def test_the_list_is_narrowed_to_an_agent(ada: Tenant, conversations: str) -> None:
    await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "name": "other"})
    mine = await begin(ada.client, conversations, title="train")
    other = await begin(ada.client, f"{ada.path}/agents/other/conversations", title="train")
    assert await found(ada.client, "agent=other") == await found(ada.client, "q=train&agent=other") == [other]
    assert await found(ada.client, "agent=helper") == [mine]
    assert (await ada.client.get("/api/v1/conversations?agent=nobody")).status == 404


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "YWN0aXZpdHk6MTp4",
        "%00",
        "bWVzc2FnZXM6MQ",
        "a" * 300,
        "YWN0aXZpdHk6OTk5OTk5OTk5OTk5OTk5OTk5OTk6MA",
    ],
)
async def test_a_cursor_of_something_else_is_422(ada: Tenant, cursor: str) -> None:
    answer = await ada.client.get(f"/api/v1/conversations?cursor={cursor}")
    assert (answer.status, answer.code) == (422, "invalid_input")


async def test_a_draft_conversation_needs_the_right_to_write_the_agent(
    world: World, ada: Tenant, conversations: str
) -> None:
    runner = await world.member(ada, "runner")
    answer = await runner.post(conversations, json={"draft": True})
    assert (answer.status, answer.code) == (403, "forbidden")
    made = await ada.client.post(conversations, json={"draft": True})
    assert (made.status, made.json["draft"]) == (201, True)
    assert (await ada.client.get(conversations)).json["items"] == []
    assert (await ada.client.get(of(made.json["id"]))).json == made.json


# -- search


SAID = [
    "The train leaves at noon, from platform 9.",
    "Bring the good-natured dog; don't forget (ever) its lead!",
    "今天天气怎么样? Und Grüße aus KÖLN.",
    "Visit https://example.com/garden_party?x=1 in the morning",
]


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ("train", [0]),
        ("TRAIN noon", [0]),
        ("noon train", [0]),
        ("plat", [0]),
        ("train dog", []),
        ("good-nat", [1]),
        ("don't", [1]),
        ("天气", [2]),
        ("气天", []),
        ("grüße köln", [2]),
        ("grüsse", []),
        ("example.com", [3]),
        ("garden", [3]),
        ("garden_party", [3]),
        ("o", [0]),
        ("9", [0]),
        ("the", [0, 1, 3]),
        ("!!!", []),
        ("' | !(a:*", []),
        ("\\ \\' <-> & <2>", []),
        ("titled", [0]),
        ("50% off_", [0]),
        ("%", [0]),
        ("_", [0]),
    ],
)
async def test_words_and_their_beginnings_are_found(
    world: World, ada: Tenant, conversations: str, query: str, hits: list[int]
) -> None:
    made = [
        await begin(ada.client, conversations, title="Titled 50% off_" if at == 0 else "")
        for at in range(len(SAID))
    ]
    for each, said in zip(made, SAID, strict=True):
        await add_messages(world, ada, each, text(said))
    assert set(await found(ada.client, f"q={quote(query)}")) == {made[hit] for hit in hits}


async def test_a_hit_shows_the_text_around_it(world: World, ada: Tenant, conversations: str) -> None:
    made = await begin(ada.client, conversations)
    await add_messages(world, ada, made, text("x " * 500 + "the TRAIN leaves" + " y" * 500, "nothing"))
    await Upkeep(world.database).index()
    (item,) = (await ada.client.get("/api/v1/conversations?q=train")).json["items"]
    assert re.fullmatch(r"…(x )+the TRAIN leaves( y)+…", item["snippet"])
    assert len(item["snippet"]) <= 240


async def test_thoughts_and_tools_are_not_searched(world: World, ada: Tenant, conversations: str) -> None:
    made = await begin(ada.client, conversations)
    parts = [
        {"type": "reasoning", "text": "secretly"},
        {"type": "tool_call", "call": "c", "name": "clock", "arguments": {"text": "secretly"}},
        {"type": "text", "text": "openly"},
    ]
    await add_messages(world, ada, made, [[{"type": "text", "text": "x"}], parts])
    assert await found(ada.client, "q=secretly") == []
    assert await found(ada.client, "q=openly") == [made]


@pytest.mark.parametrize(
    "huge",
    [
        "x" * 500_000,
        "word " * 100_000,
        " ".join(f"w{n}" for n in range(80_000)),
        "\u5929" * 150_000,
        "a-" * 200_000,
        "<" * 300_000,
        "a.b@" * 100_000,
        "\U0001f600\u200d" * 60_000,
    ],
    ids=["one word", "one word often", "all different", "chinese", "hyphens", "tags", "mails", "emoji"],
)
async def test_text_of_any_kind_and_size_can_be_kept(
    world: World, ada: Tenant, conversations: str, huge: str
) -> None:
    made = await begin(ada.client, conversations)
    await add_messages(world, ada, made, text(f"needle {huge}"))
    assert await found(ada.client, "q=needle") == [made]


async def test_what_cannot_be_searched_yet_is_searched_after_the_next_look(
    world: World, ada: Tenant, conversations: str
) -> None:
    made = await begin(ada.client, conversations)
    await add_messages(world, ada, made, text("needle", "and more"))
    assert (await ada.client.get("/api/v1/conversations?q=needle")).json["items"] == []
    assert await Upkeep(world.database).index() >= 2
    assert await Upkeep(world.database).index() == 0
    assert await found(ada.client, "q=needle") == [made]


async def test_a_look_for_new_messages_ends_with_the_first_batch_that_is_not_full(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = iter([INDEX_BATCH, INDEX_BATCH, 3])  # a fourth look would find what was said meanwhile

    async def index(database: object, limit: int) -> int:
        return next(batches)

    monkeypatch.setattr("porch.agents.upkeep.index_messages", index)
    assert await Upkeep(world.database).index() == 2 * INDEX_BATCH + 3


async def test_a_search_crosses_neither_workspaces_nor_participants(
    world: World, ada: Tenant, eve: Tenant, conversations: str
) -> None:
    mine = await begin(ada.client, conversations, title="needle")
    await add_messages(world, ada, mine, text("needle"))
    others: list[Client] = [await world.member(ada, role) for role in _roles()]
    await eve.client.post(f"{eve.path}/agents", json=DEFINITION)
    hers = await begin(eve.client, f"{eve.path}/agents/helper/conversations")
    await add_messages(world, eve, hers, text("needle"))
    for client in others:
        assert await found(client, "q=needle") == []
        assert await found(client) == []
    assert await found(eve.client, "q=needle") == [hers]
    assert await found(ada.client, "q=needle") == [mine]
    async with world.database.system() as connection:
        # Without a workspace the function finds nothing, whomever it is asked for.
        rows = await connection.fetch(
            "SELECT * FROM porch.search_conversations('user', $1, NULL, 'needle', NULL, NULL, 50)", ada.owner
        )
    assert rows == []
    async with world.database.tenant(eve.workspace) as connection:
        rows = await connection.fetch(
            "SELECT * FROM porch.search_conversations('user', $1, NULL, 'needle', NULL, NULL, 50)", ada.owner
        )
    assert rows == []


def _roles() -> list[Role]:
    return ["owner", "admin", "editor", "runner", "viewer"]
