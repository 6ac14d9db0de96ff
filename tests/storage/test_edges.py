"""Where SQL has edges: days that are not 24 hours long, very large values, empty ones, and servers that die."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from porch.contract.ids import new_uuid
from porch.storage.connection import Connection, connected
from porch.storage.database import Database
from porch.storage.migrate import Migration, migrate, read_migrations
from porch.storage.retrying import TransactionConflict, retried
from tests.conftest import FreshUrls
from tests.storage.test_migrate import RELEASED

# Each of them has an hour more or less at some moment of any half year.
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]

SLOW = "CREATE TABLE porch.slow (n int); SELECT pg_sleep(60);"
MIGRATE = """
import asyncio, sys
from porch.storage.migrate import Migration, migrate, read_migrations
known = read_migrations()
asyncio.run(migrate(sys.argv[1], migrations=[*known, Migration(len(known) + 1, "slow", sys.argv[2])]))
"""


@pytest.mark.parametrize("zone", ZONES)
async def test_a_day_has_24_hours_in_every_time_zone(fresh_urls: FreshUrls, zone: str) -> None:
    urls = await fresh_urls()
    async with connected(urls.admin) as admin:
        name = await admin.fetchval("SELECT current_database()")
        await admin.execute(f"ALTER DATABASE {name} SET timezone = '{zone}'")
    database = await Database.connect(urls.app)
    try:
        async with database.system() as connection:
            for days in (1, 30, 91, 182, 273):
                row = await connection.fetchrow(
                    "SELECT now() AS now, now() + $1 AS end", timedelta(days=days)
                )
                assert row is not None
                assert row["end"] - row["now"] == timedelta(days=days)
            at = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
            assert await connection.fetchval("SELECT $1::timestamptz::text", at) == "2026-03-29 01:30:00+00"
    finally:
        await database.close()


async def test_a_transaction_that_meets_another_is_done_again_until_it_holds(database: Database) -> None:
    """Two transactions that take two rows in opposite order, all at once: a real deadlock each time."""
    workspace, ids = new_uuid(), sorted([new_uuid(), new_uuid()])
    meeting = asyncio.Barrier(2)
    met = False

    @retried
    async def write(first: int, second: int) -> None:
        nonlocal met
        async with database.tenant(workspace) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", str(ids[first]))
            if not met:
                await meeting.wait()
                met = True
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", str(ids[second]))

    await asyncio.gather(write(0, 1), write(1, 0))


async def test_a_conflict_that_never_ends_is_told(database: Database) -> None:
    attempts = 0

    @retried
    async def write() -> None:
        nonlocal attempts
        attempts += 1
        async with database.system() as connection:
            await connection.execute("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$")

    with pytest.raises(TransactionConflict, match="nothing of this was saved"):
        await write()
    assert attempts == 4


async def test_a_migration_whose_process_is_killed_leaves_nothing_and_runs_again(
    fresh_urls: FreshUrls, tmp_path: Path
) -> None:
    urls = await fresh_urls()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MIGRATE, urls.owner, SLOW, stdout=subprocess.PIPE
    )
    quick = Migration(len(read_migrations()) + 1, "slow", SLOW.replace("pg_sleep(60)", "1"))
    async with asyncio.timeout(30), connected(urls.admin) as admin:
        while not await admin.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active'"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        ):
            await asyncio.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        # PostgreSQL finds out at the next word it wants to say; an impatient operator says so earlier.
        again = asyncio.create_task(migrate(urls.owner, migrations=[*read_migrations(), quick]))
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%'"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert [migration.name for migration in await again] == ["slow"]
        assert await admin.fetchval("SELECT count(*) FROM porch.slow") == 0


FUNCTIONS = """
    SELECT p.oid::regprocedure::text AS name, pg_get_function_result(p.oid) AS result,
           has_function_privilege('porch_app', p.oid, 'EXECUTE') AS callable
    FROM pg_proc p WHERE p.pronamespace = 'porch'::regnamespace
"""
COLUMNS = """
    SELECT c.relname || '.' || a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
           has_column_privilege('porch_app', c.oid, a.attnum, 'SELECT') AS read,
           has_column_privilege('porch_app', c.oid, a.attnum, 'INSERT') AS written,
           has_column_privilege('porch_app', c.oid, a.attnum, 'UPDATE') AS changed
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'porch'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
"""
REQUIRED = """
    SELECT c.relname || '.' || a.attname
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'porch'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND NOT c.relispartition
"""


async def named(connection: Connection, query: str) -> dict[str, dict[str, object]]:
    return {row["name"]: dict(row.items()) for row in await connection.fetch(query)}


async def test_a_replica_of_the_released_version_finds_all_that_it_uses(fresh_urls: FreshUrls) -> None:
    """During a rolling upgrade it goes on: each function, column and right of its own is there, and no column is
    demanded of it that it does not know.
    """
    urls = await fresh_urls(migrated=False)
    await migrate(urls.owner, migrations=read_migrations()[: len(RELEASED)])
    async with connected(urls.admin) as admin:
        before = {
            query: {row["name"]: dict(row.items()) for row in await admin.fetch(query)}
            for query in (FUNCTIONS, COLUMNS)
        }
        demanded = {row[0] for row in await admin.fetch(REQUIRED)}
        tables = {name.partition(".")[0] for name in before[COLUMNS]}
        await migrate(urls.owner)
        for query, known in before.items():
            now = await named(admin, query)
            assert {name: now.get(name) for name in known} == known
        new = {row[0] for row in await admin.fetch(REQUIRED)} - demanded
        assert not {name for name in new if name.partition(".")[0] in tables}
