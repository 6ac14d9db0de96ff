"""From a token to a principal, by porch.authenticate_token."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from porch.contract.errors import Unauthenticated
from porch.contract.ids import format_id
from porch.identity.authentication import Authenticator, authenticate
from porch.identity.tokens import mint
from porch.storage.database import Database
from tests.http.app import Tenant, World, definer


async def test_a_token_stands_for_its_user_in_its_workspace(world: World, ada: Tenant) -> None:
    found = await authenticate(world.database, await world.token(ada.workspace, ada.owner, ["read:agents"]))
    assert (found.kind, found.id, found.workspace, found.workspace_handle) == (
        "user",
        ada.owner,
        ada.workspace,
        ada.handle,
    )
    assert found.role == "owner"
    assert found.scopes == frozenset({"read:agents"})
    assert found.label == f"user:{format_id('usr', ada.owner)}"


async def test_scopes_shrink_to_the_role_s(world: World, ada: Tenant) -> None:
    viewer = await world.join(ada.workspace, "viewer")
    found = await authenticate(world.database, await world.token(ada.workspace, viewer))
    assert not found.allows("write", "agents")
    assert found.allows("read", "agents")


async def test_unknown_revoked_and_expired_tokens_say_the_same(world: World, ada: Tenant) -> None:
    revoked = await world.token(ada.workspace, ada.owner)
    expired = await world.token(ada.workspace, ada.owner, lifetime=timedelta(microseconds=-1))
    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute(
            "UPDATE porch.tokens SET revoked_at = now() WHERE workspace_id = $1 AND prefix = $2",
            ada.workspace,
            revoked[:16],
        )
    sentences: set[str] = set()
    for text in (mint().text, revoked, expired):
        with pytest.raises(Unauthenticated) as caught:
            await authenticate(world.database, text)
        sentences.add(caught.value.message)
    assert len(sentences) == 1


async def test_a_token_dies_with_its_user_s_membership(world: World, ada: Tenant) -> None:
    editor = await world.join(ada.workspace, "editor")
    token = await world.token(ada.workspace, editor)
    await authenticate(world.database, token)
    async with definer(world.urls) as connection:
        await connection.execute("RESET ROLE")
        await connection.execute("ALTER TABLE porch.memberships NO FORCE ROW LEVEL SECURITY")
        await connection.execute("DELETE FROM porch.memberships WHERE user_id = $1", editor)
        await connection.execute("ALTER TABLE porch.memberships FORCE ROW LEVEL SECURITY")
    with pytest.raises(Unauthenticated):
        await authenticate(world.database, token)


async def test_what_cannot_be_a_token_costs_no_database_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Database) -> Any:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(Database, "system", fail)
    for text in ("", "porch_pat_nonsense", mint().text[:-1] + "!"):
        with pytest.raises(Unauthenticated, match="Copy the token again"):
            await authenticate(world.database, text)


async def test_the_last_use_is_noted_behind_the_answer_and_at_most_once_a_minute(
    world: World, ada: Tenant
) -> None:
    text = await world.token(ada.workspace, ada.owner)
    authenticator = Authenticator(world.database)
    await asyncio.gather(*(authenticator(text, "192.0.2.1") for _ in range(5)))
    await authenticator.close()
    authenticator.forget()
    first = await _last_use(world, ada, text)
    assert first[0] is not None
    assert first[1] == "192.0.2.1"

    await authenticator(text, "192.0.2.2")
    await authenticator.close()
    assert await _last_use(world, ada, text) == first

    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute(
            "UPDATE porch.tokens SET last_used_at = now() - interval '61 seconds'"
            " WHERE workspace_id = $1 AND prefix = $2",
            ada.workspace,
            text[:16],
        )
    authenticator.forget()
    await authenticator(text, "192.0.2.2")
    await authenticator.close()
    assert (await _last_use(world, ada, text))[1] == "192.0.2.2"


async def _last_use(world: World, tenant: Tenant, text: str) -> tuple[Any, Any]:
    async with world.database.tenant(tenant.workspace) as connection:
        row = await connection.fetchrow(
            "SELECT last_used_at, last_used_from FROM porch.tokens WHERE workspace_id = $1 AND prefix = $2",
            tenant.workspace,
            text[:16],
        )
    assert row
    return row[0], row[1]


async def test_a_token_is_asked_of_the_database_once_a_second_and_forgotten_when_one_is_revoked(
    world: World, ada: Tenant
) -> None:
    text = await world.token(ada.workspace, ada.owner)
    authenticator = Authenticator(world.database)
    principal = await authenticator(text)
    async with world.database.tenant(ada.workspace) as connection:
        await connection.execute(
            "UPDATE porch.tokens SET revoked_at = now() WHERE workspace_id = $1 AND prefix = $2",
            ada.workspace,
            text[:16],
        )
    assert await authenticator(text) is principal
    authenticator.forget()
    with pytest.raises(Unauthenticated):
        await authenticator(text)
    await authenticator.close()


async def test_an_expired_token_is_not_remembered_beyond_its_end(world: World, ada: Tenant) -> None:
    text = await world.token(ada.workspace, ada.owner, lifetime=timedelta(seconds=0.3))
    authenticator = Authenticator(world.database)
    await authenticator(text)
    await _until_refused(authenticator, text)
    await authenticator.close()


async def _until_refused(authenticator: Authenticator, text: str) -> None:
    async with asyncio.timeout(5):
        try:
            while True:
                await authenticator(text)
                await asyncio.sleep(0.02)
        except Unauthenticated:
            return
