"""Who belongs to a workspace, at the API: roles, leaving, invitations."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from porch.contract.errors import Forbidden, NotFound
from porch.contract.ids import format_id
from porch.contract.principal import Role
from porch.identity import invitations, member_store, members
from porch.identity.authentication import Authenticator, authenticate
from porch.identity.doors import CLOSED, Doors
from porch.identity.sessions import create_link, redeem_link
from porch.identity.tokens import digest, is_well_formed
from porch.storage.connection import connected
from tests.http.app import Client, Tenant, World

OPEN = Doors(multi_user=True, sign_up="open")


@pytest.fixture(autouse=True)
def several_people(world: World) -> Iterator[None]:
    """Others than the operator may come in."""
    with world.several_people():
        yield


async def somebody(world: World, tenant: Tenant, role: Role) -> tuple[str, Client]:
    """The id and a client of a new member."""
    user = await world.join(tenant.workspace, role)
    return format_id("usr", user), Client(world.app, await world.token(tenant.workspace, user))


async def roles(tenant: Tenant) -> dict[str, str]:
    found = (await tenant.client.get(f"{tenant.path}/members")).json["items"]
    return {member["user"]: member["role"] for member in found}


async def test_members_are_listed_in_pages(world: World, ada: Tenant) -> None:
    added = [(await somebody(world, ada, "viewer"))[0] for _ in range(4)]
    seen: list[Any] = []
    cursor = ""
    while True:
        page = (await ada.client.get(f"{ada.path}/members?limit=2{cursor}")).json
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert {member["user"] for member in seen} == {format_id("usr", ada.owner), *added}
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("actor", "target", "role", "status"),
    [
        ("owner", "admin", "owner", 204),
        ("owner", "owner", "viewer", 204),
        ("admin", "editor", "admin", 204),
        ("admin", "admin", "viewer", 204),
        ("admin", "editor", "owner", 403),
        ("admin", "owner", "viewer", 403),
        ("editor", "viewer", "runner", 403),
        ("runner", "viewer", "runner", 403),
        ("viewer", "viewer", "runner", 403),
        ("owner", "viewer", "king", 422),
    ],
)
async def test_roles_are_given_by_who_has_them(
    world: World, ada: Tenant, actor: Role, target: Role, role: str, status: int
) -> None:
    _, client = await somebody(world, ada, actor)
    other, _ = await somebody(world, ada, target)
    answer = await client.patch(f"{ada.path}/members/{other}", json={"role": role})
    assert answer.status == status, answer.body
    assert (await roles(ada))[other] == (role if status == 204 else target)


async def test_nobody_raises_themselves(world: World, ada: Tenant) -> None:
    for role in ("admin", "editor", "runner", "viewer"):
        me, client = await somebody(world, ada, role)
        assert (await client.patch(f"{ada.path}/members/{me}", json={"role": "owner"})).status == 403
        assert (await roles(ada))[me] == role


async def test_everybody_may_leave_and_their_tokens_end(world: World, ada: Tenant) -> None:
    for role in ("owner", "admin", "editor", "runner", "viewer"):
        me, client = await somebody(world, ada, role)
        assert (await client.delete(f"{ada.path}/members/{me}")).status == 204
        assert me not in await roles(ada)
        assert (await client.get("/api/v1/me")).status == 401


async def test_an_editor_removes_nobody_else(world: World, ada: Tenant) -> None:
    _, client = await somebody(world, ada, "editor")
    other, _ = await somebody(world, ada, "viewer")
    assert (await client.delete(f"{ada.path}/members/{other}")).status == 403
    assert other in await roles(ada)


async def test_the_last_owner_stays(world: World, ada: Tenant) -> None:
    me = format_id("usr", ada.owner)
    for answer in (
        await ada.client.delete(f"{ada.path}/members/{me}"),
        await ada.client.patch(f"{ada.path}/members/{me}", json={"role": "admin"}),
    ):
        assert (answer.status, answer.code) == (409, "conflict")
    assert (await roles(ada))[me] == "owner"


async def test_two_owners_who_remove_each_other_leave_one(world: World, ada: Tenant) -> None:
    for _ in range(5):
        other, client = await somebody(world, ada, "owner")
        me = format_id("usr", ada.owner)
        one = await authenticate(world.database, str(ada.client.token))
        two = await authenticate(world.database, str(client.token))
        done = await asyncio.gather(
            members.remove(one, world.database, other),
            members.remove(two, world.database, me),
            return_exceptions=True,
        )
        assert sorted(type(each).__name__ for each in done) == ["Forbidden", "NoneType"]
        if done[0] is not None:  # Ada was removed: for the next round, let her in again.
            await world.rejoin(ada.workspace, ada.owner, "owner")
            ada.client.token = await world.token(ada.workspace, ada.owner)
            await members.remove(
                await authenticate(world.database, str(ada.client.token)), world.database, other
            )
        assert list((await roles(ada)).values()).count("owner") == 1


async def test_an_invitation_is_for_a_role_no_higher_than_one_s_own(world: World, ada: Tenant) -> None:
    _, admin = await somebody(world, ada, "admin")
    _, editor = await somebody(world, ada, "editor")
    asked = {"role": "owner"}
    assert (await ada.client.post(f"{ada.path}/invitations", json=asked)).status == 201
    assert (await admin.post(f"{ada.path}/invitations", json=asked)).status == 403
    assert (await admin.post(f"{ada.path}/invitations", json={"role": "admin"})).status == 201
    assert (await editor.post(f"{ada.path}/invitations", json={"role": "viewer"})).status == 403
    assert (await ada.client.post(f"{ada.path}/invitations", json={"role": "king"})).status == 422


async def test_an_invitation_s_link_is_shown_once(world: World, ada: Tenant) -> None:
    made = await ada.client.post(
        f"{ada.path}/invitations", json={"role": "viewer"}, headers={"Idempotency-Key": "one"}
    )
    secret = made.json["url"].rpartition("/join/")[2]
    assert is_well_formed(secret, "inv")
    again = await ada.client.post(
        f"{ada.path}/invitations", json={"role": "viewer"}, headers={"Idempotency-Key": "one"}
    )
    assert again.json == {**made.json, "url": None}
    listed = await ada.client.get(f"{ada.path}/invitations")
    assert [each["id"] for each in listed.json["items"]] == [made.json["id"]]
    assert secret not in listed.body.decode()


async def test_a_revoked_invitation_lets_nobody_in(world: World, ada: Tenant) -> None:
    principal = await authenticate(world.database, str(ada.client.token))
    made = await invitations.invite(principal, world.database, OPEN, "http://localhost", role="viewer")
    secret = made.url.rpartition("/")[2]
    name = format_id("inv", made.invitation.id)
    assert (await ada.client.delete(f"{ada.path}/invitations/{name}")).status == 204
    assert (await ada.client.delete(f"{ada.path}/invitations/{name}")).status == 404
    found = await invitations.read(world.database, secret)
    assert found
    assert found.state == "expired"
    with pytest.raises(NotFound):
        await invitations.check_open(world.database, secret)


async def test_invitations_end_with_the_right_to_send_them(world: World, ada: Tenant) -> None:
    for change in ("viewer", None):
        who, client = await somebody(world, ada, "admin")
        principal = await authenticate(world.database, str(client.token))
        made = await invitations.invite(principal, world.database, OPEN, "http://localhost", role="viewer")
        secret = made.url.rpartition("/")[2]
        boss = await authenticate(world.database, str(ada.client.token))
        if change:
            await members.change_role(boss, world.database, who, change)
        else:
            await members.remove(boss, world.database, who)
        with pytest.raises(NotFound):
            await invitations.check_open(world.database, secret)


async def test_who_is_signed_in_joins_once_and_again_is_no_harm(
    world: World, ada: Tenant, eve: Tenant
) -> None:
    principal = await authenticate(world.database, str(ada.client.token))
    made = await invitations.invite(principal, world.database, OPEN, "http://localhost", role="runner")
    secret = made.url.rpartition("/")[2]
    link = await create_link(
        await authenticate(world.database, str(eve.client.token)), world.database, CLOSED, "http://localhost"
    )
    session = await redeem_link(world.database, link.url.rpartition("/")[2])
    assert session
    guest = await Authenticator(world.database).session(session)
    for _ in range(2):
        joined = await invitations.accept(guest, world.database, OPEN, secret)
        assert joined.handle == ada.handle
    assert (await roles(ada))[format_id("usr", eve.owner)] == "runner"


async def test_an_expired_or_tampered_invitation_is_none(world: World, ada: Tenant) -> None:
    principal = await authenticate(world.database, str(ada.client.token))
    made = await invitations.invite(principal, world.database, OPEN, "http://localhost", role="viewer")
    secret = made.url.rpartition("/")[2]
    assert await invitations.read(world.database, secret[:-1] + ("a" if secret[-1] != "a" else "b")) is None
    assert await invitations.read(world.database, "porch_inv_") is None
    async with connected(world.urls.owner) as connection:
        await connection.execute("ALTER TABLE porch.invitations NO FORCE ROW LEVEL SECURITY")
        await connection.execute(
            "UPDATE porch.invitations SET expires_at = now() WHERE id = $1", made.invitation.id
        )
        await connection.execute("ALTER TABLE porch.invitations FORCE ROW LEVEL SECURITY")
    found = await invitations.read(world.database, secret)
    assert found
    assert found.state == "expired"
    with pytest.raises(NotFound):
        await invitations.check_open(world.database, secret)


async def test_with_one_user_nobody_is_invited(world: World, ada: Tenant) -> None:
    world.app.state.doors = CLOSED
    answer = await ada.client.post(f"{ada.path}/invitations", json={"role": "viewer"})
    assert (answer.status, answer.code) == (403, "multi_user_off")


@pytest.mark.parametrize("seconds", [0, -1, 3599, 31 * 86_400, 10**30])
async def test_an_invitation_s_life_has_bounds(world: World, ada: Tenant, seconds: int) -> None:
    answer = await ada.client.post(f"{ada.path}/invitations", json={"role": "viewer", "expires_in": seconds})
    assert answer.status == 422


async def test_an_invitation_is_worth_what_its_maker_still_is(world: World, ada: Tenant, eve: Tenant) -> None:
    who, client = await somebody(world, ada, "owner")
    stale = await authenticate(world.database, str(client.token))
    boss = await authenticate(world.database, str(ada.client.token))
    before = await invitations.invite(stale, world.database, OPEN, "http://localhost", role="owner")
    lower = await invitations.invite(stale, world.database, OPEN, "http://localhost", role="editor")
    await members.change_role(boss, world.database, who, "admin")
    # A request that was on its way when the role fell.
    late = await invitations.invite(stale, world.database, OPEN, "http://localhost", role="owner")
    for made in (before, late):
        with pytest.raises(NotFound):
            await invitations.check_open(world.database, made.url.rpartition("/")[2])
        async with world.database.system() as connection:
            secret = digest(made.url.rpartition("/")[2])
            assert await member_store.accept_invitation(connection, secret, eve.owner) is None
    assert await invitations.check_open(world.database, lower.url.rpartition("/")[2])
    await members.remove(boss, world.database, who)
    with pytest.raises(Forbidden, match="any more"):
        await invitations.invite(stale, world.database, OPEN, "http://localhost", role="viewer")


async def test_a_narrow_token_gives_away_no_more_than_it_has(world: World, ada: Tenant) -> None:
    narrow = Client(world.app, await world.token(ada.workspace, ada.owner, ["admin:members"]))
    other, _ = await somebody(world, ada, "viewer")
    for role, status in (("owner", 403), ("admin", 403), ("editor", 201)):
        assert (await narrow.post(f"{ada.path}/invitations", json={"role": role})).status == status
    for role, status in (("owner", 403), ("admin", 403), ("editor", 204)):
        assert (await narrow.patch(f"{ada.path}/members/{other}", json={"role": role})).status == status


async def test_the_operator_stays_an_owner_at_home(world: World, ada: Tenant) -> None:
    _, client = await somebody(world, ada, "owner")
    me = format_id("usr", ada.owner)
    await world.make_operator(ada.owner)
    try:
        for actor in (client, ada.client):
            assert (await actor.delete(f"{ada.path}/members/{me}")).status == 409
            assert (await actor.patch(f"{ada.path}/members/{me}", json={"role": "admin"})).status == 409
    finally:
        await world.make_operator(None)
    assert (await client.patch(f"{ada.path}/members/{me}", json={"role": "admin"})).status == 204
