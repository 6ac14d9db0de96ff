"""The audit trail: every act leaves one event, in its own transaction, that nobody who serves can change."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from porch.contract.ids import format_id, new_id
from porch.identity import audit
from porch.identity.audit import Refusals, purge_events
from porch.identity.tokens import digest
from porch.storage.connection import connected
from tests.agents.test_conversation_care import of
from tests.agents.test_conversations import begin
from tests.agents.test_together import conversation, editor, open_to_members
from tests.http.app import DEFINITION, Tenant, World
from tests.http.browser import Browser, words
from tests.http.client import Client
from tests.identity.conftest import PASSWORD, signed_up

__all__ = ["conversation", "editor"]


@pytest.fixture(autouse=True)
def several_people(world: World) -> Iterator[None]:
    """Others than the operator may come in."""
    with world.several_people():
        yield


@pytest.fixture
async def refusals(world: World) -> AsyncIterator[Refusals]:
    refusals = Refusals(world.database)
    refusals.start()
    world.app.state.refusals = refusals
    yield refusals
    await refusals.stop()
    world.app.state.refusals = None


async def events(tenant: Tenant, query: str = "") -> list[dict[str, Any]]:
    answer = await tenant.client.get(f"{tenant.path}/audit?limit=100{query}")
    assert answer.status == 200, answer.body
    return answer.json["items"]


async def since(tenant: Tenant, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What came to it, the oldest first."""
    known = {event["id"] for event in before}
    return [event for event in reversed(await events(tenant)) if event["id"] not in known]


async def settled(refusals: Refusals) -> None:
    """What was refused stands in the trail."""
    held: Any = refusals
    async with asyncio.timeout(5):
        while held._waiting:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)


async def test_a_token_s_life_is_told_with_who_what_and_by_what(ada: Tenant) -> None:
    before = await events(ada)
    made = (await ada.client.post(f"{ada.path}/tokens", json={"name": "job", "scopes": ["run:agents"]})).json
    rotated = (await ada.client.post(f"{ada.path}/tokens/{made['id']}/rotate", json={})).json
    await ada.client.delete(f"{ada.path}/tokens/{rotated['id']}")
    told = await since(ada, before)
    assert [event["tag"] for event in told] == [
        "api:token:create",
        "api:token:create",
        "api:token:rotate",
        "api:token:revoke",
    ]
    first = told[0]
    assert first["actor"] == format_id("usr", ada.owner)
    assert first["object"] == made["id"]
    assert first["outcome"] == "done"
    assert first["detail"] == {"name": "job", "scopes": ["run:agents"]}
    assert first["address"]
    used = ada.client.token
    assert used is not None
    assert first["credential_hash"] == digest(used).hex()
    assert first["credential"].startswith("tok_")
    stored = str(await events(ada))
    for secret in (made["token"], rotated["token"], used):
        assert secret not in stored


async def test_members_invitations_and_the_workspace_are_told(world: World, ada: Tenant) -> None:
    before = await events(ada)
    invitation = (await ada.client.post(f"{ada.path}/invitations", json={"role": "viewer"})).json
    await ada.client.delete(f"{ada.path}/invitations/{invitation['id']}")
    user = await world.join(ada.workspace, "editor")
    name = format_id("usr", user)
    leaver = Client(world.app, await world.token(ada.workspace, user))
    await ada.client.patch(f"{ada.path}/members/{name}", json={"role": "runner"})
    await ada.client.patch(ada.path, json={"name": "Ada's"})
    await leaver.delete(f"{ada.path}/members/{name}")
    told = await since(ada, before)
    assert [event["tag"].partition(":")[2] for event in told] == [
        "invitation:create",
        "invitation:revoke",
        "member:join",
        "token:create",
        "member:change",
        "workspace:change",
        "member:leave",
        "token:end",
    ]
    change = told[4]
    assert change["detail"] == {"role": "runner", "before": "editor"}
    assert (change["object"], change["actor"]) == (name, format_id("usr", ada.owner))
    assert told[6]["actor"] == name
    assert invitation["url"].rpartition("/")[2] not in str(told)


async def test_what_is_opened_to_others_is_told(
    world: World, ada: Tenant, editor: Client, conversation: str
) -> None:
    before = await events(ada)
    await open_to_members(editor, conversation)
    share = (await editor.post(of(conversation, "/shares"))).json
    await editor.delete(of(conversation, f"/shares/{share['id']}"))
    await editor.patch(of(conversation), json={"audience": "own"})
    site = "https://shop.example"
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    for origins in ([site], []):
        answer = await ada.client.put(f"{ada.path}/agents/helper/embedding", json={"origins": origins})
        assert answer.status == 200, answer.body
    told = await since(ada, before)
    assert [event["tag"] for event in told] == [
        "api:conversation:open",
        "api:share:create",
        "api:share:revoke",
        "api:conversation:close",
        "api:agent:publish",
        "api:site:add",
        "api:site:remove",
    ]
    assert told[5]["detail"] == {"origin": site}
    assert share["url"].rpartition("/")[2] not in str(told)


