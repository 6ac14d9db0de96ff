"""Tokens that make narrower ones: what a child gets, what it reaches, and that it ends with any token above it."""

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from porch.contract.ids import format_id, parse_id
from porch.identity.tokens import HEADS, digest, is_well_formed
from porch.storage.connection import connected
from tests.agents.test_conversations import begin
from tests.http.app import DEFINITION, Tenant, World
from tests.http.client import Client

TALKS = ["run:agents", "write:conversations", "write:tokens"]


@pytest.fixture(autouse=True)
def several_people(world: World) -> Iterator[None]:
    """Others than the operator may come in."""
    with world.several_people():
        yield


@pytest.fixture
async def agents(ada: Tenant) -> dict[str, str]:
    """Two of Ada's agents, handle to id."""
    made = [
        (await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "name": name})).json
        for name in ("helper", "writer")
    ]
    return {agent["handle"]: agent["id"] for agent in made}


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Holder:
    """Somebody who came by a token."""

    def __init__(self, tenant: Tenant, client: Client, made: dict[str, Any]) -> None:
        self.tenant = tenant
        self.client = client
        self.made = made
        self.id: str = made["id"]

    async def make(self, **wanted: Any) -> "Holder":
        return await make(self.tenant, self.client, **wanted)

    async def works(self) -> bool:
        answer = await self.client.get("/api/v1/me")
        assert answer.status in (200, 401)
        return answer.status == 200


async def ask(tenant: Tenant, client: Client, **wanted: Any) -> Any:
    return await client.post(f"{tenant.path}/tokens", json={"name": "child", "scopes": TALKS, **wanted})


async def make(tenant: Tenant, client: Client, **wanted: Any) -> Holder:
    answer = await ask(tenant, client, **wanted)
    assert answer.status == 201, answer.body
    return Holder(tenant, client.as_(answer.json["token"]), answer.json)


async def test_a_child_dies_with_any_token_above_it_and_leaves_the_list(ada: Tenant) -> None:
    first = await make(ada, ada.client)
    second = await first.make()
    third = await second.make()
    beside = await first.make()
    assert [each.made["levels"] for each in (first, second, third)] == [4, 3, 2]
    assert [each.made["parent"] for each in (first, second, third)] == [None, first.id, second.id]
    assert all([await each.works() for each in (first, second, third, beside)])
    await ada.client.delete(f"{ada.path}/tokens/{second.id}")
    assert [await each.works() for each in (first, second, third, beside)] == [True, False, False, True]
    listed = (await ada.client.get(f"{ada.path}/tokens")).json["items"]
    assert {second.id, third.id}.isdisjoint(each["id"] for each in listed)
    assert {first.id, beside.id} <= {each["id"] for each in listed}


async def test_a_child_ends_when_a_token_above_it_expires(world: World, ada: Tenant) -> None:
    first = await make(ada, ada.client, expires_in=600)
    child = await first.make()
    assert await child.works()
    assert child.made["expires_at"] <= first.made["expires_at"]
    async with connected(world.urls.admin) as connection:
        await connection.execute(
            "UPDATE porch.tokens SET expires_at = now() WHERE id = $1", parse_id("tok", first.id)
        )
    world.app.state.authenticate.forget_here()
    assert not await child.works()


async def test_a_child_ends_with_its_maker_s_membership_and_lowers_with_the_role(
    world: World, ada: Tenant
) -> None:
    user = await world.join(ada.workspace, "editor")
    name = format_id("usr", user)
    editor = Client(world.app, await world.token(ada.workspace, user))
    child = await make(ada, editor, scopes=["write:agents", "run:agents"])
    await ada.client.patch(f"{ada.path}/members/{name}", json={"role": "viewer"})
    assert (await child.client.get("/api/v1/me")).json["scopes"] == ["read:agents"]
    await ada.client.delete(f"{ada.path}/members/{name}")
    assert not await child.works()


async def test_levels_run_out(ada: Tenant) -> None:
    holder = await make(ada, ada.client, levels=1)
    leaf = await holder.make()
    assert leaf.made["levels"] == 0
    refused = await ask(ada, leaf.client)
    assert (refused.status, refused.code) == (403, "forbidden")
    assert "may make no others" in refused.json["detail"]
    more = await ask(ada, holder.client, levels=1)
    assert (more.status, more.json["errors"][0]["pointer"]) == (422, "/levels")


