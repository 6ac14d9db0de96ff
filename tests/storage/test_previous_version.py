"""A replica of the released version at work on a database that a newer one has migrated: its very statements."""

from datetime import timedelta
from uuid import UUID

import msgspec

from porch.contract.ids import new_uuid
from porch.storage.connection import connected
from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from tests.conftest import FreshUrls

START = (
    "SELECT * FROM porch.start_run($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,"
    "$19,$20,$21,$22,$23,$24,$25,$26,$27,$28,$29,$30)"
)
WRITE = "SELECT * FROM porch.write_journal($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20)"
LEASE = timedelta(seconds=4)
HELLO = msgspec.json.encode([{"type": "text", "text": "Hello"}])
DEFINITION = msgspec.json.encode({"name": "old", "instructions": "Act.", "model": "scripted:test"})


class Previous:
    """A process of that version, as far as the database knows it."""

    def __init__(self, database: Database, workspace: UUID) -> None:
        self.database = database
        self.workspace = workspace
        self.id = new_uuid()

    async def register(self) -> None:
        async with self.database.system() as connection:
            await connection.execute(
                "SELECT porch.register_process($1, $2, $3, $4)", self.id, "old", 1, LEASE
            )

    async def load(self, conversation: UUID) -> UUID | None:
        """The head that a new message follows."""
        async with self.database.system() as connection:
            row = await connection.fetchrow(
                "SELECT * FROM porch.load_turn($1, $2, $3, $4, $5, $6)",
                self.workspace, conversation, "head", None, 400, 1 << 22,
            )  # fmt: skip
        assert row is not None
        assert row["active_run"] is None
        return row["place"]

    async def start(self, agent: UUID, conversation: UUID) -> tuple[UUID, str]:
        run, parent = new_uuid(), await self.load(conversation)
        async with self.database.system() as connection:
            row = await connection.fetchrow(
                START,
                self.workspace, conversation, True, parent, new_uuid(), HELLO, "Hello", run, agent, None, DEFINITION,
                self.id, 2, b"id: 1-1\nevent: a\ndata: {}\n\nid: 1-2\nevent: b\ndata: {}\n\n",
                None, None, None, None, None, None, None, None, None, "reject", "head", "user:usr_1", len(HELLO),
                20, 1 << 20, None,
            )  # fmt: skip
        assert row is not None
        return run, row["outcome"]

    async def write(self, run: UUID, first: int, *, end: str | None = None) -> list[UUID]:
        """Append a row, and with `end` the run's end with its message."""
        frames = b"id: 1-%d\nevent: c\ndata: {}\n\n" % first
        ends = [[self.workspace], [run], [1], [end], [new_uuid()], [HELLO.decode()], *[[None]] * 6]
        async with self.database.system() as connection:
            rows = await connection.fetch(
                WRITE, self.id, [self.workspace], [run], [1], [first], [first], [frames], [5],
                *(ends if end else [[]] * 12),
            )  # fmt: skip
        return [row[0] for row in rows]


async def furnish(urls: PostgresUrls, database: Database) -> tuple[UUID, UUID, UUID]:
    workspace, agent, conversation = new_uuid(), new_uuid(), new_uuid()
    async with connected(urls.admin) as admin:
        await admin.execute(
            "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, 'old', 'Old')", workspace
        )
    async with database.tenant(workspace) as connection:
        await connection.execute(
            "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, 'old', $3)",
            workspace,
            agent,
            DEFINITION,
        )
        await connection.execute(
            "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id)"
            " VALUES ($1, $2, $3, 'user', $4)",
            workspace,
            conversation,
            agent,
            new_uuid(),
        )
    return workspace, agent, conversation


async def test_it_starts_writes_and_ends_runs_and_takes_others_over(fresh_urls: FreshUrls) -> None:
    urls = await fresh_urls()
    database = await Database.connect(urls.app)
    try:
        workspace, agent, conversation = await furnish(urls, database)
        first, second = Previous(database, workspace), Previous(database, workspace)
        await first.register()
        await second.register()
        run, outcome = await first.start(agent, conversation)
        assert outcome == "started"
        assert await first.write(run, 3) == []
        assert await first.write(run, 5) == [run], "there is a gap before it"
        assert await first.write(run, 4, end="finished") == []
        async with database.tenant(workspace) as connection:
            kept = await connection.fetchrow(
                "SELECT status, output_message_id FROM porch.runs WHERE id = $1", run
            )
            assert kept is not None
            assert kept["status"] == "finished"
        assert await first.load(conversation) == kept["output_message_id"]

        left, outcome = await first.start(agent, conversation)
        assert outcome == "started"
        async with connected(urls.admin) as admin:
            await admin.execute(
                "UPDATE porch.processes SET expires_at = now() - interval '1 s' WHERE id = $1", first.id
            )
        async with database.system() as connection:
            beat = await connection.fetchrow("SELECT * FROM porch.heartbeat($1, $2)", second.id, LEASE)
            assert beat is not None
            assert beat["alive"]
            claimed = await connection.fetch(
                "SELECT * FROM porch.claim_runs($1, $2, $3)", second.id, 64, None
            )
            assert [(row["run_id"], row["epoch"]) for row in claimed] == [(left, 2)]
            assert await first.write(left, 3) == [left], "its epoch is over"
            await connection.execute("SELECT porch.release_process($1)", second.id)
    finally:
        await database.close()
