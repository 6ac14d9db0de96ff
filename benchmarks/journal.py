"""The journal at scale: a million runs made, packed, replayed, listed and looked through.

    python -m benchmarks.journal [--runs 1000000] [--fresh 50000]

In a cluster of its own, with PostgreSQL's own settings. The runs lie in three months; all but the fresh ones are packed
already, as they are in an installation that has run for a while, and the fresh ones are packed here by the job. A run
has some 27 events in three rows, one in a thousand has 500 deltas, and one has 10,000 events. Milliseconds: median and
p99 as a reader waits, and the CPU time that this process spends.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from tests.runs.shelf import rows_of, story
from tests.runs.sink import Sink

from benchmarks.journal_writes import cluster
from porch.contract.frames import START
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.egress import Egress
from porch.models.service import Models
from porch.models.sharing import Sharing
from porch.plugins.service import Tools
from porch.runs.packing import find_unpacked
from porch.runs.packs import JournalRow, pack
from porch.runs.record import list_runs
from porch.runs.service import Runs
from porch.runs.upkeep import JournalUpkeep
from porch.storage.connection import Connection, connected
from porch.storage.database import Database
from porch.storage.embedded import PostgresUrls
from porch.storage.migrate import migrate
from porch.storage.partitions import tend_partitions

WORKSPACES, EACH, KINDS, LONG_EVERY = 20, 10, 100, 1000
WORDS = (
    "the",
    "porch",
    "light",
    "is",
    "on",
    "somebody",
    "asks",
    "what",
    "time",
    "it",
    "was",
    "when",
    "rain",
    "came",
)

TABLES = """
CREATE TABLE bench_kinds (kind int PRIMARY KEY, firsts int[], lasts int[], rows bytea[],
                          blocks int[], size int, checksum bytea, frames bytea);
CREATE TABLE bench_runs AS
  SELECT g.n, CASE WHEN g.n % {long} = 0 THEN -1 ELSE g.n % {kinds} END AS kind,
    w.id AS workspace, w.agent, m.id AS conversation,
    (lpad(to_hex((extract(epoch FROM now() + g.n * interval '70 days' / {runs}) * 1000)::bigint), 12, '0') || '7'
      || substr(md5(g.n::text), 1, 3) || '8' || substr(md5(g.n::text), 4, 15))::uuid AS run
  FROM generate_series(0, {runs} - 1) AS g (n)
  JOIN bench_workspaces w ON w.n = g.n % {workspaces}
  CROSS JOIN LATERAL (SELECT md5('c' || g.n % {workspaces} || '-' || g.n / ({workspaces} * {each}))::uuid AS id) m;
INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id)
  SELECT DISTINCT workspace, conversation, agent, 'user', agent FROM bench_runs;
INSERT INTO porch.messages (workspace_id, id, conversation_id, role, parts, words)
  SELECT workspace, run, conversation, 'user', '[{{"type":"text","text":"Hello"}}]', '' FROM bench_runs;
INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, draft, input_message_id, status, usage,
                        created_at, finished_at)
  SELECT workspace, run, conversation, agent, '{{}}', run, 'finished', '{{"input_tokens": 3, "output_tokens": 9}}',
         now() - interval '1 hour', now() - interval '1 hour' FROM bench_runs;
"""

FRESH = """
INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)
  SELECT b.workspace, b.run, r.first_seq, r.last_seq, 1, r.frames
  FROM bench_runs b JOIN bench_kinds k ON k.kind = b.kind
  CROSS JOIN LATERAL unnest(k.firsts, k.lasts, k.rows) AS r (first_seq, last_seq, frames) WHERE b.n >= $1
"""

PACKED = """
INSERT INTO porch.journal_packs (workspace_id, run_id, last_seq, codec, blocks, size, checksum, told, frames, ended_at)
  SELECT b.workspace, b.run, k.lasts[array_upper(k.lasts, 1)], 'zlib', k.blocks, k.size, k.checksum,
         '{"reason":"stop","model":"scripted:test","first_token_ms":412,"tokens_per_second":55.1,"notices":[]}',
         k.frames, now() - interval '1 hour'
  FROM bench_runs b JOIN bench_kinds k ON k.kind = b.kind WHERE b.n < $1
"""

SIZE = """
SELECT coalesce(sum(pg_total_relation_size(i.inhrelid)), 0)::bigint FROM pg_inherits i
WHERE i.inhparent = to_regclass($1)
"""

DEAD = """
SELECT coalesce(sum(s.n_dead_tup), 0)::bigint, coalesce(sum(s.n_live_tup), 0)::bigint,
       coalesce(sum(s.autovacuum_count), 0)::bigint