async def test_four_levels_are_the_most(ada: Tenant) -> None:
    holder = await make(ada, ada.client)
    for left in (3, 2, 1, 0):
        holder = await holder.make()
        assert holder.made["levels"] == left
    assert (await ask(ada, holder.client)).status == 403


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"scopes": ["admin:*"]}, 403),
        ({"scopes": ["write:agents"]}, 403),
        ({"expires_in": 3600}, 422),
        ({"levels": 5}, 422),
        ({"levels": -1}, 422),
        ({"agents": []}, 422),
        ({"agents": ["nobody"]}, 422),
        ({"agents": ["agt_" + "0" * 32]}, 422),
        ({"agents": ["helper"] * 21}, 422),
        ({"agent": "nobody"}, 422),
    ],
)
async def test_no_child_gets_more_than_there_is_to_give(
    ada: Tenant, agents: dict[str, str], wanted: dict[str, Any], status: int
) -> None:
    holder = await make(ada, ada.client, expires_in=600)
    before = len((await ada.client.get(f"{ada.path}/tokens")).json["items"])
    answer = await ask(ada, holder.client, **wanted)
    assert answer.status == status, answer.body
    assert len((await ada.client.get(f"{ada.path}/tokens")).json["items"]) == before


async def test_a_child_reaches_no_token_above_or_beside_it(ada: Tenant) -> None:
    first = await make(ada, ada.client, scopes=["admin:*"])
    child, beside = await first.make(scopes=["admin:*"]), await first.make()
    own = await child.make(scopes=["admin:*"])
    for other in (first, beside):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
            answer = await child.client.request(method, f"{ada.path}/tokens/{other.id}{path}", json={})
            assert answer.status == 404, (method, answer.body)
    listed = (await child.client.get(f"{ada.path}/tokens")).json["items"]
    assert {each["id"] for each in listed} == {child.id, own.id}
    assert (await child.client.delete(f"{ada.path}/tokens/{own.id}")).status == 204
    assert [await each.works() for each in (first, beside, child, own)] == [True, True, True, False]


async def test_no_child_signs_anybody_in(world: World, ada: Tenant) -> None:
    await world.make_operator(ada.owner)
    first = await make(ada, ada.client, scopes=["admin:*"])
    child = await first.make(scopes=["admin:*"])
    assert (await first.client.post("/api/v1/sign-in-links")).status == 201
    answer = await child.client.post("/api/v1/sign-in-links")
    assert answer.status == 403
    assert "above it" in answer.json["detail"]


async def test_servers_that_know_no_children_find_none(world: World, ada: Tenant) -> None:
    first = await make(ada, ada.client)
    child, count = await first.make(), "SELECT count(*) FROM porch.{}($1)"
    async with world.database.system() as connection:
        for holder, before in ((first, 1), (child, 0)):
            kept = digest(holder.made["token"])
            assert await connection.fetchval(count.format("authenticate_token"), kept) == before
            assert await connection.fetchval(count.format("authenticate_credential"), kept) == 1
            # What is kept is no token either.
            assert await connection.fetchval(count.format("authenticate_credential"), sha256(kept)) == 0


# -- some agents alone


async def test_a_token_for_one_agent_reaches_nothing_of_others(ada: Tenant, agents: dict[str, str]) -> None:
    other = await begin(ada.client, f"{ada.path}/agents/writer/conversations", title="Secret words")
    own = await begin(ada.client, f"{ada.path}/agents/helper/conversations", title="Open words")
    await ada.client.patch(f"/api/v1/conversations/{other}", json={"audience": "members"})
    holder = await make(ada, ada.client, agents=["helper"])
    assert holder.made["agents"] == [agents["helper"]]
    assert f"run:agents:{agents['helper']}" in holder.made["scopes"]
    get = holder.client.get
    assert (await get(f"/api/v1/conversations/{own}")).status == 200
    for path in ("", "/messages", "/runs", "/queue", "/export?format=json", "/shares"):
        assert (await get(f"/api/v1/conversations/{other}{path}")).status in (404, 405), path
    assert (await holder.client.patch(f"/api/v1/conversations/{other}", json={"title": "x"})).status == 404
    assert (await holder.client.delete(f"/api/v1/conversations/{other}")).status == 404
    for query in ("", "?audience=members", "?q=words"):
        answer = await get(f"/api/v1/conversations{query}")
        assert b"Secret" not in answer.body, query
    assert [each["id"] for each in (await get("/api/v1/conversations")).json["items"]] == [own]
    begun = await holder.client.post(f"{ada.path}/agents/writer/conversations")
    assert begun.status == 404
    assert (await holder.client.post(f"{ada.path}/agents/helper/conversations")).status == 201
    assert (await get(f"{ada.path}/agents/writer")).status in (403, 404)


