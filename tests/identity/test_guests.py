"""Guests at the service: tokens, who goes for good and when, and what it costs as they grow many."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import cast
from uuid import UUID

import pytest

from porch.contract.errors import Forbidden, Unauthenticated
from porch.contract.ids import format_id, new_uuid
from porch.identity import guest_store, guests
from porch.identity.authentication import Authenticator
from porch.identity.guests import BACK, Visit, admit, authenticate_guest, purge_guests
from porch.identity.limits import RUNS, use_limit
from porch.identity.origins import OriginNotAllowed
from porch.identity.tokens import digest, mint
from porch.storage.connection import Connection
from porch.storage.database import Database
from tests.http.app import Tenant, World, definer
from tests.http.visitors import OTHER_SITE, SITE
from tests.postgres import TestServer

MANY = 5_000


async def agent_of(database: Database, workspace: UUID, *sites: str, name: str = "helper") -> UUID:
    """An agent that these sites embed."""
    agent = new_uuid()
    async with database.tenant(workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, $3, '{}')",
            workspace,
            agent,
            name,
        )
        for place, site in enumerate(sites):
            await connection.execute(
                "INSERT INTO porch.agent_origins VALUES ($1, $2, $3, $4)", workspace, agent, site, place
            )
    return agent


async def come(
    world: World, tenant: Tenant, agent: UUID, site: str = SITE, known_by: str | None = None
) -> Visit:
    async with world.database.tenant(tenant.workspace) as connection:
        return await admit(connection, tenant.workspace, agent, site, known_by=known_by, address="192.0.2.7")


async def test_a_guest_s_token_stands_for_one_agent_and_one_site(world: World, ada: Tenant) -> None:
    agent = await agent_of(world.database, ada.workspace, SITE)
    visit = await come(world, ada, agent)
    principal = await Authenticator(world.database).guest(visit.token, SITE)
    assert (principal.kind, principal.id, principal.workspace) == ("guest", visit.guest, ada.workspace)
    assert (principal.agent, principal.origin) == (agent, SITE)
    assert principal.label == f"guest:{format_id('gst', visit.guest)}"
    assert principal.scopes == {f"run:agents:{format_id('agt', agent)}", "read:conversations"}
    assert visit.token not in repr(visit)


async def test_a_token_sent_as_another_kind_finds_nothing(world: World, ada: Tenant) -> None:
    visit = await come(world, ada, await agent_of(world.database, ada.workspace, SITE))
    authenticator = Authenticator(world.database)
    with pytest.raises(Unauthenticated):
        await authenticator(visit.token)
    with pytest.raises(Unauthenticated):
        await authenticator.session(visit.token)
    for other in (mint("pat").text, mint("ses").text, mint("gst").text, ada.client.token or "", "porch_gst_"):
        with pytest.raises(Unauthenticated):
            await authenticator.guest(other, SITE)


async def test_what_is_remembered_of_a_token_is_checked_against_each_request_s_site(
    world: World, ada: Tenant
) -> None:
    visit = await come(world, ada, await agent_of(world.database, ada.workspace, SITE))
    authenticator = Authenticator(world.database)
    await authenticator.guest(visit.token, SITE)
    await authenticator.guest(visit.token, None)
    for other in (OTHER_SITE, "null", ""):
        with pytest.raises(OriginNotAllowed):
            await authenticator.guest(visit.token, other)


async def test_a_site_that_another_agent_has_does_not_count(world: World, ada: Tenant) -> None:
    agent = await agent_of(world.database, ada.workspace, OTHER_SITE)
    await agent_of(world.database, ada.workspace, SITE, name="other")
    visit = await come(world, ada, agent, SITE)
    with pytest.raises(Forbidden):
        await authenticate_guest(world.database, visit.token)


async def test_two_tabs_that_come_back_at_once_are_one_guest(world: World, ada: Tenant) -> None:
    agent = await agent_of(world.database, ada.workspace, SITE)
    first = await come(world, ada, agent)
    tabs = await asyncio.gather(*(come(world, ada, agent, known_by=first.token) for _ in range(4)))
    assert {tab.guest for tab in tabs} == {first.guest}
    assert len({tab.token for tab in tabs}) == 4


async def begin(world: World, tenant: Tenant, agent: UUID, guest: UUID) -> None:
    async with world.database.tenant(tenant.workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id)"
            " VALUES ($1, $2, $3, 'guest', $4)",
            tenant.workspace,
            new_uuid(),
            agent,
            guest,
        )


async def left(world: World, tenant: Tenant) -> dict[str, set[UUID]]:
    async with world.database.tenant(tenant.workspace) as connection:
        tokens = await connection.fetch("SELECT guest_id FROM porch.guest_tokens")
        found = await connection.fetch("SELECT id FROM porch.guests")
    return {"tokens": {row["guest_id"] for row in tokens}, "guests": {row["id"] for row in found}}


async def purge(world: World) -> int:
    """Rounds until there is nothing to do; how many those were."""
    rounds = 0
    while await purge_guests(world.database, 500):
        rounds += 1
        assert rounds < 10
    return rounds


async def test_guests_go_a_month_after_their_last_token_unless_they_said_something(
    world: World, ada: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await agent_of(world.database, ada.workspace, SITE)
    fresh = await come(world, ada, agent)
    monkeypatch.setattr(guests, "LIFETIME", -BACK + timedelta(hours=1))
    resting = await come(world, ada, agent)
    monkeypatch.setattr(guests, "LIFETIME", -BACK - timedelta(hours=1))
    silent, talked = await come(world, ada, agent), await come(world, ada, agent)
    await begin(world, ada, agent, talked.guest)
    await purge(world)
    stay = {fresh.guest, resting.guest}
    assert await left(world, ada) == {"tokens": stay, "guests": {*stay, talked.guest}}
    assert silent.guest not in stay
    async with world.database.tenant(ada.workspace) as connection:
        # Who stays is not looked at again in every round.
        rests = await connection.fetchval(
            "SELECT kept_until - now() FROM porch.guests WHERE id = $1", talked.guest
        )
        assert rests > BACK - timedelta(hours=1)
        await connection.execute("DELETE FROM porch.agents WHERE id = $1", agent)
    assert await left(world, ada) == {"tokens": set(), "guests": set()}


async def test_limits_are_forgotten_when_all_of_them_is_free(world: World, ada: Tenant) -> None:
    async with world.database.tenant(ada.workspace) as connection:
        for name in ("old", "new"):
            await use_limit(connection, ada.workspace, replace(RUNS, every=timedelta(hours=1)), name)
        await connection.execute(
            "UPDATE porch.rate_limits SET free_at = now() - interval '1 second' WHERE subject = ("
            " SELECT subject FROM porch.rate_limits ORDER BY subject LIMIT 1)"
        )
    await purge(world)
    async with world.database.tenant(ada.workspace) as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.rate_limits") == 1


# ---------------------------------------------------------------- many


@pytest.fixture(scope="module")
async def crowd(postgres: TestServer) -> AsyncIterator[tuple[Database, UUID, UUID]]:
    """A database with thousands of guests, tokens, sites and limits; one of its workspaces, and an agent there."""
    urls = await postgres.create()
    database = await Database.connect(urls.app)
    workspace = new_uuid()
    async with definer(urls) as connection:
        await connection.execute(
            "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, 'crowd', 'c')", workspace
        )
    agent = await agent_of(database, workspace, SITE)
    async with database.tenant(workspace) as connection:
        await fill(connection, workspace, agent)
    async with definer(urls) as connection:
        await connection.execute("RESET ROLE")
        for table in ("guests", "guest_tokens", "agent_origins", "rate_limits", "conversations"):
            await connection.execute(f"ANALYZE porch.{table}")
    yield database, workspace, agent
    await database.close()
    await postgres.drop(urls)


async def fill(connection: Connection, workspace: UUID, agent: UUID) -> None:
    await connection.execute(
        "INSERT INTO porch.guests (workspace_id, id, agent_id, kept_until)"
        " SELECT $1, gen_random_uuid(), $2, now() + n * interval '1 hour' FROM generate_series(1, $3::int) n",
        workspace,
        agent,
        MANY,
    )
    await connection.execute(
        "INSERT INTO porch.guest_tokens (workspace_id, id, guest_id, origin, hash, expires_at)"
        " SELECT $1, gen_random_uuid(), g.id, $2, sha256(uuid_send(g.id)), g.kept_until FROM porch.guests g",
        workspace,
        SITE,
    )
    await connection.execute(
        "INSERT INTO porch.agent_origins (workspace_id, agent_id, origin, place)"
        " SELECT $1, $2, 'https://' || n || '.example', n FROM generate_series(1, $3::int) n",
        workspace,
        agent,
        MANY,
    )
    await connection.execute(
        "INSERT INTO porch.rate_limits (workspace_id, subject, free_at)"
        " SELECT $1, sha256(uuid_send(g.id)), now() + interval '1 hour' FROM porch.guests g",
        workspace,
    )
    await connection.execute(
        "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id)"
        " SELECT $1, gen_random_uuid(), $2, 'guest', g.id FROM porch.guests g",
        workspace,
        agent,
    )


async def pages(connection: Connection, query: str, *args: object) -> int:
    """How many pages of the database a statement touches."""
    explained = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {query}"
    await connection.fetch(explained, *args)  # which reads the catalogue too
    plan = await connection.fetch(explained, *args)
    text = "\n".join(row[0] for row in plan)
    found = re.search(r"Buffers: shared (?:hit=(\d+))?(?: read=(\d+))?", text)
    assert found, text
    return sum(int(number or 0) for number in found.groups())


@pytest.mark.parametrize(
    ("query", "most"),
    [
        ("SELECT * FROM porch.authenticate_guest($1)", 30),
        ("SELECT porch.knows_origin($1)", 15),
        ("SELECT * FROM porch.follow_handle($1)", 15),
        ("SELECT porch.use_limit($1, $2, interval '1 hour', 3)", 40),
        ("SELECT porch.purge_guests(interval '30 days', 500)", 60),
    ],
)
async def test_among_thousands_each_question_touches_a_few_pages(
    crowd: tuple[Database, UUID, UUID], query: str, most: int
) -> None:
    database, workspace, _ = crowd
    async with database.tenant(workspace) as connection:
        guest = await connection.fetchval("SELECT id FROM porch.guests LIMIT 1")
        token = await connection.fetchval("SELECT hash FROM porch.guest_tokens LIMIT 1")
        args: dict[str, tuple[object, ...]] = {
            "authenticate_guest": (token,),
            "knows_origin": ("https://2500.example",),
            "follow_handle": ("crowd",),
            "use_limit": (workspace, digest(str(guest))),
            "purge_guests": (),
        }
        asked = query.partition("porch.")[2].partition("(")[0]
        assert await pages(connection, query, *args[asked]) <= most


class Heard:
    """Notes what a function asks the database."""

    query: str
    args: tuple[object, ...]

    async def fetchval(self, query: str, *args: object) -> None:
        self.query, self.args = query, args


async def test_whether_a_guest_is_busy_elsewhere_is_found_in_a_few_pages(
    crowd: tuple[Database, UUID, UUID],
) -> None:
    database, workspace, _ = crowd
    heard = Heard()
    async with database.tenant(workspace) as connection:
        guest = await connection.fetchval("SELECT id FROM porch.guests LIMIT 1")
        await guest_store.has_run_elsewhere(cast("Connection", heard), workspace, guest, new_uuid())
        assert await pages(connection, heard.query, *heard.args) <= 20
