"""What looks into the journal reads what it needs and nothing else: counted by PostgreSQL, among thousands of runs."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from porch.contract.frames import START
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.egress import Egress
from porch.identity.service import keep_journals
from porch.models.service import Models
from porch.plugins.service import Tools
from porch.runs.claims import claim_runs
from porch.runs.packs import pack
from porch.runs.record import list_runs
from porch.runs.service import Runs
from porch.runs.upkeep import JournalUpkeep
from porch.storage.connection import Connection, connected
from porch.storage.database import Database
from porch.storage.partitions import tend_partitions
from tests.home import EVERYBODY
from tests.postgres import TestServer
from tests.runs.conftest import LEASE, Desk
from tests.runs.shelf import rows_of, shelve, story

MANY = 6_000
TABLES = ("journal", "journal_packs", "runs", "messages", "conversations")
# Their indexes are chosen by what the tables hold, and nobody looks after these by itself.
ANALYZED = (*TABLES, "workspaces", "processes")

READ = """
SELECT s.relname::text AS name, s.seq_tup_read AS rows FROM pg_stat_all_tables s
WHERE s.schemaname = 'porch' AND s.relname ~ '^(journal|runs|messages)'
"""


@pytest.fixture(scope="module")
async def counted(postgres: TestServer) -> AsyncIterator[tuple[Desk, Connection]]:
    """A desk in a workspace with thousands of runs, half of them packed, and who counts."""
    urls = await postgres.create()
    await tend_partitions(urls.owner)
    database = await Database.connect(urls.app)
    user, workspace = new_uuid(), new_uuid()
    async with connected(urls.admin) as admin, Egress() as egress:
        async with database.system() as connection:
            await connection.execute("SELECT porch.ensure_operator($1, 'Ada', $2, 'ada')", user, workspace)
        await fill(admin, workspace)
        principal = Principal("user", user, workspace, "ada", "owner", frozenset({"admin:*"}), new_uuid())
        runs = Runs(database, Models({}, egress, EVERYBODY), Tools(), lease_seconds=LEASE)
        await runs.start()
        yield Desk(database, principal, runs, egress=egress), admin
        await runs.stop()
    await database.close()
    await postgres.drop(urls)


async def fill(admin: Connection, workspace: UUID) -> None:
    """Runs in three months, as SQL makes them: the first half with small rows, the second packed."""
    agent, rows = new_uuid(), rows_of(new_uuid(), story(9), each=6)
    packed = pack(rows)
    await admin.execute("SET session_replication_role = replica")
    await admin.execute(
        "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, 'a', '{}')",
        workspace,
        agent,
    )
    await admin.execute(
        "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id)"
        " SELECT $1, md5('c' || n)::uuid, $2, 'user', $2 FROM generate_series(0, $3::int / 10) n",
        *(workspace, agent, MANY),
    )
    await admin.execute(
        f"CREATE TABLE many AS SELECT n, md5('c' || n / 10)::uuid AS conversation,"
        f" (lpad(to_hex((extract(epoch FROM now() + n * interval '50 days' / {MANY}) * 1000)::bigint), 12, '0')"
        f" || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS run"
        f" FROM generate_series(0, {MANY} - 1) n"
    )
    await admin.execute(
        "INSERT INTO porch.messages (workspace_id, id, conversation_id, role, parts)"
        " SELECT $1, run, conversation, 'user', '[]' FROM many",
        workspace,
    )
    # Ended just now, so that nobody packs them yet.
    await admin.execute(
        "INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, draft, input_message_id, status,"
        " finished_at) SELECT $1, run, conversation, $2, '{}', run, 'finished', now() FROM many",
        *(workspace, agent),
    )
    await admin.execute(
        "INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)"
        " SELECT $1, run, r.a, r.b, 1, r.c FROM many CROSS JOIN unnest($2::int[], $3::int[], $4::bytea[]) r (a, b, c)"
        " WHERE n % 2 = 0",
        *(workspace, [row.first for row in rows], [row.last for row in rows], [row.frames for row in rows]),
    )
    await admin.execute(
        "INSERT INTO porch.journal_packs"
        " (workspace_id, run_id, last_seq, codec, blocks, size, checksum, told, frames, ended_at)"
        " SELECT $1, run, $2, 'zlib', $3, $4, $5, '{}', $6, now() FROM many WHERE n % 2 = 1",
        *(workspace, packed.last, list(packed.blocks), packed.size, packed.checksum, packed.frames),
    )
    await admin.execute("RESET session_replication_role")
    for table in ANALYZED:
        await admin.execute(f"ANALYZE porch.{table}")


async def scanned(desk: Desk, admin: Connection) -> dict[str, int]:
    """Rows that were read by going through a whole table, so far."""
    # What a connection counted it tells when it has been idle for a while, or when it is asked to.
    async with desk.database.system() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
    await admin.execute("SELECT pg_stat_clear_snapshot()")
    return {row["name"]: row["rows"] for row in await admin.fetch(READ)}


async def test_following_and_listing_read_no_table_as_a_whole(counted: tuple[Desk, Connection]) -> None:
    desk, admin = counted
    before = await scanned(desk, admin)
    for place in range(0, MANY, MANY // 8):
        run = await admin.fetchval("SELECT run FROM many WHERE n = $1", place + place // 750 % 2)
        assert await desk.replay(run)
        where = await admin.fetchval("SELECT conversation FROM many WHERE run = $1", run)
        assert len(await list_runs(desk.database, desk.principal.workspace, where, None, 20)) == 10
    assert await scanned(desk, admin) == before


async def test_a_run_is_written_taken_over_and_ended_without_reading_others(
    counted: tuple[Desk, Connection],
) -> None:
    desk, admin = counted
    before = await scanned(desk, admin)
    for _ in range(3):
        await desk.ask("[[tokens 30]]")
    assert await claim_runs(desk.database, new_uuid(), 10) == []
    assert await scanned(desk, admin) == before


async def test_packing_and_keeping_read_the_runs_that_are_due_and_no_others(
    counted: tuple[Desk, Connection],
) -> None:
    desk, admin = counted
    due = [await shelve(desk, story(9), age=timedelta(days=40)) for _ in range(3)]
    before = await scanned(desk, admin)
    work = JournalUpkeep(desk.database)
    assert await work.pack(rest=0) == 3
    await keep_journals(desk.principal, desk.database, 30)
    assert await work.keep() == 3
    assert await scanned(desk, admin) == before
    assert due


async def test_a_cursor_in_a_month_touches_the_partitions_of_that_month_alone(
    counted: tuple[Desk, Connection],
) -> None:
    desk, admin = counted
    run = await admin.fetchval("SELECT run FROM many WHERE n = $1", MANY - 2)
    async with desk.database.tenant(desk.principal.workspace) as connection:
        rows = await connection.fetch(
            "EXPLAIN SELECT frames FROM porch.journal WHERE workspace_id = $1 AND run_id = $2 AND first_seq > 3",
            *(desk.principal.workspace, run),
        )
    plan = "\n".join(row[0] for row in rows)
    assert "_pkey" in plan
    assert not {name for name in ("journal_first", "journal_rest") if name in plan}
    assert await desk.runs.follow(desk.principal, run, START)


WRITE_ONE = """
SELECT * FROM porch.write_journal($1, ARRAY[$2::uuid], ARRAY[$3::uuid], '{1}', '{2}', '{3}', '{x}', '{9}',
  ARRAY[$2::uuid], ARRAY[$3::uuid], '{1}', '{failed}', '{null}', '{[]}', '{null}', '{null}', '{null}', '{null}',
  '{null}', '{null}')
