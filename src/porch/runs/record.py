"""Runs as one looks at them afterwards: their rows, and what their journals' ends tell cheaply."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from porch.contract.events import ErrorInfo, Usage
from porch.runs.figures import Story, Told, events_in
from porch.runs.store import Status
from porch.storage.connection import Connection
from porch.storage.database import Database

HEAD_ROWS = 4
HEAD_BYTES = 16 * 1024
TAIL_ROWS = 2
TAIL_BYTES = 8 * 1024
START_BYTES = 1024


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's row, with the agent's handle and who takes part in its conversation.

    `reason` is why a finished run finished, `model` the one that answered, `first_token_ms` the time from the
    run's start to the first word of what stands, `tokens_per_second` the pace of that model in its last step: None
    where they are not known, or the word is not within a step's first rows.
    `notices` are those (code, text) that stand near its journal's beginning or end.
    """

    id: UUID
    conversation: UUID
    agent: UUID
    handle: str
    version: int | None
    status: Status
    epoch: int
    input_message: UUID
    output_message: UUID | None
    usage: Usage | None
    error: ErrorInfo | None
    created_at: datetime
    finished_at: datetime | None
    participant_kind: str
    participant: UUID
    reason: str | None
    model: str | None
    first_token_ms: int | None
    tokens_per_second: float | None
    notices: list[tuple[str, str]]


# Begin and end of each journal by its primary key, in bounds: what lies between may be megabytes.
_SELECT = f"""
    SELECT r.*, a.handle, c.participant_kind, c.participant_id, h.frames AS head, t.frames AS tail
    FROM porch.runs r
    JOIN porch.agents a ON a.workspace_id = r.workspace_id AND a.id = r.agent_id
    JOIN porch.conversations c ON c.workspace_id = r.workspace_id AND c.id = r.conversation_id
    LEFT JOIN LATERAL (
      SELECT substr(string_agg(j.frames, ''::bytea ORDER BY j.first_seq), 1, {HEAD_BYTES}) AS frames
      FROM (SELECT x.first_seq, x.frames FROM porch.journal x WHERE x.workspace_id = r.workspace_id
              AND x.run_id = r.id ORDER BY x.first_seq LIMIT {HEAD_ROWS}) j) h ON true
    LEFT JOIN LATERAL (
      SELECT string_agg(j.frames, ''::bytea ORDER BY j.first_seq) AS frames
      FROM (SELECT x.first_seq, substr(x.frames, greatest(1, octet_length(x.frames) - {TAIL_BYTES - 1})) AS frames
              FROM porch.journal x WHERE x.workspace_id = r.workspace_id AND x.run_id = r.id
              ORDER BY x.first_seq DESC LIMIT {TAIL_ROWS}) j) t ON true
    WHERE r.workspace_id = $1 AND c.deleted_at IS NULL
"""  # noqa: S608 - numbers from above

# A later step's start is committed alone, so that its row is found without reading the others.
_STEPS = f"""
    SELECT s.run_id, b.frames AS before, s.frames || coalesce(h.frames, ''::bytea) AS frames
    FROM porch.journal s
    LEFT JOIN LATERAL (
      SELECT substr(x.frames, greatest(1, octet_length(x.frames) - {START_BYTES - 1})) AS frames
      FROM porch.journal x WHERE x.workspace_id = s.workspace_id AND x.run_id = s.run_id
        AND x.first_seq < s.first_seq ORDER BY x.first_seq DESC LIMIT 1) b ON true
    LEFT JOIN LATERAL (
      SELECT substr(string_agg(j.frames, ''::bytea ORDER BY j.first_seq), 1, {HEAD_BYTES}) AS frames
      FROM (SELECT x.first_seq, x.frames FROM porch.journal x WHERE x.workspace_id = s.workspace_id
              AND x.run_id = s.run_id AND x.first_seq > s.first_seq ORDER BY x.first_seq LIMIT {HEAD_ROWS}) j) h ON true
    WHERE s.workspace_id = $1 AND s.run_id = ANY($2::uuid[]) AND s.first_seq = s.last_seq
      AND octet_length(s.frames) < {START_BYTES} AND position('event: step.started'::bytea IN s.frames) > 0
    ORDER BY s.run_id, s.first_seq
"""  # noqa: S608 - numbers from above


async def fetch_run(database: Database, workspace: UUID, run: UUID) -> RunRecord | None:
    """One run by its id."""
    async with database.tenant(workspace) as connection:
        row = await connection.fetchrow(f"{_SELECT} AND r.id = $2", workspace, run)
        return (await _tell(connection, workspace, [row]))[0] if row else None


async def fetch_participant(
    database: Database, workspace: UUID, conversation: UUID
) -> tuple[str, UUID] | None:
    """Who takes part in a conversation: kind and id; None where there is no such conversation."""
    async with database.tenant(workspace) as connection:
        row = await connection.fetchrow(
            "SELECT participant_kind, participant_id FROM porch.conversations"
            " WHERE workspace_id = $1 AND id = $2 AND deleted_at IS NULL",
            workspace,
            conversation,
        )
    return (row["participant_kind"], row["participant_id"]) if row else None


async def list_runs(
    database: Database, workspace: UUID, conversation: UUID, before: UUID | None, limit: int
) -> list[RunRecord]:
    """A conversation's runs, newest first."""
    async with database.tenant(workspace) as connection:
        rows = await connection.fetch(
            f"{_SELECT} AND r.conversation_id = $2 AND ($3::uuid IS NULL OR r.id < $3) ORDER BY r.id DESC LIMIT $4",
            workspace,
            conversation,
            before,
            limit,
        )
        return await _tell(connection, workspace, rows)


async def _tell(connection: Connection, workspace: UUID, rows: Sequence[Any]) -> list[RunRecord]:
    """Rows as records. Only of runs with several steps is more of the journal read."""
    told = {row["id"]: (list(events_in(row["head"])), list(events_in(row["tail"]))) for row in rows}
    stories = {run: Story(head, tail) for run, (head, tail) in told.items()}
    if longer := [run for run, story in stories.items() if story.goes_on]:
        for step in await connection.fetch(_STEPS, workspace, longer):
            before, stretch = list(events_in(step["before"])), list(events_in(step["frames"]))
            stories[step["run_id"]].add(before, stretch)
    return [_record(row, *told[row["id"]], stories[row["id"]]) for row in rows]


def _record(row: Any, head: list[Told], tail: list[Told], story: Story) -> RunRecord:
    known = {event.seq: event for event in head + tail}.values()
    models = [event.model for event in known if event.type in ("step.started", "step.finished")]
    last = tail[-1] if tail else None
    usage = msgspec.json.decode(row["usage"], type=Usage) if row["usage"] else None
    return RunRecord(
        id=row["id"],
        conversation=row["conversation_id"],
        agent=row["agent_id"],
        handle=row["handle"],
        version=row["agent_version"],
        status=row["status"],
        epoch=row["epoch"],
        input_message=row["input_message_id"],
        output_message=row["output_message_id"],
        usage=usage,
        error=msgspec.json.decode(row["error"], type=ErrorInfo) if row["error"] else None,
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        participant_kind=row["participant_kind"],
        participant=row["participant_id"],
        reason=last.reason if last and last.type == "run.finished" else None,
        model=models[-1] if models else None,
        notices=[(event.code or "", event.text or "") for event in known if event.type == "notice"],
        first_token_ms=story.first_token_ms(),
        tokens_per_second=story.tokens_per_second(usage),
    )
