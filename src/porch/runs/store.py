"""The SQL of runs. Every statement is scoped by workspace, here and by row-level security."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

import msgspec

from porch.agents.files import StoredFile, fill, has_files, insert_files
from porch.contract.attachments import MAX_ATTACHED_BYTES
from porch.contract.definition import Definition
from porch.contract.messages import Part
from porch.runs.context import StoredMessage
from porch.runs.options import NO_OPTIONS, RunOptions
from porch.storage.database import Database

MAX_MESSAGES = 400
MAX_HISTORY_BYTES = 4 * 1024 * 1024
READ_ROWS = 64
READ_BYTES = 1024 * 1024

_parts = msgspec.json.Decoder(list[Part])
_definition = msgspec.json.Decoder(Definition)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its conversation a run stands: behind the `head`, `after` a message (None: at the start), or at
    the `answer` to one, which is the user's message itself or an answer it has already.
    """

    how: Literal["head", "after", "answer"]
    message: UUID | None = None


HEAD = Place("head")


@dataclass(frozen=True, slots=True)
class LoadedTurn:
    """A conversation as a new run finds it.

    `version` is None for an agent that only has a draft, and in a `trial` of its draft; `message` is the one
    that `history` begins with, newest first; `misplaced` says that the place is none of this conversation's;
    `active_run` is at work there just now.
    """

    agent: UUID
    handle: str
    version: int | None
    draft: bytes | None
    definition: Definition
    trial: bool
    participant_kind: str
    participant: UUID
    message: UUID | None
    misplaced: bool
    history: list[StoredMessage]
    more: bool
    active_run: UUID | None


@dataclass(frozen=True, slots=True)
class NewRun:
    """What `start_run` commits in one transaction.

    The message follows `parent`, which `at_head` must still be the conversation's last; without `parts` it is
    there already. `title` is for a conversation that has none. Messages `before` it come in with it, as JSON; with
    `opened_by`, a participant's kind and id, the conversation does, which is ephemeral and stays for `keep`.
    """

    workspace: UUID
    conversation: UUID
    at_head: bool
    parent: UUID | None
    message: UUID
    parts: bytes | None
    title: str | None
    run: UUID
    agent: UUID
    version: int | None
    draft: bytes | None
    process: UUID
    last_seq: int
    frames: bytes
    key: "Key | None" = None
    options: bytes | None = None
    before: bytes | None = None
    opened_by: tuple[str, UUID] | None = None
    keep: timedelta | None = None
    files: Sequence[StoredFile] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key that the caller holds, and the body to keep as its answer."""

    principal: UUID
    route: str
    key: str
    body: bytes


Status = Literal["running", "paused", "finished", "failed", "cancelled"]
ACTIVE = ("running", "paused")


async def load_turn(
    database: Database, workspace: UUID, conversation: UUID, place: Place = HEAD
) -> LoadedTurn | None:
    """The conversation, its agent and the newest messages of a branch, in one round trip, and one for files."""
    async with database.system() as connection:
        row = await connection.fetchrow(
            "SELECT * FROM porch.load_turn($1, $2, $3, $4, $5, $6)",
            workspace,
            conversation,
            place.how,
            place.message,
            MAX_MESSAGES,
            MAX_HISTORY_BYTES,
        )
    if row is None:
        return None
    parts = [_parts.decode(part) for part in row["message_parts"] or ()]
    if any(map(has_files, parts)):
        async with database.tenant(workspace) as connection:
            parts = await fill(connection, workspace, parts, MAX_ATTACHED_BYTES)
    return LoadedTurn(
        agent=row["agent_id"],
        handle=row["handle"],
        version=row["version"],
        draft=None if row["version"] is not None else row["definition"],
        definition=_definition.decode(row["definition"]),
        trial=row["trial"],
        participant_kind=row["participant_kind"],
        participant=row["participant_id"],
        message=row["place"],
        misplaced=row["misplaced"],
        history=[StoredMessage(*each) for each in zip(row["message_roles"] or (), parts, strict=True)],
        more=bool(row["more"]),
        active_run=row["active_run"],
    )


async def load_agent(
    database: Database, workspace: UUID, identifier: UUID | None, handle: str, opener: tuple[str, UUID]
) -> LoadedTurn | None:
    """An agent, by id or else by handle, as a conversation finds it that has yet to be opened."""
    async with database.system() as connection:
        row = await connection.fetchrow(
            "SELECT * FROM porch.load_agent($1, $2, $3)", workspace, identifier, handle
        )
    if row is None:
        return None
    kind, participant = opener
    return LoadedTurn(
        agent=row["agent_id"],
        handle=row["handle"],
        version=row["version"],
        draft=None if row["version"] is not None else row["definition"],
        definition=_definition.decode(row["definition"]),
        trial=False,
        participant_kind=kind,
        participant=participant,
        message=None,
        misplaced=False,
        history=[],
        more=False,
        active_run=None,
    )


async def start_run(database: Database, new: NewRun) -> tuple[str, UUID | None]:
    """Commit a message, its run and the run's first events. Answers what `porch.start_run` does."""
    key = new.key
    # Each statement of system() commits by itself, which is all that a message without files needs.
    async with database.tenant(new.workspace) if new.files else database.system() as connection:
        row = await connection.fetchrow(
            "SELECT * FROM porch.start_run($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,"
            "$19,$20,$21,$22,$23)",
            new.workspace,
            new.conversation,
            new.at_head,
            new.parent,
            new.message,
            new.parts,
            new.title,
            new.run,
            new.agent,
            new.version,
            new.draft,
            new.process,
            new.last_seq,
            new.frames,
            key and key.principal,
            key and key.route,
            key and key.key,
            key and key.body,
            new.options,
            new.opened_by and new.opened_by[0],
            new.opened_by and new.opened_by[1],
            new.keep,
            new.before,
        )
        assert row is not None
        if new.files and row["outcome"] == "started":
            await insert_files(connection, new.workspace, new.files)
    return row["outcome"], row["active_run"]