async def test_several_agents_are_listed_together_and_searched_one_by_one(
    ada: Tenant, agents: dict[str, str]
) -> None:
    for handle in agents:
        await begin(ada.client, f"{ada.path}/agents/{handle}/conversations", title=f"About {handle}")
    holder = await make(ada, ada.client, agents=list(agents))
    assert len((await holder.client.get("/api/v1/conversations")).json["items"]) == 2
    search = (await holder.client.get("/api/v1/conversations?q=about")).json
    named = (await holder.client.get("/api/v1/conversations?q=about&agent=writer")).json
    assert "say in which one" in search["detail"]
    assert len(named["items"]) == 1


async def test_a_child_of_it_reaches_no_more(ada: Tenant, agents: dict[str, str]) -> None:
    holder = await make(ada, ada.client, agents=["helper"])
    scopes = [f"run:agents:{agents['helper']}"]
    assert (await holder.make(scopes=scopes)).made["agents"] == [agents["helper"]]
    assert (await ask(ada, holder.client, scopes=scopes, agents=["writer"])).status == 422
    refused = await ask(ada, holder.client, scopes=[f"run:agents:{agents['writer']}"])
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/scopes")


@pytest.mark.parametrize(
    "scope", ["admin:*", "read:*", "admin:conversations", "read:workspaces", "write:members"]
)
async def test_what_belongs_to_the_workspace_is_no_scope_of_single_agents(
    ada: Tenant, agents: dict[str, str], scope: str
) -> None:
    answer = await ask(ada, ada.client, agents=["helper"], scopes=[scope])
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/scopes")


# -- of an agent


async def test_an_agent_s_token_stands_for_the_agent_and_reaches_it_alone(
    ada: Tenant, agents: dict[str, str]
) -> None:
    mine = await begin(ada.client, f"{ada.path}/agents/helper/conversations")
    bot = await make(ada, ada.client, agent="helper", name="Desk bot", scopes=TALKS)
    assert bot.made["token"].startswith(HEADS["agt"])
    assert is_well_formed(bot.made["token"], "agt")
    assert bot.made["agent"] == agents["helper"]
    me = (await bot.client.get("/api/v1/me")).json
    assert me["user"] == {"id": agents["helper"], "kind": "agent", "name": "Desk bot"}
    begun = await bot.client.post(f"{ada.path}/agents/helper/conversations")
    assert begun.status == 201, begun.body
    assert begun.json["participant"] == {"kind": "agent", "id": agents["helper"]}
    assert (await bot.client.get(f"/api/v1/conversations/{begun.json['id']}")).status == 200
    assert (await bot.client.get(f"/api/v1/conversations/{mine}")).status == 404
    assert (await bot.client.post(f"{ada.path}/agents/writer/conversations")).status == 404


async def test_routes_that_do_not_say_so_take_no_agent(ada: Tenant, agents: dict[str, str]) -> None:
    bot = await make(ada, ada.client, agent="helper", scopes=TALKS)
    for path in (
        ada.path,
        f"{ada.path}/agents",
        f"{ada.path}/members",
        "/api/v1/workspaces",
    ):
        answer = await bot.client.get(path)
        assert (answer.status, "agent's token" in answer.json["detail"]) == (403, True), path


async def test_an_agent_s_token_makes_tokens_of_that_agent(ada: Tenant, agents: dict[str, str]) -> None:
    mine = await make(ada, ada.client)
    bot = await make(ada, ada.client, agent="helper", scopes=TALKS)
    child = await bot.make(scopes=["run:agents"])
    assert (child.made["agent"], child.made["parent"]) == (agents["helper"], bot.id)
    assert child.made["user"] == bot.made["user"]
    assert (await ask(ada, bot.client, scopes=["run:agents"], agent="writer")).status == 422
    listed = (await bot.client.get(f"{ada.path}/tokens")).json["items"]
    assert {each["id"] for each in listed} == {bot.id, child.id}
    assert (await bot.client.delete(f"{ada.path}/tokens/{mine.id}")).status == 404
    await ada.client.delete(f"{ada.path}/tokens/{bot.id}")
    assert [await each.works() for each in (mine, bot, child)] == [True, False, False]


@pytest.mark.parametrize("scope", ["write:agents", "admin:agents", "read:models", "admin:*"])
async def test_an_agent_gets_no_scope_to_change_itself(
    ada: Tenant, agents: dict[str, str], scope: str
) -> None:
    assert (await ask(ada, ada.client, agent="helper", scopes=[scope])).status == 422


