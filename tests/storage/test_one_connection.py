"""Row-level security with one connection for all: plans, errors and cancels of one workspace reach no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import asyncpg
import pytest

from porch.contract.ids import new_uuid
from porch.storage.connection import connected
from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from tests.conftest import FreshUrls
from tests.storage.test_walls import add_workspace, rows

COUNT = "SELECT array_agg(workspace_id) FROM porch.agents"
INSERT = "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, 'a', '{}')"


@pytest.fixture
async def urls(fresh_urls: FreshUrls) -> PostgresUrls:
    return await fresh_urls()


@pytest.fixture
async def narrow(urls: PostgresUrls) -> AsyncIterator[Database]:
    """A pool of one connection."""
    database = await Database.connect(urls.app, pool_size=1)
    yield database
    await database.close()


async def settle(narrow: Database, urls: PostgresUrls) -> tuple[list[UUID], dict[UUID, UUID]]:
    """Two workspaces with an agent each."""
    found = [await add_workspace(urls), await add_workspace(urls)]
    agents = {workspace: new_uuid() for workspace in found}
    for workspace in found:
        async with narrow.tenant(workspace) as connection:
            await connection.execute(INSERT, workspace, agents[workspace])
    return found, agents


async def sees_only(narrow: Database, workspace: UUID) -> None:
    async with narrow.tenant(workspace) as connection:
        assert await connection.fetchval(COUNT) == [workspace]
    async with narrow.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM porch.agents") == 0


@pytest.mark.parametrize("plans", ["auto", "force_generic_plan", "force_custom_plan"])
async def test_a_cached_plan_serves_each_workspace_its_own(
    narrow: Database, urls: PostgresUrls, plans: str
) -> None:
    workspaces, agents = await settle(narrow, urls)
    async with narrow.system() as connection:
        await connection.execute(f"SET plan_cache_mode = {plans}")
    for _ in range(12):
        for mine, theirs in (workspaces, workspaces[::-1]):
            async with narrow.tenant(mine) as connection:
                read = "SELECT workspace_id FROM porch.agents WHERE id = $1"
                assert await connection.fetchval(read, agents[mine]) == mine
                assert await connection.fetchval(read, agents[theirs]) is None
                assert await connection.fetchval(COUNT) == [mine]


async def test_many_at_once_take_turns_and_see_their_own(narrow: Database, urls: PostgresUrls) -> None:
    workspaces, _ = await settle(narrow, urls)
    await asyncio.gather(*(sees_only(narrow, workspaces[number % 2]) for number in range(30)))


async def test_an_error_leaves_no_workspace_behind(narrow: Database, urls: PostgresUrls) -> None:
    (ada, eve), _ = await settle(narrow, urls)
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with narrow.tenant(ada) as connection:
            await connection.execute("SELECT 1 / 0")
    await sees_only(narrow, eve)

    async def fail() -> None:
        async with narrow.tenant(ada) as connection:
            await connection.fetchval(COUNT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await sees_only(narrow, eve)


async def test_a_cancelled_query_leaves_no_workspace_behind(narrow: Database, urls: PostgresUrls) -> None:
    (ada, eve), _ = await settle(narrow, urls)

    async def sleep() -> None:
        async with narrow.tenant(ada) as connection:
            await connection.fetchval("SELECT pg_sleep(30)")

    sleeper = asyncio.create_task(sleep())
    await asyncio.sleep(0.2)
    sleeper.cancel()
    with suppress(asyncio.CancelledError):
        await sleeper
    await sees_only(narrow, eve)


async def test_a_savepoint_that_is_rolled_back_keeps_the_workspace(
    narrow: Database, urls: PostgresUrls
) -> None:
    (ada, _), _ = await settle(narrow, urls)
    async with narrow.tenant(ada) as connection:
        await connection.execute("SAVEPOINT part")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.execute("SELECT 1 / 0")
        await connection.execute("ROLLBACK TO part")
        assert await connection.fetchval(COUNT) == [ada]


async def test_nothing_refers_into_another_workspace(narrow: Database, urls: PostgresUrls) -> None:
    (ada, eve), agents = await settle(narrow, urls)
    columns = "(workspace_id, agent_id, origin, place)"
    origin = f"INSERT INTO porch.agent_origins {columns} VALUES ($1, $2, 'https://a.example', 1)"
    async with narrow.tenant(ada) as connection:
        await connection.execute(origin, ada, agents[ada])
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with narrow.tenant(eve) as connection:
            await connection.execute(origin, eve, agents[ada])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with narrow.tenant(eve) as connection:
            await connection.execute(origin, ada, agents[ada])


async def test_there_is_no_view_that_would_read_as_its_owner(urls: PostgresUrls) -> None:
    found = await rows(
        urls,
        "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'porch'::regnamespace",
    )
    assert found == []


async def test_a_function_asked_with_another_s_ids_tells_nothing(
    narrow: Database, urls: PostgresUrls
) -> None:
    (ada, eve), _ = await settle(narrow, urls)
    user = new_uuid()
    async with connected(urls.owner) as connection:
        await connection.execute("SET ROLE porch_definer")
        await connection.execute("INSERT INTO porch.users (id, name) VALUES ($1, 'Ada')", user)
        await connection.execute(
            "INSERT INTO porch.memberships (workspace_id, user_id, role) VALUES ($1, $2, 'owner')", ada, user
        )
    async with narrow.system() as connection:
        assert await connection.fetchval("SELECT porch.is_member($1, $2)", user, ada) is True
        assert await connection.fetchval("SELECT porch.is_member($1, $2)", user, eve) is False
        assert (
            await connection.fetchval("SELECT porch.switch_workspace($1, $2, $3)", new_uuid(), user, eve.hex)
            is False
        )
