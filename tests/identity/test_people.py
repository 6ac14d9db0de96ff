"""How people sign up and in with passwords, at the service."""

import asyncio
import ipaddress
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from porch.contract.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PorchError,
    RateLimited,
    SetupError,
    Unauthenticated,
)
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.identity import invitations, passwords, people, people_store, service
from porch.identity.authentication import Authenticator, Place, authenticate
from porch.identity.doors import CLOSED, Doors, MultiUserOff, check_people
from porch.identity.passwords import PASSES
from porch.identity.people import Caller, SignUp
from porch.identity.sessions import create_link, redeem_link, switch_workspace
from porch.identity.tokens import digest
from porch.storage.database import Database
from tests.conftest import FreshUrls
from tests.http.app import Tenant, World, definer

OPEN = Doors(multi_user=True, sign_up="open")
INVITED = Doors(multi_user=True, sign_up="invitation")
PHRASE = "three blue kettles sing"
BOB = SignUp("bob", "Bob", PHRASE)
URL = "http://localhost:8642"
_networks = itertools.count(1)


@pytest.fixture
async def fresh(fresh_urls: FreshUrls) -> AsyncIterator[Database]:
    """A database of one's own, without people."""
    urls = await fresh_urls()
    database = await Database.connect(urls.app)
    yield database
    await database.close()


def anywhere() -> Caller:
    """Another network each time: there are limits for each."""
    return Caller(str(ipaddress.IPv4Address(0x0A000000 + next(_networks))))


async def session(database: Database, secret: str, place: Place | None = None) -> Principal:
    return await Authenticator(database).session(secret, None, place or Place())


async def owner(world: World, tenant: Tenant) -> Principal:
    assert tenant.client.token
    return await authenticate(world.database, tenant.client.token)


def unique(tenant: Tenant, **changed: str | None) -> SignUp:
    return replace(BOB, login=f"bob.{tenant.handle}"[:40], **changed)


async def test_who_signs_up_owns_a_workspace_and_is_in_it(world: World, ada: Tenant) -> None:
    wanted = unique(ada)
    secret = await people.sign_up(world.database, OPEN, wanted, Caller("192.0.2.1", "a browser"))
    found = await session(world.database, secret)
    assert (found.name, found.role, found.via) == ("Bob", "owner", "session")
    assert found.workspace_handle == wanted.login.replace(".", "-")
    assert found.workspace != ada.workspace
    again = await people.sign_in(world.database, OPEN, wanted.login.upper(), PHRASE, anywhere())
    assert (await session(world.database, again)).id == found.id


async def test_a_server_of_the_version_before_knows_the_session_too(world: World, ada: Tenant) -> None:
    secret = await people.sign_up(world.database, OPEN, unique(ada), anywhere())
    async with world.database.system() as connection:
        before = await connection.fetchrow("SELECT * FROM porch.authenticate_session($1)", digest(secret))
    found = await session(world.database, secret)
    assert before is not None
    assert (before["user_id"], before["workspace_id"]) == (found.id, found.workspace)


