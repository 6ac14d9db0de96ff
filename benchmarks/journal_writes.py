"""What the hot writes cost on the journal by months, beside the same on one plain table, in interleaved rounds.

    python -m benchmarks.journal_writes

Two clusters of their own, with PostgreSQL's own settings: one without the migration that makes months, one with it
and all months made. Milliseconds as a client sees them: of the quickest tenth of the rounds, and the median.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from uuid import UUID

from porch.contract.ids import new_uuid
from porch.runs.store import NewRun, start_run
from porch.storage.connection import Connection, connected
from porch.storage.database import Database
from porch.storage.datadir import DataDir
from porch.storage.embedded import EmbeddedPostgres, PostgresUrls
from porch.storage.migrate import migrate, read_migrations
from porch.storage.partitions import tend_partitions

ROUNDS, ROWS = 400, 64
FRAMES = b"x" * 900
WRITE = "SELECT * FROM porch.write_journal($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15)"
MONTHS = 10  # the number of the migration that makes them


@dataclass
class Side:
    """One of the two clusters, and what is written in it."""

    database: Database
    connection: Connection
    workspace: UUID
    agent: UUID
    process: UUID
    runs: list[UUID]
    last: int = 1

    async def start(self) -> UUID:
        """A run with a conversation of its own, as a call over the OpenAI door makes it."""
        run, message = new_uuid(), new_uuid()
        new = NewRun(
            workspace=self.workspace, conversation=new_uuid(), at_head=True, parent=None, message=message,
            parts=b'[{"type":"text","text":"Hello"}]', title=None, run=run, agent=self.agent, version=None,
            draft=b"{}", process=self.process, last_seq=1, frames=FRAMES, opened_by=("user", self.agent),
            keep=timedelta(days=1),
        )  # fmt: skip
        outcome, _ = await start_run(self.database, new)
        assert outcome == "started"
        return run

    async def write(self) -> None:
        """One batch: a row for each of the runs."""
        self.last += 1
        size = len(self.runs)
        refused = await self.connection.fetch(
            WRITE, self.process, [self.workspace] * size, self.runs, [1] * size, [self.last] * size,
            [self.last] * size, [FRAMES] * size, [], [], [], [], [], [], [], [],
        )  # fmt: skip
        assert not refused


@asynccontextmanager
async def cluster() -> AsyncGenerator[PostgresUrls]:
    """A PostgreSQL with an empty database, gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="porch-journal-"))
    place.chmod(0o755)
    postgres = EmbeddedPostgres(DataDir(place / "data"))
    try:
        yield await postgres.start()
    finally:
        await postgres.stop()
        shutil.rmtree(postgres.home, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)


@asynccontextmanager
async def side(months: bool) -> AsyncGenerator[Side]:
    """A cluster with a workspace and its runs."""
    async with cluster() as urls:
        migrations = read_migrations()
        await migrate(urls.owner, migrations=migrations if months else migrations[: MONTHS - 1])
        if months:
            await tend_partitions(urls.owner)
        database = await Database.connect(urls.app)
        workspace, agent, process = new_uuid(), new_uuid(), new_uuid()
        async with connected(urls.owner) as owner:
            await owner.execute("SET ROLE porch_definer")
            await owner.execute(
                "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, 'w', 'w')", workspace
            )
        async with database.tenant(workspace) as connection:
            await connection.execute(
                "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, 'a', '{}')",
                workspace, agent,
            )  # fmt: skip
        writer = await database.dedicated()
        await writer.execute(
            "SELECT porch.register_process($1, 'here', 1, $2)", process, timedelta(minutes=10)
        )
        made = Side(database, writer, workspace, agent, process, [])
        made.runs = [await made.start() for _ in range(ROWS)]
        try:
            yield made
        finally:
            writer.terminate()
            await database.close()


async def main() -> None:
    """Print both writes on both sides."""
    async with side(False) as plain, side(True) as months:
        works: dict[str, list[Callable[[], Awaitable[object]]]] = {
            f"write_journal, {ROWS} rows": [plain.write, months.write],
            "start_run": [plain.start, months.start],
        }
        print(f"{'milliseconds':28}{'one table':>18}{'by months':>18}{'ratio':>14}")
        for name, each in works.items():
            took: list[list[float]] = [[], []]
            for _ in range(ROUNDS):
                for spent, work in zip(took, each, strict=True):
                    began = time.perf_counter()
                    await work()
                    spent.append((time.perf_counter() - began) * 1000)
            quick = [quantiles(spent, n=10)[0] for spent in took]
            middle = [median(spent) for spent in took]
            cells = [f"{best:8.2f} / {usual:.2f}" for best, usual in zip(quick, middle, strict=True)]
            ratios = f"{quick[1] / quick[0]:.2f} / {middle[1] / middle[0]:.2f}"
            print(f"{name:28}{cells[0]:>18}{cells[1]:>18}{ratios:>14}")


if __name__ == "__main__":
    asyncio.run(main())
