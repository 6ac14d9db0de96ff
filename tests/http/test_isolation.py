"""Two tenants, every route: what belongs to one is 404 to the other, by id and by handle."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from porch.agents.files import insert_files, stow
from porch.contract.attachments import file_part
from porch.contract.ids import format_id, new_uuid, parse_id
from porch.http.application import create_app
from tests.http.app import DEFINITION, ROUTERS, Tenant, World

# A body that would be taken if the object were one's own.
BODIES: dict[str, Any] = {
    "updateWorkspace": {"name": "Mine now"},
    "createToken": {"name": "mine", "scopes": ["read:agents"]},
    "rotateToken": {"overlap": 60},
    "createAgent": {**DEFINITION, "name": "mine"},
    "replaceAgent": DEFINITION,
    "changeAgent": {"title": "Mine now"},
    "publishVersion": {"note": "Mine now"},
    "createConversation": {"title": "Mine now"},
    "updateConversation": {"title": "Mine now"},
    "changeMember": {"role": "viewer"},
    "createInvitation": {"role": "viewer"},
    "replaceEmbedding": {"origins": ["https://mine.example"]},
}
# Routes that name no object: they answer for the caller alone.
OWN = {"getMe", "listWorkspaces", "createWorkspace", "getOpenapi", "findConversations", "createSignInLink"}


def operations(app: FastAPI) -> Iterator[tuple[str, str, str]]:
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            yield str(context.operation_id), method, str(context.path)


ALL = [case for case in operations(create_app(ROUTERS)) if case[0] not in OWN]
CASES = [pytest.param(*case, id=case[0]) for case in ALL]


@pytest.fixture(autouse=True)
def several_people(world: World) -> Iterator[None]:
    """Others than the operator may come in."""
    with world.several_people():
        yield


@pytest.fixture
async def treasure(world: World, ada: Tenant) -> dict[str, list[str]]:
    """Ada's things, by every name they go by; the path's first parameter is tried with each workspace."""
    agent = (await ada.client.post(f"{ada.path}/agents", json=DEFINITION)).json
    await ada.client.post(f"{ada.path}/agents/helper/versions")
    conversation = (await ada.client.post(f"{ada.path}/agents/helper/conversations")).json
    message = await say_something(world, ada, conversation["id"])
    share = (await ada.client.post(f"/api/v1/conversations/{conversation['id']}/shares")).json
    invitation = (await ada.client.post(f"{ada.path}/invitations", json={"role": "viewer"})).json
    member = format_id("usr", await world.join(ada.workspace, "editor"))
    token = (await ada.client.post(f"{ada.path}/tokens", json={"name": "x", "scopes": ["read:agents"]})).json
    return {
        "agent": [agent["id"], "helper"],
        "number": ["1"],
        "conversation": [conversation["id"]],
        "message": [message],
        "part": ["0"],
        "share": [share["id"]],
        "token": [token["id"]],
        "invitation": [invitation["id"]],
        "user": [member],
    }


async def say_something(world: World, tenant: Tenant, conversation: str) -> str:
    """A message with a file, which is the head: without one there is nothing to share."""
    message = new_uuid()
    parts, files = stow(message, [file_part("text/plain", "SGk=", name="hi.txt")])
    async with world.database.tenant(tenant.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.messages (workspace_id, id, conversation_id, role, parts)"
            " VALUES ($1, $2, $3, 'user', $4)",
            tenant.workspace,
            message,
            parse_id("conv", conversation),
            msgspec.json.encode(parts).decode(),
        )
        await insert_files(connection, tenant.workspace, files)
    name = format_id("msg", message)
    answer = await tenant.client.patch(f"/api/v1/conversations/{conversation}", json={"head": name})
    assert answer.status == 200
    return name


async def everything(tenant: Tenant) -> list[Any]:
    """All that the tenant can see of their own."""
    paths = [
        f"{tenant.path}",
        f"{tenant.path}/tokens",
        f"{tenant.path}/members",
        f"{tenant.path}/invitations",
        f"{tenant.path}/agents",
        f"{tenant.path}/agents/helper/versions",
        f"{tenant.path}/agents/helper/conversations",
        f"{tenant.path}/agents/helper/embedding",
    ]
    seen = [(await tenant.client.get(path)).json for path in paths]
    for item in seen[1]["items"]:
        item.pop("last_used_at")
        item.pop("last_used_from")
    return seen


@pytest.mark.parametrize(("operation", "method", "path"), CASES)
async def test_another_tenant_s_things_are_404_and_stay_as_they_are(
    ada: Tenant, eve: Tenant, treasure: dict[str, list[str]], operation: str, method: str, path: str
) -> None:
    before = await everything(ada)
    names = re.findall(r"{(\w+)}", path)
    assert names, f"{operation} names no object: does it belong to OWN?"
    tried = 0
    objects = [name for name in names if name != "ws"]
    # Through Ada's own address, and, where there is an object beside it, through Eve's.
    workspaces = [ada.handle, ada.id] + ([eve.handle, eve.id] if objects else [])
    for workspace in workspaces if "ws" in names else [""]:
        for index in range(max(len(treasure[name]) for name in objects) if objects else 1):
            filled = path.replace("{ws}", workspace)
            for name in objects:
                filled = filled.replace(f"{{{name}}}", treasure[name][index % len(treasure[name])])
            answer = await eve.client.request(method, filled, json=BODIES.get(operation))
            assert (answer.status, answer.code) == (404, "not_found"), f"{method} {filled}"
            tried += 1
    assert tried
    assert await everything(ada) == before


@pytest.mark.parametrize(("operation", "method", "path"), CASES)
async def test_the_same_request_of_their_owner_is_answered(
    ada: Tenant, treasure: dict[str, list[str]], operation: str, method: str, path: str
) -> None:
    filled = path.replace("{ws}", ada.handle)
    for name, values in treasure.items():
        filled = filled.replace(f"{{{name}}}", values[0])
    if operation == "restoreConversation":
        await ada.client.delete(f"/api/v1/conversations/{treasure['conversation'][0]}")
    answer = await ada.client.request(method, filled, json=BODIES.get(operation))
    assert answer.status in {200, 201, 204}, answer.body


async def test_without_a_credential_everything_is_401(ada: Tenant, treasure: dict[str, list[str]]) -> None:
    for operation, method, path in ALL:
        filled = path.replace("{ws}", ada.handle)
        for name, values in treasure.items():
            filled = filled.replace(f"{{{name}}}", values[0])
        answer = await ada.client.as_(None).request(method, filled, json=BODIES.get(operation))
        assert (answer.status, answer.code) == (401, "unauthenticated"), f"{method} {filled}"


@pytest.mark.parametrize("odd", ["%00", "%ff", "%ef%bf%bd", "a" * 2000, "..%2f..", "agt_", "'--"])
async def test_an_odd_name_is_refused_in_a_sentence(ada: Tenant, odd: str) -> None:
    for operation, method, path in ALL:
        filled = re.sub(r"{\w+}", odd, path)
        answer = await ada.client.request(method, filled, json=BODIES.get(operation))
        assert answer.code in {"not_found", "invalid_input", "method_not_allowed"}, f"{method} {filled}"
        assert len(answer.json["detail"]) < 400