async def load_options(database: Database, workspace: UUID, run: UUID) -> RunOptions:
    """What the caller added to a run."""
    async with database.tenant(workspace) as connection:
        found = await connection.fetchval(
            "SELECT options FROM porch.runs WHERE workspace_id = $1 AND id = $2", workspace, run
        )
    return msgspec.json.decode(found, type=RunOptions) if found else NO_OPTIONS


async def request_cancel(database: Database, workspace: UUID, run: UUID, by: str) -> None:
    """Ask whoever holds the run to cancel it; its next heartbeat reads this."""
    async with database.tenant(workspace) as connection:
        await connection.execute(
            "UPDATE porch.runs SET cancel_by = $3 WHERE workspace_id = $1 AND id = $2 "
            "AND status IN ('running', 'paused') AND cancel_by IS NULL",
            workspace,
            run,
            by,
        )


@dataclass(frozen=True, slots=True)
class JournalRow:
    """Consecutive frames of a run as they were sent."""

    first: int
    last: int
    epoch: int
    frames: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A stretch of a run's journal behind a cursor, with the run's state read in the same snapshot.

    `last` is the last seq in the journal, `newer` where the first epoch after the cursor's begins, if there
    is one.
    """

    rows: list[JournalRow]
    status: Status
    epoch: int
    last: int
    newer: int | None


# One statement, one snapshot: a takeover between two would pass its events off as those of the cursor's epoch.
_PAGE = """
    SELECT s.status, s.epoch AS run_epoch, s.last, s.newer, p.first_seq, p.last_seq, p.epoch, p.frames
    FROM (
      SELECT r.status, r.epoch,
        (SELECT j.last_seq FROM porch.journal j WHERE j.workspace_id = $1 AND j.run_id = $2
         ORDER BY j.first_seq DESC LIMIT 1) AS last,
        CASE WHEN r.epoch > $3 THEN (
          SELECT min(j.first_seq) FROM porch.journal j
          WHERE j.workspace_id = $1 AND j.run_id = $2 AND j.epoch > $3) END AS newer
      FROM porch.runs r WHERE r.workspace_id = $1 AND r.id = $2) AS s
    LEFT JOIN LATERAL (
      SELECT j.first_seq, j.last_seq, j.epoch, j.frames,
        sum(octet_length(j.frames)) OVER (ORDER BY j.first_seq) - octet_length(j.frames) AS before
      FROM porch.journal j
      WHERE j.workspace_id = $1 AND j.run_id = $2 AND j.first_seq >= coalesce((
        SELECT max(x.first_seq) FROM porch.journal x
        WHERE x.workspace_id = $1 AND x.run_id = $2 AND x.first_seq <= least($4::integer, s.newer - 1) + 1), 0)
      ORDER BY j.first_seq LIMIT $5) AS p ON p.before < $6
    ORDER BY p.first_seq
"""


async def read_journal(database: Database, workspace: UUID, run: UUID, epoch: int, seq: int) -> Page | None:
    """Rows that reach behind `seq`, as many as a page holds; None when the run is gone."""
    async with database.tenant(workspace) as connection:
        rows = await connection.fetch(_PAGE, workspace, run, epoch, seq, READ_ROWS, READ_BYTES)
    if not rows:
        return None
    state = rows[0]
    newer = state["newer"]
    after = seq if newer is None else min(seq, newer - 1)
    behind = [
        JournalRow(row["first_seq"], row["last_seq"], row["epoch"], row["frames"])
        for row in rows
        if row["first_seq"] is not None and row["last_seq"] > after
    ]
    return Page(behind, state["status"], state["run_epoch"], state["last"] or 0, newer)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that this process has taken over."""

    workspace: UUID
    run: UUID
    epoch: int


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
