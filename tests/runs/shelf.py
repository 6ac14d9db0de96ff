"""Runs as they lie in the journal, made without a model: for tests of what becomes of them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from porch.contract.events import (
    AnyEvent,
    PartFinished,
    PartStarted,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFinished,
    StepStarted,
    StreamChunk,
    Usage,
    UsageReported,
)
from porch.contract.frames import Framer
from porch.contract.ids import format_id, new_uuid
from porch.runs.packs import JournalRow
from tests.runs.conftest import Desk

START_NS = 1_790_000_000_000_000_000


def story(deltas: int) -> list[AnyEvent]:
    """A run's events, with so many words."""
    words = [f"word{n} " for n in range(deltas)]
    return [
        RunStarted(agent="@ada/actor", version=None, workspace="ada", conversation="conv", message="msg"),
        StepStarted(step="s1", model="scripted:test"),
        PartStarted(part="p1", kind="text", step="s1"),
        *(StreamChunk(part="p1", delta=word, step="s1") for word in words),
        PartFinished(part="p1", kind="text", value="".join(words), step="s1"),
        UsageReported(input_tokens=3, output_tokens=deltas, step="s1"),
        StepFinished(step="s1", model="scripted:test"),
        RunFinished(reason="stop", usage=Usage(input_tokens=3, output_tokens=deltas), message="msg_x"),
    ]


def rows_of(
    run: UUID, events: Sequence[AnyEvent], takeovers: Sequence[int] = (), each: int = 5
) -> list[JournalRow]:
    """The rows of a run: `each` events in one, the next epoch from every takeover's seq on."""
    rows: list[JournalRow] = []
    first, epoch = 1, 1
    name = format_id("run", run).encode()
    while first <= len(events):
        if first in takeovers:
            epoch += 1
        last = min(first + each - 1, len(events), *(at - 1 for at in takeovers if at > first))
        data = Framer(name, epoch).frames(events[first - 1 : last], first, START_NS + first * 7_000_000)
        rows.append(JournalRow(first, last, epoch, data))
        first = last + 1
    return rows


async def shelve(
    desk: Desk,
    events: Sequence[AnyEvent],
    *,
    takeovers: Sequence[int] = (),
    each: int = 5,
    status: str = "finished",
    age: timedelta = timedelta(hours=1),
    conversation: UUID | None = None,
    leave_out: int | None = None,
) -> UUID:
    """A run that ended so long ago, with its rows; the row that begins at `leave_out` is missing."""
    run, message = new_uuid(), new_uuid()
    where = conversation or await desk.conversation()
    workspace = desk.principal.workspace
    events = [
        RunResumed(reason="takeover") if at in takeovers else event for at, event in enumerate(events, 1)
    ]
    rows = rows_of(run, events, takeovers, each)
    ended: datetime | None
    async with desk.database.tenant(workspace) as connection:
        ended = None
        if status not in ("running", "paused"):
            ended = await connection.fetchval("SELECT now() - $1::interval", age)
        await connection.execute(
            "INSERT INTO porch.messages (workspace_id, id, conversation_id, role, parts)"
            " VALUES ($1, $2, $3, 'user', '[]')",
            workspace,
            message,
            where,
        )
        await connection.execute(
            "INSERT INTO porch.runs (workspace_id, id, conversation_id, agent_id, draft, input_message_id, status,"
            " epoch, usage, created_at, finished_at)"
            " SELECT $1, $2, $3, c.agent_id, '{}', $4, $5, $6, $9, now() - $7::interval, $8"
            " FROM porch.conversations c WHERE c.workspace_id = $1 AND c.id = $3",
            workspace,
            run,
            where,
            message,
            status,
            rows[-1].epoch,
            age,
            ended,
            msgspec.json.encode(Usage(input_tokens=3, output_tokens=9)),
        )
        await connection.executemany(
            "INSERT INTO porch.journal (workspace_id, run_id, first_seq, last_seq, epoch, frames)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            [
                (workspace, run, row.first, row.last, row.epoch, row.frames)
                for row in rows
                if row.first != leave_out
            ],
        )
    return run