async def test_an_agent_s_token_goes_with_the_agent(ada: Tenant, agents: dict[str, str]) -> None:
    bot = await make(ada, ada.client, agent="helper", scopes=["run:agents"])
    assert (await ada.client.delete(f"{ada.path}/agents/helper")).status == 204
    assert not await bot.works()


# -- rotation


async def test_a_successor_is_all_that_the_one_before_was(ada: Tenant, agents: dict[str, str]) -> None:
    old = await make(ada, ada.client, agents=["helper"], levels=1, expires_in=86400)
    child = await old.make(scopes=["run:agents"])
    answer = await ada.client.post(f"{ada.path}/tokens/{old.id}/rotate", json={})
    assert answer.status == 201, answer.body
    new = Holder(ada, ada.client.as_(answer.json["token"]), answer.json)
    for key in ("name", "scopes", "agents", "agent", "levels", "parent", "user"):
        assert new.made[key] == old.made[key], key
    assert [await each.works() for each in (new, old, child)] == [True, False, False]
    record = (await ada.client.get(f"{ada.path}/tokens/{old.id}")).json
    assert record["replaced_by"] == new.id


async def test_with_an_overlap_both_work_until_it_is_over(ada: Tenant) -> None:
    old = await make(ada, ada.client, expires_in=7 * 86400)
    answer = await ada.client.post(f"{ada.path}/tokens/{old.id}/rotate", json={"overlap": 3600})
    new = Holder(ada, ada.client.as_(answer.json["token"]), answer.json)
    assert [await each.works() for each in (new, old)] == [True, True]
    record = (await ada.client.get(f"{ada.path}/tokens/{old.id}")).json
    assert record["expires_at"] < old.made["expires_at"]
    again = await ada.client.post(f"{ada.path}/tokens/{old.id}/rotate", json={})
    assert (again.status, again.code) == (409, "conflict")
    assert await old.works()


async def test_an_overlap_lengthens_no_life(ada: Tenant) -> None:
    old = await make(ada, ada.client, expires_in=600)
    await ada.client.post(f"{ada.path}/tokens/{old.id}/rotate", json={"overlap": 86400})
    record = (await ada.client.get(f"{ada.path}/tokens/{old.id}")).json
    assert record["expires_at"] == old.made["expires_at"]


async def test_a_token_that_rotates_itself_gets_no_longer_life(ada: Tenant) -> None:
    old = await make(ada, ada.client, expires_in=600)
    answer = await old.client.post(f"{ada.path}/tokens/{old.id}/rotate", json={})
    assert answer.status == 201, answer.body
    assert answer.json["expires_at"] <= old.made["expires_at"]
    assert answer.json["parent"] == old.made["parent"]


async def test_nobody_rotates_more_than_they_have_or_what_is_another_s(world: World, ada: Tenant) -> None:
    wide, narrow = await make(ada, ada.client, scopes=["write:agents"]), await make(ada, ada.client)
    user = await world.join(ada.workspace, "editor")
    editor = Client(world.app, await world.token(ada.workspace, user))
    theirs = await make(ada, editor)
    path = f"{ada.path}/tokens/{{}}/rotate"
    limited = Client(world.app, await world.token(ada.workspace, ada.owner, ["write:tokens"]))
    assert (await limited.post(path.format(wide.id), json={})).status == 403
    assert (await ada.client.post(path.format(theirs.id), json={})).status == 403
    assert (await editor.post(path.format(narrow.id), json={})).status == 404
    for overlap in (-1, 7 * 86400 + 1):
        answer = await ada.client.post(path.format(narrow.id), json={"overlap": overlap})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/overlap")
    assert all([await each.works() for each in (wide, narrow, theirs)])


async def test_a_token_without_an_end_is_not_rotated(world: World, ada: Tenant) -> None:
    me = (await ada.client.get("/api/v1/me")).json
    answer = await ada.client.post(f"{ada.path}/tokens/{me['credential']}/rotate", json={})
    assert (answer.status, "credentials.json" in answer.json["detail"]) == (403, True)
    ended = await world.token(ada.workspace, ada.owner, lifetime=timedelta(seconds=-1))
    assert (await Client(world.app, ended).get("/api/v1/me")).status == 401


async def test_of_two_who_rotate_at_once_one_gets_a_successor(ada: Tenant) -> None:
    old = await make(ada, ada.client)
    path = f"{ada.path}/tokens/{old.id}/rotate"
    answers = await asyncio.gather(*(ada.client.post(path, json={"overlap": 60}) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
