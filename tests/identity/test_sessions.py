"""Sign-in links and the sessions they become, at the service."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from porch.contract.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from porch.contract.ids import format_id, new_id, new_uuid
from porch.contract.principal import Principal
from porch.identity import session_store, sessions
from porch.identity.authentication import Authenticator, authenticate
from porch.identity.doors import CLOSED, Doors
from porch.identity.service import create_token, revoke_token
from porch.identity.tokens import ALPHABET, digest, is_link, is_well_formed, mint, mint_link
from porch.storage.database import Database
from tests.conftest import FreshUrls
from tests.http.app import Tenant, World, definer

URL = "http://localhost:8642"


async def owner(world: World, tenant: Tenant) -> Principal:
    assert tenant.client.token
    return await authenticate(world.database, tenant.client.token)


async def link_of(world: World, tenant: Tenant) -> str:
    made = await sessions.create_link(await owner(world, tenant), world.database, CLOSED, URL)
    return made.url.removeprefix(f"{URL}/sign-in/")


async def signed_in(world: World, tenant: Tenant) -> str:
    secret = await sessions.redeem_link(world.database, await link_of(world, tenant))
    assert secret
    return secret


async def session_lasting(world: World, tenant: Tenant, idle: timedelta, whole: timedelta) -> str:
    """A session with a life of its own."""
    minted = mint("ses")
    async with world.database.system() as connection:
        assert await session_store.redeem_link(
            connection,
            digest(await link_of(world, tenant)),
            new_uuid(),
            minted.digest,
            idle=idle,
            whole=whole,
            address=None,
            agent=None,
        )
    return minted.text


async def test_a_link_becomes_a_session_that_can_do_what_its_user_can(world: World, ada: Tenant) -> None:
    secret = await signed_in(world, ada)
    assert is_well_formed(secret, "ses")
    found = await Authenticator(world.database).session(secret)
    assert (found.id, found.workspace, found.workspace_handle, found.role, found.via) == (
        ada.owner,
        ada.workspace,
        ada.handle,
        "owner",
        "session",
    )
    assert found.scopes == frozenset({"admin:*"})


async def test_a_session_shrinks_with_its_user_s_role(world: World, ada: Tenant) -> None:
    viewer = await world.join(ada.workspace, "viewer")
    link = mint_link()
    async with world.database.system() as connection:
        await session_store.make_link(connection, viewer, digest(link), timedelta(minutes=1), None)
    secret = await sessions.redeem_link(world.database, link)
    assert secret
    found = await Authenticator(world.database).session(secret)
    assert not found.allows("write", "agents")
    assert found.allows("read", "agents")


async def test_a_link_works_once_however_many_press_its_button(world: World, ada: Tenant) -> None:
    link = await link_of(world, ada)
    made = await asyncio.gather(*(sessions.redeem_link(world.database, link) for _ in range(8)))
    assert sum(secret is not None for secret in made) == 1
    assert await sessions.redeem_link(world.database, link) is None
    found = await sessions.read_link(world.database, link)
    assert found
    assert found.state == "used"


async def test_looking_at_a_link_uses_nothing_up(world: World, ada: Tenant) -> None:
    link = await link_of(world, ada)
    for _ in range(3):
        found = await sessions.read_link(world.database, link)
        assert found
        assert (found.state, found.user_id) == ("open", ada.owner)
    assert await sessions.redeem_link(world.database, link)


async def test_an_expired_link_is_refused(world: World, ada: Tenant) -> None:
    link = mint_link()
    async with world.database.system() as connection:
        await session_store.make_link(connection, ada.owner, digest(link), timedelta(seconds=-1), None)
    found = await sessions.read_link(world.database, link)
    assert found
    assert found.state == "expired"
    assert await sessions.redeem_link(world.database, link) is None


async def test_a_link_lives_a_quarter_of_an_hour(world: World, ada: Tenant) -> None:
    made = await sessions.create_link(await owner(world, ada), world.database, CLOSED, URL + "/")
    assert made.url.startswith(f"{URL}/sign-in/")
    left = made.expires_at - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15, seconds=1)
    assert made.url not in repr(made)


async def test_with_several_people_the_operator_alone_signs_in_by_links(
    world: World, ada: Tenant, eve: Tenant
) -> None:
    several = Doors(multi_user=True)
    principal = await owner(world, ada)
    with pytest.raises(Forbidden, match="name and password"):
        await sessions.create_link(principal, world.database, several, URL)
    await world.make_operator(ada.owner)
    try:
        assert await sessions.create_link(principal, world.database, several, URL)
        # In a workspace that they joined they are as any other.
        await world.rejoin(eve.workspace, ada.owner, "owner")
        there = await authenticate(world.database, await world.token(eve.workspace, ada.owner))
        with pytest.raises(Forbidden):
            await sessions.create_link(there, world.database, several, URL)
    finally:
        await world.make_operator(None)


async def test_a_tampered_link_is_no_link(world: World, ada: Tenant) -> None:
    link = await link_of(world, ada)
    others = [
        link[:place] + next(char for char in ALPHABET if char != link[place]) + link[place + 1 :]
        for place in range(len(link))
    ]
    for wrong in (*others, link[:-1], link + "0", link.swapcase(), "", "\x00" * 22, "é" * 22, link + "\n"):
        assert await sessions.redeem_link(world.database, wrong) is None, wrong
        assert await sessions.read_link(world.database, wrong) is None, wrong
    assert await sessions.redeem_link(world.database, link)


async def test_only_hashes_are_kept(world: World, ada: Tenant) -> None:
    link = await link_of(world, ada)
    secret = await sessions.redeem_link(world.database, link)
    assert secret
    async with definer(world.urls) as connection:
        kept = await connection.fetch(
            "SELECT to_jsonb(l)::text AS row FROM porch.sign_in_links l"
            " UNION ALL SELECT to_jsonb(s)::text FROM porch.sessions s"
        )
    text = " ".join(row["row"] for row in kept)
    assert kept
    assert link not in text
    assert secret not in text
    assert link.encode().hex() not in text
    assert digest(link).hex() in text


async def test_a_narrow_token_makes_no_link(world: World, ada: Tenant) -> None:
    for scopes in (["admin:tokens"], ["write:agents", "admin:workspaces"]):
        principal = await authenticate(world.database, await world.token(ada.workspace, ada.owner, scopes))
        with pytest.raises(Forbidden, match="admin:"):
            await sessions.create_link(principal, world.database, CLOSED, URL)


async def test_a_session_makes_no_link(world: World, ada: Tenant) -> None:
    principal = await Authenticator(world.database).session(await signed_in(world, ada))
    with pytest.raises(Forbidden, match="porch sign-in"):
        await sessions.create_link(principal, world.database, CLOSED, URL)


async def test_no_session_outlives_the_token_behind_its_link(world: World, ada: Tenant) -> None:
    brief = await world.token(ada.workspace, ada.owner, lifetime=timedelta(hours=1))
    made = await sessions.create_link(await authenticate(world.database, brief), world.database, CLOSED, URL)
    assert await sessions.redeem_link(world.database, made.url.rpartition("/")[2])
    principal = await owner(world, ada)
    (listed,) = await sessions.list_sessions(principal, world.database)
    assert listed.expires_at - listed.created_at <= timedelta(hours=1)


async def test_a_token_that_ends_makes_no_longer_lived_one_by_signing_in(world: World, ada: Tenant) -> None:
    brief = await world.token(ada.workspace, ada.owner, lifetime=timedelta(hours=1))
    made = await sessions.create_link(await authenticate(world.database, brief), world.database, CLOSED, URL)
    secret = await sessions.redeem_link(world.database, made.url.rpartition("/")[2])
    assert secret
    principal = await Authenticator(world.database).session(secret)
    with pytest.raises(InvalidInput, match="outlive"):
        await create_token(
            principal, world.database, name="long", scopes=["admin:*"], lifetime=timedelta(days=300)
        )
    token, _ = await create_token(principal, world.database, name="brief", scopes=["admin:*"])
    assert token.expires_at
    assert token.expires_at - token.created_at <= timedelta(hours=1)


async def test_revoking_a_token_closes_the_links_that_it_made(world: World, ada: Tenant) -> None:
    leaked = await authenticate(world.database, await world.token(ada.workspace, ada.owner))
    made = await sessions.create_link(leaked, world.database, CLOSED, URL)
    link, other = made.url.rpartition("/")[2], await link_of(world, ada)
    await revoke_token(leaked, world.database, format_id("tok", leaked.credential))
    found = await sessions.read_link(world.database, link)
    assert found
    assert found.state == "expired"
    assert await sessions.redeem_link(world.database, link) is None
    assert await sessions.redeem_link(world.database, other)


async def test_a_token_that_was_revoked_meanwhile_makes_no_link(world: World, ada: Tenant) -> None:
    principal = await owner(world, ada)
    await revoke_token(principal, world.database, format_id("tok", principal.credential))
    for maker in (principal, replace(principal, credential=new_uuid())):
        with pytest.raises(Forbidden, match="was revoked meanwhile"):
            await sessions.create_link(maker, world.database, CLOSED, URL)


async def test_a_session_ends_30_days_after_its_last_use_and_after_90_in_all(
    world: World, ada: Tenant
) -> None:
    await signed_in(world, ada)
    principal = await owner(world, ada)
    (fresh,) = await sessions.list_sessions(principal, world.database)
    assert fresh.expires_at - fresh.created_at == timedelta(days=30)
    async with definer(world.urls) as connection:
        row = await connection.fetchrow(
            "SELECT created_at, ends_at FROM porch.sessions WHERE id = $1", fresh.id
        )
    assert row
    assert row["ends_at"] - row["created_at"] == timedelta(days=90)


async def _age(world: World, session: Any, by: timedelta) -> None:
    async with definer(world.urls) as connection:
        await connection.execute(
            "UPDATE porch.sessions SET last_used_at = last_used_at - $2::interval,"
            " expires_at = expires_at - $2::interval WHERE id = $1",
            session,
            by,
        )


async def test_use_moves_the_end_on_but_never_past_the_whole_life(world: World, ada: Tenant) -> None:
    secret = await session_lasting(world, ada, timedelta(days=30), timedelta(days=40))
    principal = await owner(world, ada)
    (before,) = await sessions.list_sessions(principal, world.database)
    authenticator = Authenticator(world.database)

    await authenticator.session(secret, "192.0.2.1")
    await authenticator.close()
    assert await sessions.list_sessions(principal, world.database) == [before]

    await _age(world, before.id, timedelta(days=20))
    authenticator.forget()
    await authenticator.session(secret, "192.0.2.9")
    await authenticator.close()
    (after,) = await sessions.list_sessions(principal, world.database)
    assert after.expires_at > before.expires_at - timedelta(minutes=1)
    assert after.last_used_from == "192.0.2.9"

    brief = await session_lasting(world, ada, timedelta(days=1), timedelta(days=3))
    (other,) = [s for s in await sessions.list_sessions(principal, world.database) if s.id != after.id]
    await _age(world, other.id, timedelta(hours=2))
    authenticator.forget()
    await authenticator.session(brief)
    await authenticator.close()
    (moved,) = [s for s in await sessions.list_sessions(principal, world.database) if s.id == other.id]
    assert moved.expires_at - moved.created_at == timedelta(days=3)


async def test_a_session_that_ran_out_is_refused_in_a_sentence(world: World, ada: Tenant) -> None:
    secret = await session_lasting(world, ada, timedelta(seconds=-1), timedelta(days=1))
    for text in (secret, mint("ses").text, secret[:-1] + "!", "", "porch_ses_"):
        with pytest.raises(Unauthenticated, match="porch sign-in"):
            await Authenticator(world.database).session(text)


async def test_a_session_that_is_ended_is_forgotten_at_once(world: World, ada: Tenant, eve: Tenant) -> None:
    secret = await signed_in(world, ada)
    authenticator = Authenticator(world.database)
    principal = await authenticator.session(secret)
    session = format_id("ses", principal.credential)
    with pytest.raises(NotFound):
        await sessions.end_session(await owner(world, eve), world.database, session)
    assert await authenticator.session(secret) is principal

    await sessions.end_session(principal, world.database, session)
    authenticator.forget()
    with pytest.raises(Unauthenticated):
        await authenticator.session(secret)
    for gone in (session, new_id("ses"), new_id("tok"), "ses_", "../x", "\x00"):
        with pytest.raises(NotFound):
            await sessions.end_session(principal, world.database, gone)


async def test_a_question_under_way_while_a_session_ends_does_not_keep_it_alive(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await signed_in(world, ada)
    authenticator = Authenticator(world.database)
    found, go_on = asyncio.Event(), asyncio.Event()
    real = session_store.find_session

    async def find_slowly(*of: Any) -> Any:
        row = await real(*of)
        found.set()
        await go_on.wait()
        return row

    monkeypatch.setattr(session_store, "find_session", find_slowly)
    asked = asyncio.create_task(authenticator.session(secret))
    await found.wait()
    monkeypatch.setattr(session_store, "find_session", real)
    principal = await authenticator.session(secret)
    await sessions.end_session(principal, world.database, format_id("ses", principal.credential))
    authenticator.forget()
    go_on.set()
    await asked
    with pytest.raises(Unauthenticated):
        await authenticator.session(secret)
    await authenticator.close()


async def test_a_session_is_no_token_and_a_token_no_session_also_when_remembered(
    world: World, ada: Tenant
) -> None:
    secret, token = await signed_in(world, ada), await world.token(ada.workspace, ada.owner)
    authenticator = Authenticator(world.database)
    await authenticator.session(secret)
    await authenticator(token)
    with pytest.raises(Unauthenticated):
        await authenticator(secret)
    with pytest.raises(Unauthenticated):
        await authenticator.session(token)
    await authenticator.close()


async def test_everyone_lists_their_own_sessions_the_one_used_last_first(
    world: World, ada: Tenant, eve: Tenant
) -> None:
    first, second = await signed_in(world, ada), await signed_in(world, ada)
    await signed_in(world, eve)
    authenticator = Authenticator(world.database)
    listed = await sessions.list_sessions(await owner(world, ada), world.database)
    assert [found.id for found in listed] == [
        (await authenticator.session(second)).credential,
        (await authenticator.session(first)).credential,
    ]


async def test_a_browser_s_own_words_are_kept_short_and_printable(world: World, ada: Tenant) -> None:
    link = await link_of(world, ada)
    await sessions.redeem_link(world.database, link, agent="Fire\x1b[2Jfox\x00\r\n" + "x" * 9000)
    (found,) = await sessions.list_sessions(await owner(world, ada), world.database)
    assert found.user_agent
    assert found.user_agent.isprintable()
    assert found.user_agent.startswith("Fire[2Jfoxxx")
    assert len(found.user_agent) == sessions.MAX_AGENT


async def test_a_session_opens_the_workspace_that_its_user_joined_first(
    world: World, ada: Tenant, eve: Tenant
) -> None:
    secret = await signed_in(world, ada)
    async with definer(world.urls) as connection:
        await connection.execute(
            "INSERT INTO porch.memberships (workspace_id, user_id, role) VALUES ($1, $2, 'viewer')",
            eve.workspace,
            ada.owner,
        )
    found = await Authenticator(world.database).session(secret)
    assert (found.workspace, found.role) == (ada.workspace, "owner")


async def test_a_signed_in_person_makes_tokens(world: World, ada: Tenant) -> None:
    principal = await Authenticator(world.database).session(await signed_in(world, ada))
    made, minted = await create_token(principal, world.database, name="mine", scopes=["read:agents"])
    assert made.user_id == ada.owner
    assert (await authenticate(world.database, minted.text)).scopes == frozenset({"read:agents"})


def test_the_csrf_token_is_the_session_s_own_and_tells_nothing_of_it() -> None:
    one, other = mint("ses").text, mint("ses").text
    here, there = new_uuid(), new_uuid()
    token = sessions.csrf_token(one, here)
    assert token == sessions.csrf_token(one, here)
    assert len({token, sessions.csrf_token(other, here), sessions.csrf_token(one, there)}) == 3
    assert sessions.csrf_token(other, here)[32:] != token[32:] != sessions.csrf_token(one, there)[32:]
    assert sessions.csrf_workspace(token) == here
    assert one[10:] not in token


def test_what_is_no_csrf_token_names_no_workspace() -> None:
    for text in ("", "x", "A" * 75, "é" * 75, sessions.csrf_token(mint("ses").text, new_uuid())[:-1]):
        assert sessions.csrf_workspace(text) is None


def test_a_link_s_secret_fits_a_terminal_s_line() -> None:
    assert all(is_link(mint_link()) for _ in range(50))
    assert len("Sign in    http://localhost:8642/sign-in/" + mint_link()) < 70


async def test_each_installation_has_an_id_of_its_own_that_stays(fresh_urls: FreshUrls) -> None:
    found: list[str] = []
    for _ in range(2):
        database = await Database.connect((await fresh_urls()).app)
        ids = await asyncio.gather(*(sessions.instance(database) for _ in range(5)))
        assert len(set(ids)) == 1
        found.append(ids[0])
        await database.close()
    assert found[0] != found[1]
    assert all(len(text) == 8 and int(text, 16) >= 0 for text in found)


async def test_what_ended_long_ago_is_swept_out_by_the_next_link(world: World, ada: Tenant) -> None:
    old = mint_link()
    async with world.database.system() as connection:
        await session_store.make_link(connection, ada.owner, digest(old), -timedelta(days=2), None)
    await session_lasting(world, ada, -timedelta(days=31), timedelta(days=90))
    assert await sessions.read_link(world.database, old) is None
    await link_of(world, ada)
    async with definer(world.urls) as connection:
        left = await connection.fetchval("SELECT count(*) FROM porch.sessions WHERE user_id = $1", ada.owner)
    assert left == 0


def test_a_principal_is_a_token_s_unless_it_says_otherwise() -> None:
    one = Principal("user", new_uuid(), new_uuid(), "ada", "owner", frozenset(), new_uuid())
    assert one.via == "token"
    assert replace(one, via="session").via == "session"