"""
FETCHED = """
SELECT sum(pg_stat_get_xact_tuples_fetched(i.indexrelid))::bigint FROM pg_index i
WHERE i.indrelid = 'porch.runs'::regclass
"""


async def test_a_batch_reads_its_own_runs_and_none_of_the_others_at_work(
    counted: tuple[Desk, Connection],
) -> None:
    desk, admin = counted
    workspace, process, runs = desk.principal.workspace, new_uuid(), [new_uuid() for _ in range(100)]
    async with desk.database.system() as connection:
        lease = timedelta(minutes=1)
        await connection.execute("SELECT porch.register_process($1, 'h', 1, $2)", process, lease)
    await admin.execute("SET session_replication_role = replica")
    await admin.execute(
        "INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, draft, input_message_id, status, holder)"
        " SELECT $1, r, r, r, '{}', r, 'running', $3 FROM unnest($2::uuid[]) r",
        *(workspace, runs, process),
    )
    await admin.execute(
        "INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)"
        " SELECT $1, r, 1, 1, 1, 'x' FROM unnest($2::uuid[]) r",
        *(workspace, runs),
    )
    await admin.execute("RESET session_replication_role")
    async with desk.database.tenant(workspace) as connection:
        before = await connection.fetchval(FETCHED)
        assert await connection.fetch(WRITE_ONE, process, workspace, runs[0]) == []
        assert 0 < await connection.fetchval(FETCHED) - before < 10
    async with desk.database.system() as connection:
        await connection.execute("SELECT porch.release_process($1)", process)
    await admin.execute("UPDATE porch.runs SET status = 'failed', holder = NULL WHERE holder = $1", process)
