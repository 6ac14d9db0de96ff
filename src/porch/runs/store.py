"""The SQL of runs. Every statement is scoped by workspace, here and by row-level security."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

import msgspec

from porch.agents.files import StoredFile, fill, has_files, insert_files
from porch.agents.together import Sight, insert_author
from porch.contract.attachments import MAX_ATTACHED_BYTES
from porch.contract.definition import Definition
from porch.contract.events import PauseReason
from porch.contract.messages import Part
from porch.contract.principal import Kind
from porch.runs.context import StoredMessage
from porch.runs.options import NO_OPTIONS, RunOptions
from porch.runs.queue import MAX_WAITING, MAX_WAITING_BYTES, insert_queued_files
from porch.storage.database import Database
from porch.storage.retrying import retried

# A run that is being committed locks the row of its process: one that freezes then keeps others from all its runs.
PAUSE_MS = 2000
MAX_MESSAGES = 400
MAX_HISTORY_BYTES = 4 * 1024 * 1024

Busy = Literal["reject", "queue", "interrupt"]

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


class LoadedTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as a new run finds it.

    `version` is None for an agent that only has a draft, and in a `trial` of its draft; `message` is the one
    that `history` begins with, newest first; `misplaced` says that the place is none of this conversation's;
    `active_run` is at work there just now. What is only `remembered` is looked at again when the run starts.
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
    remembered: bool = False

    def sight(self, conversation: UUID) -> Sight:
        """Whose it is."""
        return Sight(self.agent, conversation, self.participant_kind, self.participant)


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """What `start_run` commits in one transaction.

    The message follows `parent`, which `at_head` must still be the conversation's last; without `parts` it is
    there already. `title` is for a conversation that has none. Messages `before` it come in with it, as JSON; with
    `opened_by`, a participant's kind and id, the conversation does, which is ephemeral and stays for `keep`. `busy` is
    what becomes of it while another run is at work: it may wait, `size` bytes of it, for its turn at the place `how`.
    With `handle`, the agent must still be of that name, version and draft.
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
    busy: Busy = "reject"
    how: str = "head"
    asked_by: str = ""
    size: int = 0
    handle: str | None = None
    author: tuple[Kind, UUID, str] | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key that the caller holds, and the body to keep as its answer."""

    principal: UUID
    route: str
    key: str
    body: bytes


Status = Literal["queued", "running", "paused", "finished", "failed", "cancelled"]
ACTIVE = ("queued", "running", "paused")


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


@retried
async def start_run(database: Database, new: NewRun) -> tuple[str, UUID | None]:
    """Commit a message, its run and the run's first events. Answers what `porch.start_run` does."""
    key = new.key
    # Each statement of system() commits by itself: all that a participant's message without files needs.
    whole = bool(new.files or new.author)
    async with database.tenant(new.workspace) if whole else database.system() as connection:
        if whole:
            await connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {PAUSE_MS}")
        row = await connection.fetchrow(
            "SELECT * FROM porch.start_run($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,"
            "$19,$20,$21,$22,$23,$24,$25,$26,$27,$28,$29,$30)",
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
            new.busy,
            new.how,
            new.asked_by,
            new.size,
            MAX_WAITING,
            MAX_WAITING_BYTES,
            new.handle,
        )
        assert row is not None
        if new.files and row["outcome"] == "started":
            await insert_files(connection, new.workspace, new.files)
        elif new.files and row["outcome"] == "queued":
            await insert_queued_files(connection, new.workspace, new.run, new.files)
        if new.author and row["outcome"] in {"started", "queued"}:
            await insert_author(connection, new.workspace, new.conversation, new.message, new.author)
    return row["outcome"], row["active_run"]


async def load_options(database: Database, workspace: UUID, run: UUID) -> RunOptions:
    """What the caller added to a run."""
    async with database.tenant(workspace) as connection:
        found = await connection.fetchval(
            "SELECT options FROM porch.runs WHERE workspace_id = $1 AND id = $2"
            " UNION ALL SELECT options FROM porch.queued_runs WHERE workspace_id = $1 AND id = $2",
            workspace,
            run,
        )
    return msgspec.json.decode(found, type=RunOptions) if found else NO_OPTIONS


async def pause_of(database: Database, workspace: UUID, run: UUID) -> PauseReason | None:
    """What a paused run waits for; None of one that is at work, or over."""
    async with database.tenant(workspace) as connection:
        return await connection.fetchval(
            "SELECT paused_for FROM porch.runs WHERE workspace_id = $1 AND id = $2 AND status = 'paused'",
            workspace,
            run,
        )


@retried
async def request_cancel(database: Database, workspace: UUID, run: UUID, by: str) -> None:
    """Ask whoever holds the run to cancel it; its next heartbeat reads this."""
    async with database.system() as connection:
        await connection.execute("SELECT porch.cancel_run($1, $2, $3)", workspace, run, by)
