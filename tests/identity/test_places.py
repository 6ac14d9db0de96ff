"""A session in several workspaces, at the doors: which one a request is about, and what ends with a membership."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from starlette.requests import Request

from porch.contract.errors import Forbidden, NotFound
from porch.contract.ids import format_id, new_uuid
from porch.contract.principal import Principal
from porch.http.auth import Requires, recheck
from porch.http.cookies import NAME
from porch.identity import invitations, members, people
from porch.identity.authentication import Authenticator, Place, authenticate
from porch.identity.doors import Doors
from porch.identity.people import SignUp
from porch.identity.sessions import csrf_token, instance, switch_workspace
from tests.http.app import Client, Tenant, World
from tests.identity.test_people import PHRASE, anywhere

OPEN = Doors(multi_user=True, sign_up="open")


@pytest.fixture(autouse=True)
def several_people(world: World) -> Iterator[None]:
    """Others than the operator may come in."""
    with world.several_people():
        yield


class Two:
    """Somebody with an own workspace who is an admin in Ada's too, and in hers just now."""

    def __init__(self, world: World, ada: Tenant, secret: str, user: UUID, own: UUID, cookie: str) -> None:
        self.world, self.ada, self.secret, self.user, self.own, self.cookie = (
            world,
            ada,
            secret,
            user,
            own,
            cookie,
        )

    async def post(self, path: str, body: object, csrf: str) -> int:
        client = Client(self.world.app)
        headers = {"Cookie": f"{self.cookie}={self.secret}", "X-CSRF-Token": csrf}
        return (await client.post(path, json=body, headers=headers)).status

    async def leave(self) -> None:
        boss = await authenticate(self.world.database, str(self.ada.client.token))
        await members.remove(boss, self.world.database, format_id("usr", self.user))
        self.world.app.state.authenticate.forget()

    def request(self, **params: str) -> Request:
        headers = [(b"cookie", f"{self.cookie}={self.secret}".encode())]
        return Request(
            {
                "type": "http",
                "method": "GET",
                "scheme": "http",
                "path": "/",
                "query_string": b"",
                "headers": headers,
                "client": ("192.0.2.9", 1),
                "server": ("localhost", 80),
                "app": self.world.app,
                "path_params": params,
            }
        )

    async def principal(self, place: Place) -> Principal:
        return await Authenticator(self.world.database).session(self.secret, None, place)


@pytest.fixture
async def two(world: World, ada: Tenant) -> Two:
    boss = await authenticate(world.database, str(ada.client.token))
    made = await invitations.invite(boss, world.database, OPEN, "http://localhost", role="admin")
    wanted = SignUp(f"two.{ada.handle}"[:40], "Two", PHRASE, made.url.rpartition("/")[2])
    secret = await people.sign_up(world.database, OPEN, wanted, anywhere())
    found = await Authenticator(world.database).session(secret)
    own = await Authenticator(world.database).session(
        secret, None, Place(named=wanted.login.replace(".", "-"))
    )
    assert found.workspace == ada.workspace != own.workspace
    cookie = f"{NAME}{await instance(world.database)}"
    return Two(world, ada, secret, found.id, own.workspace, cookie)


async def agents(two: Two, workspace: UUID) -> int:
    async with two.world.database.tenant(workspace) as connection:
        return await connection.fetchval(
            "SELECT count(*) FROM porch.invitations WHERE created_by = $1", two.user
        )


async def test_a_path_names_the_workspace_whatever_the_session_is_in(two: Two) -> None:
    for workspace in (two.own, two.ada.workspace):
        path = f"/api/v1/workspaces/{format_id('ws', workspace)}/invitations"
        for page in (two.own, two.ada.workspace):
            assert await two.post(path, {"role": "viewer"}, csrf_token(two.secret, page)) == 201
        assert await agents(two, workspace) == 2


async def test_a_page_that_was_opened_before_a_switch_is_of_its_workspace(two: Two) -> None:
    await switch_workspace(await two.principal(Place()), two.world.database, two.ada.handle)
    for page in (two.own, two.ada.workspace):
        found = await two.principal(Place(given=page))
        assert found.workspace == page
    # A token is minted in no workspace that the page does not say.
    signed = csrf_token(two.secret, two.own)
    assert await two.post("/api/v1/workspaces", {"handle": f"w{two.own.hex[:20]}"}, signed) == 201


async def test_a_workspace_that_nobody_signed_for_is_none(two: Two) -> None:
    genuine = csrf_token(two.secret, two.ada.workspace)
    forged = two.own.hex + genuine[32:]
    path = f"/api/v1/workspaces/{two.ada.handle}/invitations"
    assert await two.post(path, {"role": "viewer"}, forged) == 403
    assert await two.post(path, {"role": "viewer"}, csrf_token(two.secret)) == 403
    assert await two.post(path, {"role": "viewer"}, genuine) == 201


async def test_who_was_removed_writes_nothing_from_a_page_of_before(two: Two) -> None:
    signed = csrf_token(two.secret, two.ada.workspace)
    await two.leave()
    path = f"/api/v1/workspaces/{two.ada.handle}/invitations"
    assert await two.post(path, {"role": "viewer"}, signed) == 404
    assert await two.post("/api/v1/workspaces", {"handle": "never-made"}, signed) == 403
    assert await agents(two, two.own) == 0


@pytest.mark.parametrize("kind", ["conversation", "run", "ws"])
async def test_what_is_being_read_ends_with_the_membership(two: Two, kind: str) -> None:
    made_of = {"name": "reader", "instructions": "", "model": "scripted:echo"}
    await two.ada.client.post(f"{two.ada.path}/agents", json=made_of)
    conversation = (await two.ada.client.post(f"{two.ada.path}/agents/reader/conversations")).json["id"]
    run, run_id = format_id("run", new_uuid()), new_uuid()
    async with two.world.database.tenant(two.ada.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.queued_runs"
            " (workspace_id, id, conversation_id, how, message_id, parts, title, asked_by, size)"
            " VALUES ($1, $2, $3, 'head', $4, '[]', '', 'x', 1)",
            two.ada.workspace,
            run_id,
            UUID(hex=conversation.removeprefix("conv_")),
            new_uuid(),
        )
    run = format_id("run", run_id)
    await switch_workspace(await two.principal(Place()), two.world.database, format_id("ws", two.own))
    params = {
        "conversation": {"conversation": conversation},
        "run": {"run": run},
        "ws": {"ws": two.ada.handle},
    }
    request = two.request(**params[kind])
    found = await Requires(None)(request)
    assert found.workspace == two.ada.workspace
    again = recheck(Requires(None), request)
    assert (await again()).workspace == two.ada.workspace
    await two.leave()
    with pytest.raises((Forbidden, NotFound)):
        await again()


@pytest.mark.parametrize("named", ["a\0b", "\ud800", "x" * 60_000, "Ä"])
async def test_a_workspace_that_cannot_be_one_is_not_looked_for(two: Two, named: str) -> None:
    kept = two.world.app.state.authenticate
    with pytest.raises(NotFound):
        await Requires(None)(two.request(ws=named))
    assert all(len(place.named or "") < 50 for _, place in kept._kept_sessions)