async def test_what_did_not_happen_is_not_told(ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    before = await events(ada)
    assert (await ada.client.post(f"{ada.path}/agents", json=DEFINITION)).status == 409
    assert (await ada.client.post(f"{ada.path}/tokens", json={"name": "", "scopes": []})).status == 422
    assert (await ada.client.delete(f"{ada.path}/tokens/tok_{'0' * 32}")).status == 404
    assert await since(ada, before) == []


async def test_ordinary_work_leaves_the_trail_short(ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    before = await events(ada)
    made = await begin(ada.client, f"{ada.path}/agents/helper/conversations")
    await ada.client.patch(of(made), json={"title": "Plans"})
    await ada.client.get(of(made))
    assert await since(ada, before) == []


async def test_odd_names_go_in_as_they_are(world: World, ada: Tenant) -> None:
    name = "O'Neil \\'; DROP TABLE porch.users; -- \u200d \"x\""
    async with connected(world.urls.admin) as connection:
        await connection.execute("UPDATE porch.users SET name = $2 WHERE id = $1", ada.owner, name)
    world.app.state.authenticate.forget_here()
    await ada.client.post(f"{ada.path}/tokens", json={"name": name, "scopes": ["run:agents"]})
    event = (await events(ada, "&kind=token"))[0]
    assert (event["actor_name"], event["detail"]["name"]) == (name, name)


async def test_it_is_read_by_kind_and_by_person_page_by_page(world: World, ada: Tenant, eve: Tenant) -> None:
    for number in range(5):
        await ada.client.post(f"{ada.path}/tokens", json={"name": f"t{number}", "scopes": ["run:agents"]})
    named = [event["detail"]["name"] for event in await events(ada, "&kind=token")]
    assert named[:5] == ["t4", "t3", "t2", "t1", "t0"]
    assert {event["tag"].split(":")[1] for event in await events(ada, "&kind=token")} == {"token"}
    own = await events(ada, f"&actor={format_id('usr', ada.owner)}")
    assert own
    assert {event["actor"] for event in own} == {format_id("usr", ada.owner)}
    first = (await ada.client.get(f"{ada.path}/audit?limit=2&kind=token")).json
    second = (await ada.client.get(f"{ada.path}/audit?limit=2&kind=token&cursor={first['next_cursor']}")).json
    assert first["items"][-1]["id"] > second["items"][0]["id"]
    assert (await ada.client.get(f"{ada.path}/audit?kind=weather")).status == 422
    assert all(event["actor"] != format_id("usr", ada.owner) for event in await events(eve))


@pytest.mark.parametrize("role", ["editor", "runner", "viewer"])
async def test_only_who_looks_after_a_workspace_reads_it(world: World, ada: Tenant, role: Any) -> None:
    member = await world.member(ada, role)
    assert (await member.get(f"{ada.path}/audit")).status == 403


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE porch.audit_events SET tag = 'api:token:create'",
        "DELETE FROM porch.audit_events",
        "TRUNCATE porch.audit_events",
        "SELECT porch.note_event(porch.current_workspace(), 'token:create', '', '{}', NULL, NULL, 'done')",
        "ALTER TABLE porch.tokens DISABLE TRIGGER audited",
    ],
)
async def test_nobody_who_serves_changes_what_stands_there(world: World, ada: Tenant, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with world.database.tenant(ada.workspace) as connection:
            await connection.execute(statement)


async def test_what_is_old_goes_and_nothing_else(world: World, ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/tokens", json={"name": "x", "scopes": ["run:agents"]})
    kept = await events(ada)
    async with connected(world.urls.admin) as connection:
        await connection.execute(
            "INSERT INTO porch.audit_events (workspace_id, id, at, tag, outcome)"
            " SELECT $1, gen_random_uuid(), now() - interval '401 days', 'api:token:create', 'done'"
            " FROM generate_series(1, 7)",
            ada.workspace,
        )
    assert len(await events(ada)) == len(kept) + 7
    assert await purge_events(world.database, timedelta(days=400)) >= 7
    assert [event["id"] for event in await events(ada)] == [event["id"] for event in kept]


# -- what was refused


async def test_a_refusal_is_told_once_for_each_kind(world: World, ada: Tenant, refusals: Refusals) -> None:
    before = await events(ada)
    viewer = await world.member(ada, "viewer")
    for number in range(5):
        refused = await viewer.patch(ada.path, json={"name": f"Mine {number}"})
        assert refused.status == 403
    await viewer.post(f"{ada.path}/agents", json=DEFINITION)
    await settled(refusals)
    told = [event for event in await since(ada, before) if event["outcome"] == "denied"]
    assert [event["detail"]["route"] for event in told] == [
        "PATCH /api/v1/workspaces/{ws}",
        "POST /api/v1/workspaces/{ws}/agents",
    ]
    assert {event["tag"] for event in told} == {"api:access:deny"}


async def test_a_flood_of_refusals_is_bounded(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_WAITING", 10)
    monkeypatch.setattr(audit, "MOST_KNOWN", 20)
    refusals: Any = Refusals(world.database)
    principal = await world.app.state.authenticate(ada.client.token)
    for number in range(1000):
        refusals.denied(principal, f"GET /{number}", "forbidden", None)
    assert len(refusals._waiting) == 10
    assert len(refusals._known) <= 20


# -- signing in


async def test_signing_in_and_out_is_told_and_a_wrong_password_too(town: World) -> None:
    refusals = Refusals(town.database)
    refusals.start()
    town.app.state.refusals = refusals
    login = f"ada-{new_id('req')[-12:]}"
    try:
        browser = await signed_up(town, login)
        other = Browser(town.app)
        assert (await other.submit("/sign-in", {"login": login, "password": "not this one"})).status == 401
        assert (await other.submit("/sign-in", {"login": login, "password": PASSWORD})).status == 303
        await settled(refusals)
        page = words(await browser.open("/audit"))
        assert "could not sign in" in page
        assert page.count("signed in") >= 2
        await other.open("/sessions")
        await other.submit("/sign-out")
        page = await browser.open("/audit?kind=session")
        assert "ended a session" in words(page)
        assert PASSWORD.encode() not in page.body
        assert (await browser.open("/audit?kind=weather")).status == 422
    finally:
        await refusals.stop()
        town.app.state.refusals = None
