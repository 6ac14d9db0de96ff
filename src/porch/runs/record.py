"""Runs as one looks at them afterwards: their rows, and what their journals' ends tell cheaply."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from porch.contract.events import ErrorInfo, Usage
from porch.contract.frames import frame_data, split_frames
from porch.runs.store import Status
from porch.storage.database import Database

HEAD_ROWS = 4
HEAD_BYTES = 16 * 1024
TAIL_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's row, with the agent's handle and who takes part in its conversation.

    `reason` is why a finished run finished, `model` the one that answered, `first_token_ms` the time from the
    run's start to the first word: None where that is not known, or not within the journal's first rows.
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
      SELECT substr(j.frames, greatest(1, octet_length(j.frames) - {TAIL_BYTES - 1})) AS frames
      FROM porch.journal j WHERE j.workspace_id = r.workspace_id AND j.run_id = r.id
      ORDER BY j.first_seq DESC LIMIT 1) t ON true
    WHERE r.workspace_id = $1 AND c.deleted_at IS NULL
"""  # noqa: S608 - numbers from above


async def fetch_run(database: Database, workspace: UUID, run: UUID) -> RunRecord | None:
    """One run by its id."""
    async with database.tenant(workspace) as connection:
        row = await connection.fetchrow(f"{_SELECT} AND r.id = $2", workspace, run)
    return _record(row) if row else None


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
    return [_record(row) for row in rows]


class _Event(msgspec.Struct):
    """The few fields of any event that a record needs."""

    type: str
    seq: int
    ts: datetime
    code: str | None = None
    text: str | None = None
    model: str | None = None
    reason: str | None = None
    kind: str | None = None
    part: str | None = None
    value: Any = None


_event = msgspec.json.Decoder(_Event)


def _events(frames: bytes | None) -> Iterator[_Event]:
    """The whole frames of a stretch that may begin and end within one."""
    for frame in split_frames(frames or b""):
        # Another version of Porch may have written it: a record does without.
        if not frame.startswith(b"id: "):
            continue
        try:
            yield _event.decode(frame_data(frame))
        except (ValueError, msgspec.DecodeError):
            continue


def _record(row: Any) -> RunRecord:
    head, tail = list(_events(row["head"])), list(_events(row["tail"]))
    known = {event.seq: event for event in head + tail}.values()
    models = [event.model for event in known if event.type in ("step.started", "step.finished")]
    last = tail[-1] if tail else None
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
        usage=msgspec.json.decode(row["usage"], type=Usage) if row["usage"] else None,
        error=msgspec.json.decode(row["error"], type=ErrorInfo) if row["error"] else None,
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        participant_kind=row["participant_kind"],
        participant=row["participant_id"],
        reason=last.reason if last and last.type == "run.finished" else None,
        model=models[-1] if models else None,
        notices=[(event.code or "", event.text or "") for event in known if event.type == "notice"],
        # After a takeover the first words may have been taken back.
        first_token_ms=_first_token_ms(head) if row["epoch"] == 1 else None,
    )


def _first_token_ms(head: list[_Event]) -> int | None:
    if not head or head[0].type != "run.started":
        return None
    silent = {event.part for event in head if event.type == "part.started" and event.kind == "reasoning"}
    for event in head:
        words = event.type == "stream.chunk" or (event.type == "part.finished" and event.value)
        if words and event.part not in silent:
            return round((event.ts - head[0].ts).total_seconds() * 1000)
    return None
