"""Bearer tokens at the door, and the scopes that a route needs."""

from datetime import timedelta

import pytest

from porch.contract.ids import format_id, new_id
from porch.identity.tokens import mint
from tests.http.app import DEFINITION, Tenant, World
from tests.http.client import Client


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "porch_pat_x",
        "Bearer nonsense",
        "Bearer \xff",
        "Bearer " + "x" * 60_000,
    ],
)
async def test_a_request_without_a_usable_token_is_401_and_says_how(world: World, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    answer = await Client(world.app).get("/api/v1/me", headers=headers)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(answer.json["detail"]) < 300


async def test_an_unknown_or_expired_token_is_401(world: World, ada: Tenant) -> None:
    expired = await world.token(ada.workspace, ada.owner, lifetime=timedelta(seconds=-1))
    for token in (mint().text, expired):
        answer = await Client(world.app, token).get("/api/v1/me")
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert token not in answer.body.decode()


async def test_the_scheme_is_read_without_regard_to_case(ada: Tenant) -> None:
    answer = await ada.client.as_(None).get(
        "/api/v1/me", headers={"authorization": f"bEARER {ada.client.token}"}
    )
    assert answer.status == 200


async def test_a_token_without_the_scope_is_403_and_names_it(world: World, ada: Tenant) -> None:
    reader = await world.member(ada, "owner", ["read:agents"])
    answer = await reader.post(f"{ada.path}/agents", json=DEFINITION)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "write:agents" in answer.json["detail"]


async def test_who_may_not_write_is_told_so_before_the_body_is_read(world: World, ada: Tenant) -> None:
    reader = await world.member(ada, "owner", ["read:agents"])
    for client, status in ((Client(world.app), 401), (reader, 403), (ada.client, 400)):
        answer = await client.request(
            "POST", f"{ada.path}/agents", body=b"{", headers={"content-type": "application/json"}
        )
        assert answer.status == status


async def test_a_path_names_the_workspace_by_handle_or_id_and_only_one_s_own(
    ada: Tenant, eve: Tenant
) -> None:
    for name in (ada.handle, ada.id):
        assert (await ada.client.get(f"/api/v1/workspaces/{name}/agents")).status == 200
    for name in (eve.handle, eve.id, "nowhere", "ADA", new_id("ws"), "%00", "..", "ws_"):
        answer = await ada.client.get(f"/api/v1/workspaces/{name}/agents")
        assert (answer.status, answer.code) == (404, "not_found"), name


async def test_another_s_workspace_is_404_before_scopes_are_looked_at(
    world: World, ada: Tenant, eve: Tenant
) -> None:
    reader = await world.member(ada, "owner", ["read:agents"])
    assert (await reader.post(f"{eve.path}/agents", json=DEFINITION)).status == 404


async def test_a_token_narrowed_to_one_agent_reaches_that_one_alone(world: World, ada: Tenant) -> None:
    one = await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "name": "other"})
    narrowed = await world.member(ada, "owner", [f"read:agents:{one.json['id']}"])
    assert (await narrowed.get(f"{ada.path}/agents/helper")).status == 200
    assert (await narrowed.get(f"{ada.path}/agents/other")).status == 404
    assert (await narrowed.get(f"{ada.path}/agents")).status == 403
    assert (await narrowed.delete(f"{ada.path}/agents/helper")).status == 403


async def test_who_may_only_run_an_agent_cannot_read_its_instructions(world: World, ada: Tenant) -> None:
    made = await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    runner = await world.member(ada, "owner", [f"run:agents:{made.json['id']}", "read:conversations"])
    assert (await runner.get(f"{ada.path}/agents/helper")).status == 403
    begun = await runner.post(f"{ada.path}/agents/helper/conversations")
    assert begun.status == 201
    listed = await runner.get(f"{ada.path}/agents/helper/conversations")
    assert [item["id"] for item in listed.json["items"]] == [begun.json["id"]]


async def test_me_says_who_where_and_what(ada: Tenant) -> None:
    answer = await ada.client.get("/api/v1/me")
    assert answer.json["user"] == {
        "id": format_id("usr", ada.owner),
        "kind": "user",
        "name": f"owner-{ada.owner}",
    }
    assert answer.json["workspaces"] == [{"id": ada.id, "handle": ada.handle, "role": "owner"}]
    assert answer.json["scopes"] == ["admin:*"]
    assert answer.json["credential"].startswith("tok_")


async def test_me_needs_a_credential_and_no_scope(world: World, ada: Tenant) -> None:
    runner = await world.member(ada, "viewer", ["run:agents"])
    answer = await runner.get("/api/v1/me")
    assert (answer.status, answer.json["scopes"]) == (200, [])
