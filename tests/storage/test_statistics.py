"""Young tables are looked at as they grow, so that a check of a foreign key reads one row and not all there are."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from porch.contract.ids import new_uuid
from porch.runs.store import NewRun, start_run
from porch.storage import statistics
from porch.storage.connection import Connection, connected
from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from porch.storage.statistics import LEAST_ROWS, analyze_young, keep_statistics
from tests.conftest import FreshUrls

RUNS = 40
CHECK = "PREPARE look (uuid, uuid) AS SELECT 1 FROM ONLY porch.runs x WHERE x.workspace_id = $1 AND x.id = $2"


@pytest.fixture
async def urls(fresh_urls: FreshUrls) -> PostgresUrls:
    return await fresh_urls()


async def open_workspace(urls: PostgresUrls, database: Database) -> tuple[UUID, UUID, UUID]:
    """A workspace, its agent, and a process that holds runs."""
    workspace, agent, process = new_uuid(), new_uuid(), new_uuid()
    async with connected(urls.owner) as owner:
        await owner.execute("SET ROLE porch_definer")
        await owner.execute(
            "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, 'w', 'w')", workspace
        )
    async with database.tenant(workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, 'a', '{}')",
            *(workspace, agent),
        )
    async with database.system() as connection:
        await connection.execute(
            "SELECT porch.register_process($1, 'here', 1, $2)", process, timedelta(minutes=10)
        )
    return workspace, agent, process


async def start(database: Database, workspace: UUID, agent: UUID, process: UUID) -> None:
    new = NewRun(
        workspace=workspace, conversation=new_uuid(), at_head=True, parent=None, message=new_uuid(),
        parts=b'[{"type":"text","text":"Hello"}]', title=None, run=new_uuid(), agent=agent, version=None,
        draft=b"{}", process=process, last_seq=1, frames=b"frame", opened_by=("user", agent),
        keep=timedelta(days=1),
    )  # fmt: skip
    assert await start_run(database, new) == ("started", None)
    async with database.system() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")  # it counts once a second otherwise


async def settle(connection: Connection, runs: int) -> None:
    """Wait until PostgreSQL has counted them: its processes tell of what they did."""
    async with asyncio.timeout(15):
        while (await counted(connection))[0] < runs:
            await asyncio.sleep(0.05)


async def counted(connection: Connection) -> tuple[int, int]:
    """Rows of the runs' table as PostgreSQL counts them, and as it knew when it last looked."""
    row = await connection.fetchrow(
        "SELECT s.n_live_tup, c.reltuples::integer FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid"
        " WHERE s.relid = 'porch.runs'::regclass"
    )
    assert row is not None
    return row[0], row[1]


async def test_tables_are_looked_at_whenever_they_have_doubled(urls: PostgresUrls) -> None:
    database = await Database.connect(urls.app, 1)
    async with connected(urls.owner) as owner:
        assert await analyze_young(owner) == []
        home = await open_workspace(urls, database)
        for _ in range(LEAST_ROWS):
            await start(database, *home)
        await settle(owner, LEAST_ROWS)
        looked = await analyze_young(owner)
        assert {"porch.runs", "porch.messages", "porch.conversations"} <= set(looked)
        assert (await counted(owner))[1] == LEAST_ROWS
        assert await analyze_young(owner) == [], "nothing has grown"
        for _ in range(RUNS - LEAST_ROWS):
            await start(database, *home)
        await settle(owner, RUNS)
        assert "porch.runs" in await analyze_young(owner)
        assert (await counted(owner))[1] == RUNS
        await owner.execute(
            f"SET ROLE porch_definer; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; {CHECK}"
        )
        plan = [row[0] for row in await owner.fetch("EXPLAIN EXECUTE look (NULL, NULL)")]
        assert "runs_pkey" in plan[0], plan
    async with connected(urls.app) as other:
        assert await analyze_young(other) == [], "they are not its own"
    await database.close()


async def test_a_server_looks_by_itself(urls: PostgresUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(statistics, "REST_SECONDS", 0.2)
    database = await Database.connect(urls.app, 1)
    home = await open_workspace(urls, database)
    keeping = asyncio.create_task(keep_statistics(urls.owner))
    for _ in range(LEAST_ROWS):
        await start(database, *home)
    async with connected(urls.owner) as owner, asyncio.timeout(20):
        while (await counted(owner))[1] < LEAST_ROWS:
            await asyncio.sleep(0.05)
    keeping.cancel()
    await asyncio.wait([keeping])
    await database.close()


async def test_who_owns_no_table_does_not_go_on_looking(
    urls: PostgresUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "LOOK_SECONDS", 0.01)
    async with asyncio.timeout(10):
        await keep_statistics(urls.app)


async def test_a_database_that_dies_holds_it_up_and_no_more(
    urls: PostgresUrls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks, again = 0, asyncio.Event()

    async def die(connection: Connection) -> list[str]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        again.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise asyncpg.InterfaceError("what a statement says that is cancelled") from None
        return []

    monkeypatch.setattr(statistics, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(statistics, "analyze_young", die)
    with caplog.at_level("INFO", "porch.storage.statistics"):
        keeping = asyncio.create_task(keep_statistics(urls.owner))
        async with asyncio.timeout(10):
            await again.wait()
            keeping.cancel()
            await asyncio.wait([keeping])
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "must wait" in caplog.text
