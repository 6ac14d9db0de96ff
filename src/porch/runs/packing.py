"""The rewriting of ended runs: many small rows of the journal become one compressed one, byte for byte the same."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from porch.runs.packs import JournalRow, Pack, Packer
from porch.runs.record import Telling, tell_journals
from porch.storage.connection import Connection
from porch.storage.database import Database

BATCH_RUNS = 64
BATCH_BYTES = 16 * 1024 * 1024
FETCH_ROWS = 256

# Of several processes that look at the same runs, whoever locks one first packs it. Nobody writes an ended run.
_LOCK = """
    SELECT l.id, (SELECT coalesce(sum(octet_length(j.frames)), 0) FROM porch.journal j
                  WHERE j.workspace_id = $1 AND j.run_id = l.id) AS size
    FROM (SELECT r.id FROM porch.runs r WHERE r.workspace_id = $1 AND r.id = ANY($2::uuid[])
            AND r.status IN ('finished', 'failed', 'cancelled') FOR NO KEY UPDATE SKIP LOCKED) l
    ORDER BY l.id
"""

_ROWS = """
    SELECT j.run_id, j.first_seq, j.last_seq, j.epoch, j.frames FROM porch.journal j
    WHERE j.workspace_id = $1 AND j.run_id = ANY($2::uuid[]) AND (j.run_id, j.first_seq) > ($3, $4)
    ORDER BY j.run_id, j.first_seq LIMIT $5
"""


async def find_unpacked(
    database: Database, after: UUID, delay: timedelta, limit: int
) -> list[tuple[UUID, UUID]]:
    """Workspace and run of what ended some time ago and is not packed, the oldest first, from behind a run."""
    async with database.system() as connection:
        rows = await connection.fetch("SELECT * FROM porch.find_unpacked($1, $2, $3)", after, delay, limit)
    return [(row["workspace_id"], row["run_id"]) for row in rows]


async def pack_runs(database: Database, workspace: UUID, runs: Sequence[UUID]) -> list[UUID]:
    """Pack ended runs of one workspace in a transaction, and answer which were: a batch, without what others work on.

    What is left out is found again. Raises Damaged, and then nothing has changed.
    """
    async with database.tenant(workspace) as connection:
        chosen: list[UUID] = []
        total = 0
        for row in await connection.fetch(_LOCK, workspace, list(runs[:BATCH_RUNS])):
            total += row["size"]
            if row["size"] and (not chosen or total <= BATCH_BYTES):
                chosen.append(row["id"])
        if not chosen:
            return []
        told = await tell_journals(connection, workspace, chosen)
        packs = await _gather(connection, workspace, chosen)
        return await _store(connection, packs, told)


async def _gather(connection: Connection, workspace: UUID, runs: list[UUID]) -> dict[UUID, Pack]:
    packers: dict[UUID, Packer] = {}
    place = (UUID(int=0), 0)
    while rows := await connection.fetch(_ROWS, workspace, runs, *place, FETCH_ROWS):
        place = (rows[-1]["run_id"], rows[-1]["first_seq"])
        each = [
            (packers.setdefault(row["run_id"], Packer()), JournalRow(*(row[at] for at in range(1, 5))))
            for row in rows
        ]
        await asyncio.to_thread(_add, each)
    return {run: await asyncio.to_thread(packer.finish) for run, packer in packers.items()}


def _add(rows: list[tuple[Packer, JournalRow]]) -> None:
    for packer, row in rows:
        packer.add(row)


async def _store(connection: Connection, packs: dict[UUID, Pack], told: dict[UUID, Telling]) -> list[UUID]:
    rows = await connection.fetch(
        "SELECT * FROM porch.store_packs($1, $2, $3, $4, $5, $6, $7, $8)",
        list(packs),
        [each.last for each in packs.values()],
        [each.codec for each in packs.values()],
        ["{" + ",".join(map(str, each.blocks)) + "}" for each in packs.values()],
        [each.size for each in packs.values()],
        [each.checksum for each in packs.values()],
        [msgspec.json.encode(told.get(run, Telling())).decode() for run in packs],
        [each.frames for each in packs.values()],
    )
    return [row[0] for row in rows]
