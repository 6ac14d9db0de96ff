"""The SQL of takeovers: whose runs nobody carries any more, and what they left."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from porch.storage.database import Database


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that this process has taken over, or taken up again when its wait was over (`waited`)."""

    workspace: UUID
    run: UUID
    epoch: int
    waited: bool = False


async def claim_runs(
    database: Database, process: UUID, limit: int, known: Callable[[], list[UUID]] | None = None
) -> list[Claimed]:
    """Take over runs whose process is gone; with `known`, also those of this process that are not among them.

    `known` is asked when the connection is there: waiting for one, the process begins other runs.
    """
    async with database.system() as connection:
        rows = await connection.fetch(
            "SELECT * FROM porch.claim_runs($1, $2, $3)", process, limit, known and known()
        )
    return [Claimed(row["workspace_id"], row["run_id"], row["epoch"]) for row in rows]


async def claim_paused(database: Database, process: UUID, limit: int) -> list[Claimed]:
    """Take up runs that wait no longer: all is decided or expired, there is quota again, or they were cancelled."""
    async with database.system() as connection:
        rows = await connection.fetch("SELECT * FROM porch.claim_paused($1, $2)", process, limit)
    return [Claimed(row["workspace_id"], row["run_id"], row["epoch"], waited=True) for row in rows]


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What a takeover needs beside the turn: the definition that the run began with, and its whole journal.

    Neither is decoded yet, nor are the caller's options: another version of Porch may have written them.
    """

    conversation: UUID
    input_message: UUID
    definition: bytes
    options: bytes | None
    cancel_by: str | None
    frames: bytes
    last_seq: int


async def load_takeover(database: Database, workspace: UUID, run: UUID) -> TakenOver | None:
    """A claimed run as its journal left it; None when it is gone."""
    async with database.tenant(workspace) as connection:
        row = await connection.fetchrow(
            """
            SELECT r.conversation_id, r.input_message_id, r.cancel_by, r.options,
              coalesce(v.definition, r.draft) AS definition
            FROM porch.runs r
            LEFT JOIN porch.agent_versions v
              ON v.workspace_id = r.workspace_id AND v.agent_id = r.agent_id AND v.number = r.agent_version
            WHERE r.workspace_id = $1 AND r.id = $2
            """,
            workspace,
            run,
        )
        rows = await connection.fetch(
            "SELECT last_seq, frames FROM porch.journal WHERE workspace_id = $1 AND run_id = $2 ORDER BY first_seq",
            workspace,
            run,
        )
    if row is None or not rows:
        return None
    return TakenOver(
        conversation=row["conversation_id"],
        input_message=row["input_message_id"],
        definition=row["definition"],
        options=row["options"],
        cancel_by=row["cancel_by"],
        frames=b"".join(journal["frames"] for journal in rows),
        last_seq=rows[-1]["last_seq"],
    )
