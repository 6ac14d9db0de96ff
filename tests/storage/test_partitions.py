"""The journal's months: the released table becomes the first, others come and go, and nothing ever has no place."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from porch.contract.ids import new_uuid
from porch.storage import partitions
from porch.storage.connection import Connection, connected
from porch.storage.embedded import PostgresUrls
from porch.storage.migrate import migrate, read_migrations
from porch.storage.partitions import lowest_id, tend_partitions
from tests.conftest import FreshUrls

NOW = datetime.now(UTC)
LATER = NOW.replace(day=15) + timedelta(days=400)


@pytest.fixture
async def urls(fresh_urls: FreshUrls) -> PostgresUrls:
    return await fresh_urls()


@pytest.fixture
async def definer(urls: PostgresUrls) -> AsyncIterator[Connection]:
    async with connected(urls.owner) as connection:
        await connection.execute("SET ROLE porch_definer")
        yield connection


async def add_run(urls: PostgresUrls, run: UUID, *, rows: int = 3) -> UUID:
    """A workspace with one run of this id, as the app writes it; answers the workspace."""
    workspace, agent, conversation, message = (new_uuid() for _ in range(4))
    async with connected(urls.owner) as connection:
        await connection.execute("SET ROLE porch_definer")
        await connection.execute(
            "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, $2, $2)", workspace, workspace.hex
        )
    async with connected(urls.app) as connection, connection.transaction():
        await connection.execute(f"SET LOCAL porch.workspace = '{workspace}'")
        await connection.execute("INSERT INTO porch.agents VALUES ($1, $2, 'a', '{}')", workspace, agent)
        await connection.execute(
            "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id)"
            " VALUES ($1, $2, $3, 'user', $3)",
            *(workspace, conversation, agent),
        )
        await connection.execute(
            "INSERT INTO porch.messages (workspace_id, id, conversation_id, role, parts)"
            " VALUES ($1, $2, $3, 'user', '[]')",
            *(workspace, message, conversation),
        )
        await connection.execute(
            "INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, draft, input_message_id, status)"
            " VALUES ($1, $2, $3, $4, '{}', $5, 'failed')",
            *(workspace, run, conversation, agent, message),
        )
        for seq in range(1, rows + 1):
            await connection.execute(
                "INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)"
                " VALUES ($1, $2, $3, $3, 1, 'frame')",
                *(workspace, run, seq),
            )
    return workspace


async def places(connection: Connection, table: str = "journal") -> list[str]:
    rows = await connection.fetch(
        f"SELECT DISTINCT tableoid::regclass::text AS place FROM porch.{table} ORDER BY 1"
    )
    return [row["place"].removeprefix("porch.") for row in rows]


async def test_what_a_released_version_wrote_is_the_first_partition_without_being_copied(
    fresh_urls: FreshUrls,
) -> None:
    urls = await fresh_urls(migrated=False)
    migrations = read_migrations()
    await migrate(urls.owner, migrations=migrations[:9])
    ahead = lowest_id(NOW + timedelta(days=100))  # of a clock that is ahead
    for run in (new_uuid(), ahead):
        await add_run(urls, run)
    async with connected(urls.owner) as connection:
        file = await connection.fetchval("SELECT pg_relation_filenode('porch.journal')")
    await migrate(urls.owner, migrations=migrations)
    async with connected(urls.owner) as connection:
        assert await connection.fetchval("SELECT pg_relation_filenode('porch.journal_first')") == file
        keys = await connection.fetch(
            "SELECT conname, conparentid <> 0 AS inherited FROM pg_constraint"
            " WHERE conrelid = 'porch.journal_first'::regclass AND contype IN ('f', 'p') ORDER BY contype"
        )
        assert [row["inherited"] for row in keys] == [True, True]
        await connection.execute("SET ROLE porch_definer")
        assert await connection.fetchval("SELECT count(*) FROM porch.journal") == 6
        assert await places(connection) == ["journal_first"]
    await add_run(urls, new_uuid())


async def test_months_are_made_ahead_once_and_take_the_runs_that_begin_in_them(
    urls: PostgresUrls, definer: Connection
) -> None:
    change = await tend_partitions(urls.owner, now=NOW)
    assert len(change.made) == 4  # this month is the first partition's; the next two, of each table
    assert await tend_partitions(urls.owner, now=NOW) == type(change)()
    run = lowest_id(datetime(NOW.year + NOW.month // 12, NOW.month % 12 + 1, 3, tzinfo=UTC))
    workspace = await add_run(urls, run)
    assert await places(definer) == [change.made[0]]
    await definer.execute("SET ROLE porch_definer")
    assert (
        await definer.fetchval("SELECT count(*) FROM porch.journal WHERE workspace_id = $1", workspace) == 3
    )


async def test_a_run_of_a_month_that_nobody_made_is_written_and_its_month_is_left_alone(
    urls: PostgresUrls, definer: Connection
) -> None:
    await add_run(urls, lowest_id(LATER))
    assert await places(definer) == ["journal_rest"]
    made = (await tend_partitions(urls.owner, now=LATER)).made
    assert f"journal_{LATER:%Y_%m}" not in made
    assert f"journal_packs_{LATER:%Y_%m}" in made
    assert len(made) == 5
    assert await definer.fetchval("SELECT count(*) FROM porch.journal") == 3


async def test_an_old_month_goes_when_nothing_is_in_it_and_not_before(
    urls: PostgresUrls, definer: Connection
) -> None:
    kept = lowest_id(NOW + timedelta(minutes=1))
    workspace = await add_run(urls, kept)
    await tend_partitions(urls.owner, now=NOW)
    # Without the months that were made and remained empty, and with the one that holds a run.
    assert len((await tend_partitions(urls.owner, now=LATER)).removed) == 2
    assert await places(definer) == ["journal_first"]
    await definer.execute("DELETE FROM porch.journal WHERE workspace_id = $1", workspace)
    assert (await tend_partitions(urls.owner, now=LATER)).removed == ["journal_first"]
    await add_run(urls, lowest_id(NOW + timedelta(minutes=2)))
    assert await places(definer) == ["journal_rest"]


async def test_a_busy_journal_is_not_held_up_and_the_month_comes_with_the_next_look(
    urls: PostgresUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PATIENCE", "SET LOCAL lock_timeout = '20ms'")
    async with connected(urls.owner) as other, other.transaction():
        await other.execute("LOCK TABLE porch.journal IN SHARE UPDATE EXCLUSIVE MODE")
        change = await tend_partitions(urls.owner, now=NOW)
        assert [name for name in change.made if not name.startswith("journal_packs")] == []
        assert len(change.busy) == 2
    assert len((await tend_partitions(urls.owner, now=NOW)).made) == 2


@pytest.mark.parametrize(
    "held",
    [
        "porch.journal_rest, porch.journal_packs_rest IN ACCESS SHARE MODE",  # as a backup does for hours
        "porch.runs IN ROW EXCLUSIVE MODE",
    ],
)
async def test_nobody_waits_long_behind_a_month_that_waits_for_others(urls: PostgresUrls, held: str) -> None:
    slowest = 0.0
    async with connected(urls.owner) as other, connected(urls.app) as reader, other.transaction():
        await other.execute(f"LOCK TABLE {held}")
        tending = asyncio.create_task(tend_partitions(urls.owner, now=NOW))
        while not tending.done():
            began = time.monotonic()
            async with reader.transaction():
                await reader.execute("LOCK TABLE porch.runs IN ROW EXCLUSIVE MODE")  # as any write does
                await reader.fetchval("SELECT count(*) FROM porch.journal")
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.02)
        assert len((await tending).busy) == 4
    assert slowest < 1.0
    assert len((await tend_partitions(urls.owner, now=NOW)).made) == 4


async def test_who_does_not_own_the_tables_leaves_them_alone_and_two_owners_do_it_once(
    urls: PostgresUrls,
) -> None:
    assert (await tend_partitions(urls.app, now=NOW)).made == []
    changes = await asyncio.gather(*(tend_partitions(urls.owner, now=NOW) for _ in range(3)))
    assert len([name for change in changes for name in change.made]) == 4


async def test_a_partition_is_closed_to_the_app_and_the_definer_by_its_own_name(urls: PostgresUrls) -> None:
    made = (await tend_partitions(urls.owner, now=NOW)).made
    workspace = await add_run(urls, new_uuid())
    names = [*made, "journal_first", "journal_rest", "journal_packs_first", "journal_packs_rest"]
    async with connected(urls.app) as connection:
        await connection.execute(f"SET porch.workspace = '{workspace}'")
        assert await connection.fetchval("SELECT count(*) FROM porch.journal") == 3
        for name in names:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetchval(f"SELECT count(*) FROM porch.{name}")
        await connection.execute(f"SET porch.workspace = '{new_uuid()}'")
        assert await connection.fetchval("SELECT count(*) FROM porch.journal") == 0
    async with connected(urls.owner) as connection:
        # The owner, too, sees nothing of a partition: it has the walls of its parent.
        assert await connection.fetchval("SELECT count(*) FROM porch.journal_first") == 0
        facts = await connection.fetch(
            "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS walled, c.relacl,"
            " (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies"
            " FROM pg_class c WHERE c.relnamespace = 'porch'::regnamespace AND c.relispartition AND c.relkind = 'r'"
        )
        assert {row["relname"] for row in facts} == set(names)
        assert all(row["walled"] and row["policies"] == 1 for row in facts)


async def test_a_deleted_run_takes_its_rows_and_its_pack_out_of_every_month(
    urls: PostgresUrls, definer: Connection
) -> None:
    await tend_partitions(urls.owner, now=NOW)
    workspace = await add_run(urls, lowest_id(NOW + timedelta(days=40)))
    await definer.execute("DELETE FROM porch.conversations WHERE workspace_id = $1", workspace)
    assert await definer.fetchval("SELECT count(*) FROM porch.journal") == 0


def test_the_lowest_id_is_below_every_id_of_its_moment_and_above_all_before() -> None:
    moment = datetime.now(UTC) - timedelta(milliseconds=1)
    assert lowest_id(moment) < new_uuid() < lowest_id(moment + timedelta(seconds=5))
