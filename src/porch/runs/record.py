"""Runs as one looks at them afterwards: their rows, and what their journals' ends tell cheaply."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from porch.agents.together import Sight
from porch.contract.events import ErrorInfo, PauseReason, Usage
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

    `reason` is why a finished run finished, `model` the one that answered, `first_token_ms` the time from the run's
    start, or from where it last went on, to the first word of what stands, `tokens_per_second` the pace of that model
    in its last step: None where they are not known, or the word is not within a step's first rows. `notices` are those
    (code, text) that stand near its journal's beginning or end. One that is `queued` has no journal yet; its version
    is the one that would answer now.
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
    paused_for: PauseReason | None = None
    paused_at: datetime | None = None
    wake_at: datetime | None = None

    @property
    def sight(self) -> Sight:
        """Whose it is."""
        return Sight(self.agent, self.conversation, self.participant_kind, self.participant)


class Telling(msgspec.Struct, frozen=True):
    """What a record tells of its run's journal. It is kept with the pack of an ended run, whose journal may leave."""

    reason: str | None = None
    model: str | None = None
    first_token_ms: int | None = None
    tokens_per_second: float | None = None
    notices: list[tuple[str, str]] = []


# Begin and end of each journal by its primary key, in bounds: what lies between may be megabytes.
_SELECT = f"""
    SELECT r.*, r.status = 'paused' AND (r.wake_at <= clock_timestamp() OR r.cancel_by IS NOT NULL) AS waking,
      a.handle, c.participant_kind, c.participant_id, h.frames AS head, t.frames AS tail, k.told
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
    LEFT JOIN porch.journal_packs k ON k.workspace_id = r.workspace_id AND k.run_id = r.id
    WHERE r.workspace_id = $1
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


_ALIVE = f"{_SELECT} AND c.deleted_at IS NULL"
# One that waits as a row of runs would show it.
_QUEUED = """
    SELECT q.id, q.conversation_id, c.agent_id, CASE WHEN NOT c.draft THEN a.latest_version END AS agent_version,
      'queued' AS status, 0 AS epoch, q.message_id AS input_message_id, NULL::uuid AS output_message_id,
      NULL AS usage, NULL AS error, q.created_at, NULL::timestamptz AS finished_at, a.handle, c.participant_kind,
      c.participant_id, NULL::bytea AS head, NULL::bytea AS tail,
      NULL AS told, false AS waking, NULL AS paused_for, NULL::timestamptz AS paused_at, NULL::timestamptz AS wake_at
    FROM porch.queued_runs q
    JOIN porch.conversations c ON c.workspace_id = q.workspace_id AND c.id = q.conversation_id
    JOIN porch.agents a ON a.workspace_id = c.workspace_id AND a.id = c.agent_id
    WHERE q.workspace_id = $1 AND c.deleted_at IS NULL
"""


async def fetch_run(database: Database, workspace: UUID, run: UUID) -> RunRecord | None:
    """One run by its id."""
    async with database.tenant(workspace) as connection:
        for select, table in ((_ALIVE, "r"), (_QUEUED, "q"), (_ALIVE, "r")):  # its turn may come meanwhile
            if row := await connection.fetchrow(f"{select} AND {table}.id = $2", workspace, run):
                return (await _tell(connection, workspace, [row]))[0]
    return None


async def fetch_sight(database: Database, workspace: UUID, conversation: UUID) -> Sight | None:
    """Whose a conversation is; None where there is no such conversation."""
    async with database.tenant(workspace) as connection:
        row = await connection.fetchrow(
            "SELECT agent_id, participant_kind, participant_id FROM porch.conversations"
            " WHERE workspace_id = $1 AND id = $2 AND deleted_at IS NULL",
            workspace,
            conversation,
        )
    return (
        Sight(row["agent_id"], conversation, row["participant_kind"], row["participant_id"]) if row else None
    )


async def list_runs(
    database: Database, workspace: UUID, conversation: UUID, before: UUID | None, limit: int
) -> list[RunRecord]:
    """A conversation's runs, newest first, those that wait among them."""
    async with database.tenant(workspace) as connection:
        rows: list[Any] = []
        for select, table in ((_QUEUED, "q"), (_ALIVE, "r")):
            rows += await connection.fetch(
                f"{select} AND {table}.conversation_id = $2 AND ($3::uuid IS NULL OR {table}.id < $3)"
                f" ORDER BY {table}.id DESC LIMIT $4",
                workspace,
                conversation,
                before,
                limit,
            )
        # A run that began between the two is in both; as it stands last is how it is.
        latest = {row["id"]: row for row in rows}
        newest = sorted(latest.values(), key=lambda row: row["id"], reverse=True)[:limit]
        return await _tell(connection, workspace, newest)


