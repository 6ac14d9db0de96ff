"""The SQL of messages that wait for the answer before them, each with the id of the run that will answer it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from porch.agents.files import StoredFile
from porch.contract.definition import Definition
from porch.contract.messages import Part
from porch.runs.options import NO_OPTIONS, RunOptions
from porch.storage.connection import Connection
from porch.storage.database import Database

# What may wait in one conversation: so many, and so many bytes of what they say and bring.
MAX_WAITING = 16
MAX_WAITING_BYTES = 40 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run whose turn it is, with its agent as it is now; `superseded_by` interrupts it before it begins."""

    workspace: UUID
    conversation: UUID
    run: UUID
    message: UUID
    agent: str
    workspace_handle: str
    version: int | None
    draft: bytes | None
    definition: Definition
    options: RunOptions
    superseded_by: str | None


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that waits, as one looks at it: `message` is an existing one where it is answered anew."""

    run: UUID
    message: UUID
    parts: list[Part]
    how: Literal["head", "after", "answer"]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A queue that has to move: nothing is at work there, or `active_run`, which `asked_by` interrupts."""

    workspace: UUID
    conversation: UUID
    active_run: UUID | None
    asked_by: str


async def next_queued(
    database: Database, workspace: UUID, conversation: UUID, run: UUID | None = None
) -> Waiting | None:
    """Whose turn it is, unless a run is at work; with `run` that one, if it waits."""
    async with database.system() as connection:
        row = await connection.fetchrow(
            "SELECT * FROM porch.next_queued($1, $2, $3)", workspace, conversation, run
        )
    if row is None:
        return None
    options = row["options"]
    return Waiting(
        workspace=workspace,
        conversation=row["conversation_id"],
        run=row["run_id"],
        message=row["message_id"],
        agent=row["agent_handle"],
        workspace_handle=row["workspace_handle"],
        version=row["version"],
        draft=None if row["version"] is not None else row["definition"],
        definition=msgspec.json.decode(row["definition"], type=Definition),
        options=msgspec.json.decode(options, type=RunOptions) if options else NO_OPTIONS,
        superseded_by=row["superseded_by"],
    )


async def begin_queued(
    database: Database, waiting: Waiting, status: str, process: UUID, frames: tuple[int, bytes], *, turn: bool
) -> tuple[str, bool]:
    """Take a run out of the queue. Answers what `porch.begin_queued` does."""
    async with database.system() as connection:
        row = await connection.fetchrow(
            "SELECT * FROM porch.begin_queued($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            waiting.workspace,
            waiting.conversation,
            waiting.run,
            turn,
            status,
            waiting.version,
            waiting.draft,
            process,
            *frames,
        )
    assert row is not None
    return row["outcome"], row["more"]


async def find_queued(database: Database, after: int, limit: int) -> tuple[list[Due], int]:
    """Queues of any workspace that have to move, among `limit` who wait from `after` on; and where to go on."""
    async with database.system() as connection:
        *found, end = await connection.fetch("SELECT * FROM porch.find_queued($1, $2)", after, limit)
    due = [
        Due(row["workspace_id"], row["conversation_id"], row["active_run"], row["asked_by"]) for row in found
    ]
    return due, end["reached"]


async def insert_queued_files(
    connection: Connection, workspace: UUID, run: UUID, files: Sequence[StoredFile]
) -> None:
    """Keep the files of a message that waits, in the transaction that takes it."""
    await connection.execute(
        "INSERT INTO porch.queued_files (workspace_id, id, queued_id, message_id, content)"
        " SELECT $1, f.id, $2, f.message, f.content"
        " FROM unnest($3::uuid[], $4::uuid[], $5::bytea[]) AS f (id, message, content)",
        workspace,
        run,
        [file.id for file in files],
        [file.message for file in files],
        [file.content for file in files],
    )


async def list_queued(database: Database, workspace: UUID, conversation: UUID) -> list[Queued]:
    """What waits in a conversation, in the order in which it will be answered."""
    async with database.tenant(workspace) as connection:
        rows = await connection.fetch(
            "SELECT q.id, q.message_id, q.parts, q.how, q.created_at FROM porch.queued_runs q"
            " WHERE q.workspace_id = $1 AND q.conversation_id = $2 ORDER BY q.place",
            workspace,
            conversation,
        )
    return [_queued(row) for row in rows]


async def is_waiting(database: Database, workspace: UUID, run: UUID) -> bool:
    """Whether the run has yet to begin."""
    async with database.tenant(workspace) as connection:
        return await connection.fetchval(
            "SELECT EXISTS (SELECT FROM porch.queued_runs WHERE workspace_id = $1 AND id = $2)",
            workspace,
            run,
        )


def _queued(row: Any) -> Queued:
    parts = msgspec.json.decode(row["parts"], type=list[Part]) if row["parts"] else []
    return Queued(row["id"], row["message_id"], parts, row["how"], row["created_at"])
