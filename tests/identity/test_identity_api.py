"""Workspaces and tokens over HTTP."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.http.app import Tenant, World
from tests.http.client import Client

WANTED = {"name": "nightly job", "scopes": ["run:agents", "read:conversations"]}
DAY = 24 * 3600


def lifetime(token: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(token["expires_at"]) - datetime.fromisoformat(token["created_at"])


async def test_a_credential_reaches_its_own_workspace(ada: Tenant, eve: Tenant) -> None:
    listed = (await ada.client.get("/api/v1/workspaces")).json
    assert [item["handle"] for item in listed["items"]] == [ada.handle]
    assert listed["next_cursor"] is None
    assert (await ada.client.get(f"/api/v1/workspaces/{ada.id}")).json == listed["items"][0]


async def test_a_workspace_is_renamed_by_who_administers_it(world: World, ada: Tenant, eve: Tenant) -> None:
    renamed = await ada.client.patch(ada.path, json={"name": " Ada's workshop "})
    assert (renamed.status, renamed.json["name"], renamed.json["handle"]) == (
        200,
        "Ada's workshop",
        ada.handle,
    )
    editor = await world.member(ada, "editor")
    assert (await editor.patch(ada.path, json={"name": "Mine"})).status == 403
    assert (await eve.client.get(eve.path)).json["name"] == eve.handle


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "a\nb", "\ud800", "x" * 201, None, 7, ["x"]])
async def test_an_odd_name_is_422(ada: Tenant, name: Any) -> None:
    for method, path, body in (
        ("PATCH", ada.path, {}),
        ("POST", f"{ada.path}/tokens", {"scopes": ["read:agents"]}),
    ):
        answer = await ada.client.request(method, path, json={**body, "name": name})
        assert (answer.status, answer.code) == (422, "invalid_input")


async def test_a_token_is_shown_once_and_works_with_its_scopes(ada: Tenant) -> None:
    made = await ada.client.post(f"{ada.path}/tokens", json=WANTED)
    assert made.status == 201
    token = made.json["token"]
    assert token.startswith(made.json["prefix"])
    assert made.json["scopes"] == sorted(WANTED["scopes"])
    assert lifetime(made.json) == timedelta(days=90)
    me = await ada.client.as_(token).get("/api/v1/me")
    assert me.json["scopes"] == sorted(WANTED["scopes"])
    for path in (f"{ada.path}/tokens", f"{ada.path}/tokens/{made.json['id']}"):
        assert token[16:] not in (await ada.client.get(path)).body.decode()


@pytest.mark.parametrize("seconds", [1, 3600, 365 * DAY])
async def test_a_token_lives_as_long_as_asked(ada: Tenant, seconds: int) -> None:
    made = await ada.client.post(f"{ada.path}/tokens", json={**WANTED, "expires_in": seconds})
    assert lifetime(made.json) == timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", [0, -1, 365 * DAY + 1, 10**30, -(10**30), "3600", 1.5, True])
async def test_a_lifetime_out_of_range_is_422(ada: Tenant, seconds: Any) -> None:
    answer = await ada.client.post(f"{ada.path}/tokens", json={**WANTED, "expires_in": seconds})
    assert (answer.status, answer.code) == (422, "invalid_input")


@pytest.mark.parametrize(
    "scopes",
    [
        [],
        ["fly:agents"],
        ["read"],
        [""],
        ["read:agents\x00"],
        "read:agents",
        [7],
        None,
        ["read:agents"] * 101,
        {"a": 1},
    ],
)
async def test_odd_scopes_are_422(ada: Tenant, scopes: Any) -> None:
    answer = await ada.client.post(f"{ada.path}/tokens", json={"name": "x", "scopes": scopes})
    assert (answer.status, answer.code) == (422, "invalid_input")


async def test_a_token_cannot_give_more_than_it_has(world: World, ada: Tenant) -> None:
    maker = await world.member(ada, "owner", ["write:tokens", "read:agents"])
    assert (
        await maker.post(f"{ada.path}/tokens", json={"name": "x", "scopes": ["read:agents"]})
    ).status == 201
    for wanted in ("write:agents", "admin:*", "read:*", "admin:tokens"):
        answer = await maker.post(f"{ada.path}/tokens", json={"name": "x", "scopes": [wanted]})
        assert (answer.status, answer.code) == (403, "forbidden")


async def test_a_role_cannot_give_more_than_it_has(world: World, ada: Tenant) -> None:
    viewer = await world.member(ada, "viewer")
    assert (
        await viewer.post(f"{ada.path}/tokens", json={"name": "x", "scopes": ["write:agents"]})
    ).status == 403
    assert (
        await viewer.post(f"{ada.path}/tokens", json={"name": "x", "scopes": ["read:agents"]})
    ).status == 201


async def test_a_token_cannot_make_one_that_outlives_it(world: World, ada: Tenant) -> None:
    short = Client(world.app, await world.token(ada.workspace, ada.owner, lifetime=timedelta(hours=1)))
    longer = await short.post(f"{ada.path}/tokens", json={**WANTED, "expires_in": 7200})
    assert (longer.status, longer.code) == (422, "invalid_input")
    unsaid = await short.post(f"{ada.path}/tokens", json=WANTED)
    assert timedelta(minutes=59) < lifetime(unsaid.json) <= timedelta(hours=1)


async def test_a_revoked_token_ends_at_once_and_leaves_the_list(ada: Tenant) -> None:
    made = (await ada.client.post(f"{ada.path}/tokens", json=WANTED)).json
    path = f"{ada.path}/tokens/{made['id']}"
    assert (await ada.client.delete(path)).status == 204
    assert (await ada.client.as_(made["token"]).get("/api/v1/me")).status == 401
    assert made["id"] not in [
        item["id"] for item in (await ada.client.get(f"{ada.path}/tokens")).json["items"]
    ]
    revoked_at = (await ada.client.get(path)).json["revoked_at"]
    assert revoked_at is not None
    assert (await ada.client.delete(path)).status == 204
    assert (await ada.client.get(path)).json["revoked_at"] == revoked_at


async def test_members_see_and_revoke_their_own_tokens_and_owners_all(world: World, ada: Tenant) -> None:
    editor, other = await world.member(ada, "editor"), await world.member(ada, "editor")
    made = (await editor.post(f"{ada.path}/tokens", json={"name": "x", "scopes": ["read:agents"]})).json
    path = f"{ada.path}/tokens/{made['id']}"
    assert (await other.get(path)).status == 404
    assert (await other.delete(path)).status == 404
    assert len((await editor.get(f"{ada.path}/tokens")).json["items"]) == 2
    assert len((await other.get(f"{ada.path}/tokens")).json["items"]) == 1
    assert len((await ada.client.get(f"{ada.path}/tokens")).json["items"]) == 4
    assert (await ada.client.delete(path)).status == 204


async def test_the_list_shows_prefix_scopes_expiry_and_last_use(world: World, ada: Tenant) -> None:
    made = (await ada.client.post(f"{ada.path}/tokens", json=WANTED)).json
    await ada.client.as_(made["token"]).get("/api/v1/me")
    await world.app.state.authenticate.close()
    item = (await ada.client.get(f"{ada.path}/tokens/{made['id']}")).json
    assert item["prefix"] == made["token"][:16]
    assert item["last_used_from"] == "192.0.2.7"
    assert item["last_used_at"] is not None


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "tok_",
        "%00",
        "tok_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b",
        "agt_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b",
        "tok_" + "é" * 32,
    ],
)
async def test_a_token_that_is_not_there_is_404(ada: Tenant, token: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await ada.client.request(method, f"{ada.path}/tokens/{token}")
        assert (answer.status, answer.code) == (404, "not_found")


async def test_unknown_keys_are_named(ada: Tenant) -> None:
    for method, path, body in (
        ("PATCH", ada.path, {"name": "x", "owner": "y"}),
        ("POST", f"{ada.path}/tokens", {**WANTED, "user": "me"}),
    ):
        answer = await ada.client.request(method, path, json=body)
        assert (answer.status, answer.code) == (422, "invalid_input")
        assert answer.json["errors"][0]["detail"] == "it is not a known key"