FROM pg_inherits i JOIN pg_stat_all_tables s ON s.relid = i.inhrelid WHERE i.inhparent = 'porch.journal'::regclass
"""


class Scales(Sink):
    """A client that weighs what it gets and keeps none of it."""

    size = 0

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """ASGI send."""
        self.size += len(message.get("body", b""))


@dataclass
class Scale:
    """The cluster and what is asked of it."""

    urls: PostgresUrls
    database: Database
    runs: Runs
    admin: Connection
    total: int
    fresh: int
    workspaces: list[UUID] = field(default_factory=list[UUID])

    async def size(self, table: str) -> int:
        """Bytes of a table's partitions, indexes and all."""
        return await self.admin.fetchval(SIZE, f"porch.{table}")

    def principal(self, workspace: UUID) -> Principal:
        """Who reads there."""
        return Principal("user", new_uuid(), workspace, "w", "owner", frozenset({"admin:*"}), new_uuid())

    async def replay(self, workspace: UUID, run: UUID) -> int:
        """Follow a run from its start to its end; its bytes."""
        stream = await self.runs.follow(self.principal(workspace), run, START)
        assert stream is not None
        sink = Scales()
        await stream({"type": "http"}, sink.receive, sink.send)
        return sink.size


def kind_rows(deltas: int, rows: int) -> list[JournalRow]:
    """A run of so many random words in so many rows."""
    events = story(deltas)
    chosen = random.Random(deltas * 7 + rows)
    for at, event in enumerate(events):
        if event.__class__.__name__ == "StreamChunk":
            events[at] = event.__class__(part="p1", delta=f"{chosen.choice(WORDS)} ", step="s1")  # pyright: ignore[reportCallIssue]
    return rows_of(new_uuid(), events, each=-(-len(events) // rows))


async def fill(scale: Scale) -> None:
    """Make all runs."""
    admin, began = scale.admin, time.monotonic()
    await admin.execute("SET session_replication_role = replica; SET synchronous_commit = off; SET jit = off")
    await admin.execute("CREATE TABLE bench_workspaces (n int, id uuid, agent uuid)")
    for n in range(WORKSPACES):
        workspace, agent = new_uuid(), new_uuid()
        scale.workspaces.append(workspace)
        await admin.execute(
            "INSERT INTO porch.workspaces (id, handle, name) VALUES ($1, $2, 'w')", workspace, f"w{n}"
        )
        await admin.execute(
            "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, 'a', '{}')",
            workspace,
            agent,
        )
        await admin.execute("INSERT INTO bench_workspaces VALUES ($1, $2, $3)", n, workspace, agent)
    values = {"long": LONG_EVERY, "kinds": KINDS, "runs": scale.total, "workspaces": WORKSPACES, "each": EACH}
    await admin.execute(TABLES.format(**values))
    for kind in (-1, *range(KINDS)):
        rows = kind_rows(500, 60) if kind < 0 else kind_rows(15 + kind % 11, 3)
        packed = pack(rows)
        await admin.execute(
            "INSERT INTO bench_kinds VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            kind, [row.first for row in rows], [row.last for row in rows], [row.frames for row in rows],
            list(packed.blocks), packed.size, packed.checksum, packed.frames,
        )  # fmt: skip
    await admin.execute(FRESH, scale.total - scale.fresh)
    await admin.execute(PACKED, scale.total - scale.fresh)
    await admin.execute("RESET session_replication_role")
    await admin.execute("VACUUM ANALYZE")
    print(f"{scale.total:,} runs made in {time.monotonic() - began:.0f} s", flush=True)


async def timed(name: str, work: Callable[[], Awaitable[object]], times: int) -> None:
    """Do it so often and print how long it takes."""
    spent: list[float] = []
    cpu = time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        await work()
        spent.append((time.perf_counter() - began) * 1000)
    own = (time.process_time() - cpu) * 1000 / times
    print(f"{name:58}{median(spent):8.2f}{quantiles(spent, n=100)[98]:8.2f}{own:8.2f}", flush=True)


async def long_run(scale: Scale) -> tuple[UUID, UUID]:
    """A run of 10,000 events: its workspace and id."""
    one = await scale.admin.fetchrow("SELECT workspace, agent, conversation FROM bench_runs WHERE n = 1")
    assert one is not None
    run, rows = new_uuid(), kind_rows(9_993, 1_000)
    await scale.admin.execute(
        "INSERT INTO porch.runs"
        " (workspace_id, id, conversation_id, agent_id, draft, input_message_id, status, finished_at)"
        " SELECT $1, $2, $3, $4, '{}', m.id, 'finished', now() - interval '1 hour' FROM porch.messages m"
        " WHERE m.workspace_id = $1 AND m.conversation_id = $3 LIMIT 1",
        one["workspace"], run, one["conversation"], one["agent"],
    )  # fmt: skip
    await scale.admin.executemany(
        "INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)"
        " VALUES ($1, $2, $3, $4, 1, $5)",
        [(one["workspace"], run, row.first, row.last, row.frames) for row in rows],
    )
    assert rows[-1].last == 10_000
    return one["workspace"], run


async def some(scale: Scale, condition: str) -> Sequence[tuple[UUID, UUID, UUID]]:
    """Some runs by chance: workspace, run, conversation."""
    rows = await scale.admin.fetch(
        f"SELECT workspace, run, conversation FROM bench_runs WHERE {condition} ORDER BY random() LIMIT 300"
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def look(scale: Scale, when: str) -> None:
    """What others do meanwhile: lists, the look for dead processes, the look for runs to pack."""
    print(f"{when:58}{'median':>8}{'p99':>8}{'own CPU':>8}")
    runs = iter(await some(scale, "true"))

    async def list_some() -> None:
        workspace, _, conversation = next(runs)
        assert await list_runs(scale.database, workspace, conversation, None, 20)

    async def claim() -> None:
        async with scale.database.system() as connection:
            await connection.fetch("SELECT * FROM porch.claim_runs($1, 100, NULL)", new_uuid())

    await timed("  the runs of a conversation, listed", list_some, 200)
    await timed("  look for runs of dead processes", claim, 200)
    await timed(
        "  look for runs to pack",
        lambda: find_unpacked(scale.database, UUID(int=0), timedelta(minutes=5), 512),
        20,
    )


async def replays(scale: Scale, kind: str, condition: str, times: int = 200) -> None:
    """Follow some runs."""
    runs = iter(await some(scale, condition))

    async def one() -> None:
        workspace, run, _ = next(runs)
        assert await scale.replay(workspace, run) > 1000

    await timed(f"  replay, {kind}", one, times)


async def measure(scale: Scale) -> None:
    """Everything, before and after the fresh ones are packed."""
    await fill(scale)
    edge = scale.total - scale.fresh
    workspace, run = await long_run(scale)
    before, packs = await scale.size("journal"), await scale.size("journal_packs")
    print(
        f"small rows: {before / scale.fresh:,.0f} bytes a run; packed: {packs / edge:,.0f} (indexes and all)"
    )
    print(
        f"the database: {await scale.admin.fetchval('SELECT pg_database_size(current_database())') / 1e9:.2f} GB"
    )
    await look(scale, "with runs to pack")
    await replays(scale, "27 events, small rows", f"n >= {edge} AND kind >= 0")
    await replays(scale, "27 events, packed", f"n < {edge} AND kind >= 0")
    if edge > LONG_EVERY * 100:
        await replays(scale, "507 events, packed", f"n < {edge} AND kind < 0", 90)
    await timed("  replay, 10,000 events, small rows", lambda: scale.replay(workspace, run), 100)
    began = time.monotonic()
    done = await JournalUpkeep(scale.database).pack(rest=0)
    took = time.monotonic() - began
    print(f"packed {done:,} runs in {took:.0f} s: {done / took:,.0f} a second, without a rest")
    await look(scale, "after packing")
    await timed("  replay, 10,000 events, packed", lambda: scale.replay(workspace, run), 100)
    await vacuumed(scale, before)


async def vacuumed(scale: Scale, before: int) -> None:
    """What becomes of the room of the small rows, by autovacuum's own doing."""
    began = time.monotonic()
    dead = live = count = 0
    while time.monotonic() - began < 150 and not (count and dead <= 1000):
        await asyncio.sleep(5)
        found = await scale.admin.fetchrow(DEAD)
        assert found is not None
        dead, live, count = found
    after = await scale.size("journal")
    print(
        f"{time.monotonic() - began:.0f} s later: {dead:,} dead rows, {live:,} live, {count} autovacuums;"
        f" the small rows' table {before / 1e6:,.0f} -> {after / 1e6:,.0f} MB"
    )


async def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--fresh", type=int, default=50_000)
    given = parser.parse_args()
    async with cluster() as urls, Egress() as egress:
        await migrate(urls.owner)
        await tend_partitions(urls.owner)
        database = await Database.connect(urls.app)
        runs = Runs(database, Models({}, egress, Sharing(new_uuid())), Tools())
        try:
            async with connected(urls.admin) as admin:
                await measure(Scale(urls, database, runs, admin, given.runs, given.fresh))
        finally:
            await database.close()


if __name__ == "__main__":
    asyncio.run(main())