async def test_a_login_is_one_person_s(world: World, ada: Tenant) -> None:
    wanted = unique(ada)
    made = await asyncio.gather(
        *(people.sign_up(world.database, OPEN, wanted, anywhere()) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in made) == ["Conflict", "Conflict", "Conflict", "str"]


async def test_a_taken_handle_gets_a_number(world: World, ada: Tenant) -> None:
    taken = replace(BOB, login=ada.handle)
    found = await session(world.database, await people.sign_up(world.database, OPEN, taken, anywhere()))
    assert found.workspace_handle == f"{ada.handle[:36]}-2"


async def test_a_wrong_password_and_an_unknown_login_get_the_same_answer(world: World, ada: Tenant) -> None:
    wanted = unique(ada)
    await people.sign_up(world.database, OPEN, wanted, anywhere())
    said: list[str] = []
    for login, password in ((wanted.login, "not that one at all"), ("nobody-here", PHRASE), ("", "")):
        with pytest.raises(Unauthenticated) as refused:
            await people.sign_in(world.database, OPEN, login, password, Caller("192.0.2.7"))
        said.append(refused.value.message)
    assert len(set(said)) == 1


async def test_who_has_no_password_cannot_sign_in_with_one(world: World, ada: Tenant) -> None:
    with pytest.raises(Unauthenticated):
        await people.sign_in(world.database, OPEN, ada.handle, "", anywhere())


async def test_guessing_ends_for_that_network_and_not_for_who_was_here(world: World, ada: Tenant) -> None:
    wanted = unique(ada)
    await people.sign_up(world.database, OPEN, wanted, Caller("192.0.2.20"))

    async def guess(address: str, times: int) -> list[type[PorchError]]:
        met: list[type[PorchError]] = []
        for _ in range(times):
            with pytest.raises(PorchError) as refused:
                await people.sign_in(world.database, OPEN, wanted.login, "guessed it wrong", Caller(address))
            met.append(type(refused.value))
        return met

    at_once = people.PAIR[0]
    assert await guess("198.51.100.9", at_once + 1) == [Unauthenticated] * at_once + [RateLimited]
    with pytest.raises(RateLimited) as full:
        await people.sign_in(world.database, OPEN, wanted.login, PHRASE, Caller("198.51.100.9"))
    assert full.value.retry_after
    # From very many networks: then the account itself is closed to strangers, and open to who was here lately.
    subject, every = people.ACCOUNT[0] - at_once, people.ACCOUNT[1]
    assert every.total_seconds() >= 60
    for number in range(subject // at_once):
        assert await guess(f"198.51.{number}.77", at_once) == [Unauthenticated] * at_once
    assert await guess("203.0.113.5", 1) == [RateLimited]
    assert await people.sign_in(world.database, OPEN, wanted.login, PHRASE, Caller("192.0.2.20"))


@pytest.mark.parametrize(
    ("lately", "now", "known"),
    [
        ("2001:db8:1:2::10", "2001:db8:1:2:aaaa::1", True),
        ("2001:db8:1:2::10", "2001:db8:1:3::10", False),
        ("198.51.100.7", "198.51.100.7", True),
        ("198.51.100.7", "198.51.100.8", False),
        (None, None, False),
    ],
)
async def test_whoever_was_here_lately_is_known_by_their_line_and_not_locked_out(
    world: World,
    ada: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    lately: str | None,
    now: str | None,
    known: bool,
) -> None:
    wanted = unique(ada)
    await people.sign_up(world.database, OPEN, wanted, Caller(lately))
    monkeypatch.setattr(people, "ACCOUNT", (1, timedelta(hours=1)))
    with pytest.raises(Unauthenticated):
        await people.sign_in(world.database, OPEN, wanted.login, "guessed it wrong", Caller("192.0.2.99"))
    again = people.sign_in(world.database, OPEN, wanted.login, PHRASE, Caller(now))
    if known:
        assert await again
    else:
        with pytest.raises(RateLimited):
            await again


async def test_an_outdated_hash_is_made_anew_at_sign_in(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = unique(ada)
    with monkeypatch.context() as cheap:
        cheap.setattr(passwords, "PASSES", 1)
        await people.sign_up(world.database, OPEN, wanted, anywhere())

    async def kept() -> str:
        async with definer(world.urls) as connection:
            return await connection.fetchval(
                "SELECT password FROM porch.users WHERE login = $1", wanted.login
            )

    assert ",t=1," in await kept()
    for _ in range(2):
        assert await people.sign_in(world.database, OPEN, wanted.login, PHRASE, anywhere())
        assert f",t={PASSES}," in await kept()


@pytest.mark.parametrize(
    "login", ["", "b", "Bøb", "b@b.example", "-bob", "bob smith", "b" * 41, "bоb", "bob\u200b"]
)
async def test_a_login_that_cannot_be_one_is_refused(world: World, login: str) -> None:
    with pytest.raises(InvalidInput, match="sign in with"):
        await people.sign_up(world.database, OPEN, replace(BOB, login=login), anywhere())


async def test_nobody_signs_up_where_the_doors_are_closed(world: World) -> None:
    with pytest.raises(MultiUserOff, match="PORCH_MULTI_USER"):
        await people.sign_up(world.database, CLOSED, BOB, anywhere())
    with pytest.raises(MultiUserOff):
        await people.sign_in(world.database, CLOSED, "bob", PHRASE, anywhere())
    with pytest.raises(Forbidden, match="invitation"):
        await people.sign_up(world.database, INVITED, BOB, anywhere())
    closed = Doors(multi_user=True, sign_up="closed")
    with pytest.raises(Forbidden, match="Nobody"):
        await people.sign_up(world.database, closed, replace(BOB, invitation="porch_inv_x"), anywhere())


async def test_whoever_is_invited_joins_and_has_a_workspace_too(world: World, ada: Tenant) -> None:
    made = await invitations.invite(await owner(world, ada), world.database, INVITED, URL, role="editor")
    secret = made.url.rpartition("/")[2]
    assert secret not in repr(made)
    wanted = unique(ada, invitation=secret)
    found = await session(world.database, await people.sign_up(world.database, INVITED, wanted, anywhere()))
    assert (found.workspace, found.role) == (ada.workspace, "editor")
    reached = await service.list_workspaces(found, world.database)
    assert {each.role for each in reached} == {"editor", "owner"}
    with pytest.raises(NotFound, match="new one"):
        await people.sign_up(world.database, INVITED, replace(wanted, login="another-one"), anywhere())


async def test_one_invitation_lets_one_in_however_many_hurry(world: World, ada: Tenant) -> None:
    made = await invitations.invite(await owner(world, ada), world.database, INVITED, URL, role="viewer")
    secret = made.url.rpartition("/")[2]
    several = [
        replace(BOB, login=f"hurry{number}-{ada.handle}"[:40], invitation=secret) for number in range(4)
    ]
    done = await asyncio.gather(
        *(people.sign_up(world.database, INVITED, one, anywhere()) for one in several), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in done) == ["NotFound", "NotFound", "NotFound", "str"]
    # Who came too late has left no account behind.
    async with world.database.system() as connection:
        found = [await people_store.find_login(connection, one.login, "unknown") for one in several]
    assert sum(one is not None for one in found) == 1


async def test_a_password_is_set_once_signed_in_and_ends_other_sessions(world: World, ada: Tenant) -> None:
    wanted = unique(ada)
    first = await people.sign_up(world.database, OPEN, wanted, anywhere())
    second = await people.sign_in(world.database, OPEN, wanted.login, PHRASE, anywhere())
    principal = await session(world.database, second)
    with pytest.raises(InvalidInput, match="present password"):
        await people.set_password(
            principal, world.database, OPEN, login=None, before="no", password="quiet green lanterns"
        )
    await people.set_password(
        principal, world.database, OPEN, login=None, before=PHRASE, password="quiet green lanterns"
    )
    with pytest.raises(Unauthenticated):
        await session(world.database, first)
    assert (await session(world.database, second)).id == principal.id
    with pytest.raises(Unauthenticated):
        await people.sign_in(world.database, OPEN, wanted.login, PHRASE, anywhere())
    assert await people.sign_in(world.database, OPEN, wanted.login, "quiet green lanterns", anywhere())


async def test_a_token_sets_no_password(world: World, ada: Tenant) -> None:
    with pytest.raises(Forbidden, match="browser"):
        await people.set_password(
            await owner(world, ada), world.database, OPEN, login="ada", before="", password=PHRASE
        )


async def test_a_session_is_in_the_workspace_that_is_meant(world: World, ada: Tenant) -> None:
    made = await invitations.invite(await owner(world, ada), world.database, INVITED, URL, role="editor")
    wanted = unique(ada, invitation=made.url.rpartition("/")[2])
    secret = await people.sign_up(world.database, OPEN, wanted, anywhere())
    own = wanted.login.replace(".", "-")
    there = await session(world.database, secret, Place(named=own))
    assert (there.workspace_handle, there.role) == (own, "owner")
    given = Place(given=there.workspace)
    assert (await session(world.database, secret, given)).workspace == there.workspace
    agent = await ada.client.post(
        f"{ada.path}/agents", json={"name": "a", "instructions": "", "model": "scripted:echo"}
    )
    assert agent.status == 201, agent.body
    opened = (await ada.client.post(f"{ada.path}/agents/a/conversations")).json
    here = Place(kind="conv", object=UUID(hex=opened["id"].removeprefix("conv_")), given=there.workspace)
    assert (await session(world.database, secret, here)).workspace == ada.workspace
    await switch_workspace(there, world.database, own)
    assert (await session(world.database, secret)).workspace == there.workspace
    with pytest.raises(NotFound):
        await switch_workspace(there, world.database, "no-such-place")


async def test_a_workspace_that_is_not_one_s_own_is_not_reached(
    world: World, ada: Tenant, eve: Tenant
) -> None:
    secret = await people.sign_up(world.database, OPEN, unique(ada), anywhere())
    for place in (Place(named=ada.handle), Place(named=ada.id), Place(given=eve.workspace)):
        assert (await session(world.database, secret, place)).workspace not in (ada.workspace, eve.workspace)
    with pytest.raises(NotFound):
        await switch_workspace(await session(world.database, secret), world.database, ada.handle)


async def test_people_make_workspaces_until_they_have_many(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_OWNED", 3)
    principal = await session(
        world.database, await people.sign_up(world.database, OPEN, unique(ada), anywhere())
    )

    async def make(handle: str) -> str:
        made = await service.make_workspace(principal, world.database, OPEN, handle=handle, name="")
        return made.handle

    stem = ada.handle[:30]
    made = await asyncio.gather(*(make(f"{stem}-{n}x") for n in range(4)), return_exceptions=True)
    assert sorted(str(type(one).__name__) for one in made) == ["Conflict", "Conflict", "str", "str"]
    other = await session(
        world.database,
        await people.sign_up(world.database, OPEN, replace(BOB, login=f"zoe.{ada.handle}"[:40]), anywhere()),
    )
    with pytest.raises(Conflict, match="taken"):
        await service.make_workspace(other, world.database, OPEN, handle=ada.handle, name="")
    with pytest.raises(InvalidInput):
        await service.make_workspace(other, world.database, OPEN, handle="Ädä", name="")


async def test_the_flag_is_not_turned_off_over_people(fresh: Database) -> None:
    await check_people(fresh, CLOSED)
    await people.sign_up(fresh, OPEN, BOB, anywhere())
    await check_people(fresh, CLOSED)
    await people.sign_up(fresh, OPEN, replace(BOB, login="carol"), anywhere())
    await check_people(fresh, OPEN)
    with pytest.raises(SetupError, match="2 people"):
        await check_people(fresh, CLOSED)


async def test_what_is_kept_of_a_password_is_a_hash_of_its_own(world: World, ada: Tenant) -> None:
    one, other = unique(ada), replace(BOB, login=f"eve.{ada.handle}"[:40])
    for wanted in (one, other):
        await people.sign_up(world.database, OPEN, wanted, anywhere())
    async with definer(world.urls) as connection:
        kept = [
            await connection.fetchval("SELECT password FROM porch.users WHERE login = $1", wanted.login)
            for wanted in (one, other)
        ]
    assert all(text.startswith("$argon2id$") and f",t={PASSES}," in text for text in kept)
    assert kept[0] != kept[1]
    assert PHRASE not in repr(one)


async def test_an_unknown_login_and_one_without_a_password_cost_what_others_do(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    verify: Callable[[str, str], bool] = vars(passwords)["_verify"]

    def spy(password: str, kept: str) -> bool:
        checked.append(kept)
        return verify(password, kept)

    monkeypatch.setattr(passwords, "_verify", spy)
    login = f"link.{ada.handle}"[:40]
    async with definer(world.urls) as connection:
        await connection.execute("UPDATE porch.users SET login = $1 WHERE id = $2", login, ada.owner)
    for name, password in ((login, ""), ("nobody-at-all", PHRASE), ("a\0b", "\ud800"), ("", "x" * 100_000)):
        with pytest.raises(Unauthenticated):
            await people.sign_in(world.database, OPEN, name, password, anywhere())
    assert len(checked) == 4
    assert all(kept.startswith("$argon2id$") for kept in checked)


async def test_one_network_has_so_many_tries_at_all_accounts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "NETWORK", (3, people.NETWORK[1]))
    monkeypatch.setattr(people, "SIGN_UPS", (2, people.SIGN_UPS[1]))
    caller = anywhere()
    for number in range(3):
        with pytest.raises(Unauthenticated):
            await people.sign_in(world.database, OPEN, f"somebody{number}", PHRASE, caller)
    with pytest.raises(RateLimited):
        await people.sign_in(world.database, OPEN, "somebody-else", PHRASE, caller)
    for _ in range(2):
        with pytest.raises(InvalidInput):
            await people.sign_up(world.database, OPEN, replace(BOB, login="?"), caller)
    with pytest.raises(RateLimited):
        await people.sign_up(world.database, OPEN, replace(BOB, login="?"), caller)


async def test_a_signed_in_browser_cannot_guess_the_password_either(world: World, ada: Tenant) -> None:
    principal = await session(
        world.database, await people.sign_up(world.database, OPEN, unique(ada), anywhere())
    )

    async def guess() -> None:
        await people.set_password(
            principal, world.database, OPEN, login=None, before="wrong", password="quiet green lanterns"
        )

    for _ in range(people.PAIR[0]):
        with pytest.raises(InvalidInput):
            await guess()
    with pytest.raises(RateLimited):
        await guess()


async def test_a_very_long_password_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "normal", lambda text: pytest.fail("brought into one form"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(InvalidInput, match="256"):
        passwords.check_password("a" + "\u0301\u0323" * 60_000)


async def test_many_who_sign_in_at_once_are_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MOST_WAITING", 3)
    done = await asyncio.gather(*(passwords.matches(PHRASE, None) for _ in range(6)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["Overloaded"] * 3 + ["bool"] * 3


async def test_a_password_set_meanwhile_wins(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = unique(ada)
    thief = await session(world.database, await people.sign_up(world.database, OPEN, wanted, anywhere()))
    victim = await session(
        world.database, await people.sign_in(world.database, OPEN, wanted.login, PHRASE, anywhere())
    )
    right = passwords.matches

    async def overtaken(password: str, kept: str | None) -> bool:
        found = await right(password, kept)
        monkeypatch.setattr(people, "matches", right)
        await people.set_password(
            victim, world.database, OPEN, login=None, before=PHRASE, password="quiet green lanterns"
        )
        return found

    monkeypatch.setattr(people, "matches", overtaken)
    with pytest.raises(Conflict, match="elsewhere"):
        await people.set_password(
            thief, world.database, OPEN, login=None, before=PHRASE, password="the thief took it all"
        )
    monkeypatch.setattr(people, "PAIR", (50, people.PAIR[1]))

    async def again(password: str, kept: str | None) -> bool:
        found = await right(password, kept)
        monkeypatch.setattr(people, "matches", right)
        await people.set_password(
            victim, world.database, OPEN, login=None, before="quiet green lanterns", password=PHRASE
        )
        return found

    monkeypatch.setattr(people, "matches", again)
    with pytest.raises(Unauthenticated):
        await people.sign_in(world.database, OPEN, wanted.login, "quiet green lanterns", anywhere())


async def test_a_session_of_a_token_that_ends_sets_no_password(world: World, ada: Tenant) -> None:
    brief = await world.token(ada.workspace, ada.owner, lifetime=timedelta(minutes=5))
    link = await create_link(await authenticate(world.database, brief), world.database, CLOSED, URL)
    secret = await redeem_link(world.database, link.url.rpartition("/")[2])
    assert secret
    principal = await session(world.database, secret)
    with pytest.raises(Forbidden, match="another way"):
        await people.set_password(principal, world.database, OPEN, login="ada-x", before="", password=PHRASE)


async def test_two_logins_that_make_one_handle_both_get_in(world: World, ada: Tenant) -> None:
    stem = ada.handle[:30]
    wanted = [replace(BOB, login=f"x{mark}{stem}") for mark in ".-_"]
    secrets = await asyncio.gather(*(people.sign_up(world.database, OPEN, one, anywhere()) for one in wanted))
    handles = {(await session(world.database, secret)).workspace_handle for secret in secrets}
    assert len(handles) == 3
    # One that is being made is waited for.
    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute(
            "SELECT porch.make_workspace($1, $2, $3, 'x', 50)", ada.owner, new_uuid(), f"late-{stem}"
        )
        late = asyncio.create_task(
            people.sign_up(world.database, OPEN, replace(BOB, login=f"late.{stem}"), anywhere())
        )
        await asyncio.sleep(0.2)
        assert not late.done()
    assert (await session(world.database, await late)).workspace_handle == f"late-{stem}"[:36] + "-2"