async def tell_journals(connection: Connection, workspace: UUID, runs: Sequence[UUID]) -> dict[UUID, Telling]:
    """What the journals of some runs tell their records."""
    rows = await connection.fetch(f"{_SELECT} AND r.id = ANY($2::uuid[])", workspace, runs)
    return await _tellings(connection, workspace, rows)


async def _tell(connection: Connection, workspace: UUID, rows: Sequence[Any]) -> list[RunRecord]:
    tellings = await _tellings(connection, workspace, rows)
    return [_record(row, tellings[row["id"]]) for row in rows]


async def _tellings(connection: Connection, workspace: UUID, rows: Sequence[Any]) -> dict[UUID, Telling]:
    """By run. Only of runs with several steps, that are not packed yet, is more of the journal read."""
    packed = {row["id"]: msgspec.json.decode(row["told"], type=Telling) for row in rows if row["told"]}
    told = {
        row["id"]: (list(events_in(row["head"])), list(events_in(row["tail"])))
        for row in rows
        if row["id"] not in packed
    }
    stories = {run: Story(head, tail) for run, (head, tail) in told.items()}
    if longer := [run for run, story in stories.items() if story.goes_on]:
        for step in await connection.fetch(_STEPS, workspace, longer):
            before, stretch = list(events_in(step["before"])), list(events_in(step["frames"]))
            stories[step["run_id"]].add(before, stretch)
    usages = {row["id"]: _usage(row) for row in rows}
    return packed | {run: _telling(*told[run], stories[run], usages[run]) for run in stories}


def _telling(head: list[Told], tail: list[Told], story: Story, usage: Usage | None) -> Telling:
    known = {event.seq: event for event in head + tail}.values()
    models = [event.model for event in known if event.type in ("step.started", "step.finished")]
    last = tail[-1] if tail else None
    return Telling(
        reason=last.reason if last and last.type == "run.finished" else None,
        model=models[-1] if models else None,
        notices=[(event.code or "", event.text or "") for event in known if event.type == "notice"],
        first_token_ms=story.first_token_ms(),
        tokens_per_second=story.tokens_per_second(usage),
    )


def _usage(row: Any) -> Usage | None:
    return msgspec.json.decode(row["usage"], type=Usage) if row["usage"] else None


def _record(row: Any, telling: Telling) -> RunRecord:
    return RunRecord(
        id=row["id"],
        conversation=row["conversation_id"],
        agent=row["agent_id"],
        handle=row["handle"],
        version=row["agent_version"],
        status="running" if row["waking"] else row["status"],
        paused_for=None if row["waking"] else row["paused_for"],
        paused_at=row["paused_at"],
        wake_at=row["wake_at"],
        epoch=row["epoch"],
        input_message=row["input_message_id"],
        output_message=row["output_message_id"],
        usage=_usage(row),
        error=msgspec.json.decode(row["error"], type=ErrorInfo) if row["error"] else None,
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        participant_kind=row["participant_kind"],
        participant=row["participant_id"],
        reason=telling.reason,
        model=telling.model,
        notices=telling.notices,
        first_token_ms=telling.first_token_ms,
        tokens_per_second=telling.tokens_per_second,
    )
