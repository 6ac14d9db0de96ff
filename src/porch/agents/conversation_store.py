"""The SQL of conversations and messages. Every statement names the workspace and runs in a transaction of it."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import msgspec

from porch.agents.activity import Activity
from porch.agents.model import Agent, Conversation, Hit
from porch.agents.obstacles import Reason
from porch.contract.ids import format_id, new_uuid
from porch.contract.messages import Message, Part
from porch.contract.principal import Principal
from porch.storage.connection import Connection, Record
from porch.storage.database import Database

_COLUMNS = (
    "SELECT c.id, c.agent_id, a.handle AS agent_handle, c.participant_kind, c.participant_id, c.title, c.draft,"
    " c.head_message_id, c.created_at, c.updated_at, c.audience,"
    " (SELECT r.id FROM porch.runs r WHERE r.workspace_id = c.workspace_id AND r.conversation_id = c.id"
    "  AND r.status IN ('running', 'paused')) AS active_run"
)
# In the same statement as `active_run`: a run that begins leaves the one and is in the other, in no moment in neither.
_WAITING = (
    ", (SELECT count(*) FROM porch.queued_runs q"
    "  WHERE q.workspace_id = c.workspace_id AND q.conversation_id = c.id) AS waiting"
)
_FROM = (
    " FROM porch.conversations c"
    " JOIN porch.agents a ON a.workspace_id = c.workspace_id AND a.id = c.agent_id"
    " WHERE c.workspace_id = $1"
)
SELECT = _COLUMNS + _FROM
SELECT_ONE = _COLUMNS + _WAITING + _FROM
ALIVE = " AND c.deleted_at IS NULL"
BEGUN = " AND (c.head_message_id IS NOT NULL OR c.title <> '')"
# How long a deleted conversation can be restored.
UNDO = timedelta(minutes=10)
# How long a draft stays after its last message.
DRAFT_IDLE = timedelta(days=7)


async def insert_conversation(
    connection: Connection, principal: Principal, agent: Agent, title: str, *, draft: bool
) -> Conversation:
    """A new conversation of the principal with an agent of its workspace."""
    row = await connection.fetchrow(
        "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id, title, draft)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " RETURNING id, agent_id, participant_kind, participant_id, title, draft, head_message_id, created_at,"
        " updated_at",
        principal.workspace,
        new_uuid(),
        agent.id,
        principal.kind,
        principal.id,
        title,
        draft,
    )
    return Conversation(
        agent_handle=agent.handle, active_run=None, waiting=0, **dict(cast("Record", row).items())
    )


async def read_conversation(
    connection: Connection, workspace: UUID, conversation: UUID, *, lock: bool = False
) -> Conversation | None:
    """One conversation; `lock` keeps runs from starting in it till the transaction's end."""
    row = await connection.fetchrow(
        f"{SELECT_ONE}{ALIVE} AND c.id = $2{' FOR UPDATE OF c' if lock else ''}", workspace, conversation
    )
    return _conversation(row) if row else None


async def list_conversations(
    connection: Connection,
    workspace: UUID,
    agent: UUID,
    participant: UUID | None,
    before: UUID | None,
    limit: int,
) -> list[Conversation]:
    """Conversations with an agent, newest first, of one participant or of all; without drafts and ephemeral ones."""
    rows = await connection.fetch(
        f"{SELECT}{ALIVE} AND NOT c.draft AND c.expires_at IS NULL AND c.agent_id = $2"
        " AND ($3::uuid IS NULL OR c.participant_id = $3)"
        " AND ($4::uuid IS NULL OR c.id < $4) ORDER BY c.id DESC LIMIT $5",
        workspace,
        agent,
        participant,
        before,
        limit,
    )
    return [_conversation(row) for row in rows]


async def list_active(
    connection: Connection,
    principal: Principal,
    agents: Collection[UUID] | None,
    after: Activity | None,
    limit: int,
    *,
    begun: bool = False,
) -> list[Conversation]:
    """The principal's own conversations, the last active first; `begun` leaves out those without word and title."""
    rows = await connection.fetch(
        f"{SELECT}{ALIVE}{BEGUN if begun else ''} AND NOT c.draft AND c.expires_at IS NULL"
        " AND c.participant_id = $2 AND c.participant_kind = $3"
        " AND ($4::uuid[] IS NULL OR c.agent_id = ANY ($4))"
        " AND (c.updated_at, c.id) < (coalesce($5, 'infinity'::timestamptz),"
        "  coalesce($6, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))"
        " ORDER BY c.updated_at DESC, c.id DESC LIMIT $7",
        principal.workspace,
        principal.id,
        principal.kind,
        list(agents) if agents is not None else None,
        after and after.at,
        after and after.conversation,
        limit,
    )
    return [_conversation(row) for row in rows]


async def list_open(
    connection: Connection,
    workspace: UUID,
    agents: Collection[UUID] | None,
    after: Activity | None,
    limit: int,
) -> list[Conversation]:
    """Those that are open to the workspace's members, the last active first."""
    rows = await connection.fetch(
        f"{SELECT}{ALIVE} AND c.audience = 'members' AND NOT c.draft AND ($2::uuid[] IS NULL OR c.agent_id = ANY ($2))"
        " AND (c.updated_at, c.id) < (coalesce($3, 'infinity'::timestamptz),"
        "  coalesce($4, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))"
        " ORDER BY c.updated_at DESC, c.id DESC LIMIT $5",
        workspace,
        list(agents) if agents is not None else None,
        after and after.at,
        after and after.conversation,
        limit,
    )
    return [_conversation(row) for row in rows]


async def search_conversations(
    connection: Connection,
    principal: Principal,
    text: str,
    agent: UUID | None,
    after: Activity | None,
    limit: int,
) -> list[Hit]:
    """The principal's own conversations with these words in a message or the title, the last active first."""
    found = await connection.fetch(
        "SELECT * FROM porch.search_conversations($1, $2, $3, $4, $5, $6, $7)",
        principal.kind,
        principal.id,
        agent,
        text,
        after and after.at,
        after and after.conversation,
        limit,
    )
    rows = await connection.fetch(
        f"{SELECT}{ALIVE} AND c.id = ANY ($2)", principal.workspace, [row["conversation_id"] for row in found]
    )
    conversations = {row["id"]: _conversation(row) for row in rows}
    return [
        Hit(conversation=conversation, message=row["message_id"], snippet=row["snippet"])
        for row in found
        if (conversation := conversations.get(row["conversation_id"]))
    ]


async def conversation_waits_for(
    connection: Connection, workspace: UUID, conversation: UUID
) -> Reason | None:
    """Why a run in it has not ended; None where all have.

    Asked after the lock: `active_run` was read before that was waited for.
    """
    return await connection.fetchval(
        "SELECT coalesce((SELECT CASE status WHEN 'paused' THEN coalesce(paused_for, 'answer') ELSE 'answer' END"
        "  FROM porch.runs WHERE workspace_id = $1 AND conversation_id = $2 AND status IN ('running', 'paused')"
        "  LIMIT 1),"
        " (SELECT 'answer' FROM porch.queued_runs WHERE workspace_id = $1 AND conversation_id = $2 LIMIT 1))",
        workspace,
        conversation,
    )


async def rename_conversation(
    connection: Connection, workspace: UUID, conversation: UUID, title: str
) -> None:
    """Gives it another title; its place in the list stays."""
    await connection.execute(
        "UPDATE porch.conversations SET title = $3 WHERE workspace_id = $1 AND id = $2",
        workspace,
        conversation,
        title,
    )


async def move_head(connection: Connection, workspace: UUID, conversation: UUID, message: UUID) -> bool:
    """Makes one of its messages the end of the branch; False when it has no such message."""
    done = await connection.execute(
        "UPDATE porch.conversations c SET head_message_id = m.id FROM porch.messages m"
        " WHERE c.workspace_id = $1 AND c.id = $2"
        " AND m.workspace_id = c.workspace_id AND m.conversation_id = c.id AND m.id = $3",
        workspace,
        conversation,
        message,
    )
    return done == "UPDATE 1"


async def mark_deleted(connection: Connection, workspace: UUID, conversation: UUID) -> None:
    """Takes the conversation out of every read; `porch.purge_conversations` removes it later."""
    await connection.execute(
        "UPDATE porch.conversations SET deleted_at = now() WHERE workspace_id = $1 AND id = $2",
        workspace,
        conversation,
    )


async def read_deleted(
    connection: Connection, workspace: UUID, conversation: UUID, *, lock: bool = False
) -> Conversation | None:
    """A conversation deleted so shortly ago that it can be restored; `lock` keeps it so till the transaction's end."""
    row = await connection.fetchrow(
        f"{SELECT_ONE} AND c.id = $2 AND c.deleted_at > now() - $3::interval{' FOR UPDATE OF c' if lock else ''}",
        workspace,
        conversation,
        UNDO,
    )
    return _conversation(row) if row else None


async def unmark_deleted(connection: Connection, workspace: UUID, conversation: UUID) -> None:
    """Brings it back."""
    await connection.execute(
        "UPDATE porch.conversations SET deleted_at = NULL WHERE workspace_id = $1 AND id = $2",
        workspace,
        conversation,
    )


async def purge_conversations(database: Database, limit: int) -> int:
    """Removes for good, in all workspaces, what can no longer be restored; answers how many that were."""
    async with database.system() as connection:
        return await connection.fetchval("SELECT porch.purge_conversations($1, $2)", UNDO, limit)


async def purge_drafts(database: Database, limit: int) -> int:
    """Removes for good, in all workspaces, the drafts that nobody went on with; answers how many."""
    async with database.system() as connection:
        return await connection.fetchval("SELECT porch.purge_drafts($1, $2)", DRAFT_IDLE, limit)


async def purge_expired(database: Database, limit: int) -> int:
    """Removes for good, in all workspaces, the ephemeral ones whose time has come; answers how many."""
    async with database.system() as connection:
        return await connection.fetchval("SELECT porch.purge_expired($1)", limit)


async def index_messages(database: Database, limit: int) -> int:
    """Makes new messages of all workspaces searchable; answers how many."""
    async with database.system() as connection:
        return await connection.fetchval("SELECT porch.index_messages($1)", limit)


async def read_branch(
    connection: Connection, workspace: UUID, head: UUID, limit: int | None = None, room: int | None = None
) -> list[Message]:
    """The messages up to this one, oldest first; with a limit the newest of them, and no more once they fill `room`.

    `room` is in bytes; this message itself is always there.
    """
    rows = await connection.fetch(
        "WITH RECURSIVE branch AS ("
        " SELECT m.id, m.parent_id, 1 AS n, CASE WHEN $4::bigint IS NULL THEN 0"
        "  ELSE octet_length(m.parts::text)::bigint END AS size"
        " FROM porch.messages m WHERE m.workspace_id = $1 AND m.id = $2"
        " UNION ALL SELECT m.id, m.parent_id, b.n + 1, CASE WHEN $4::bigint IS NULL THEN 0"
        "  ELSE b.size + octet_length(m.parts::text) END"
        " FROM branch b JOIN porch.messages m ON m.workspace_id = $1 AND m.id = b.parent_id"
        " WHERE b.n < coalesce($3, 1000000) AND ($4::bigint IS NULL OR b.size < $4))"
        " SELECT m.id, m.parent_id, m.run_id, m.role, m.parts, m.created_at"
        " FROM branch b JOIN porch.messages m ON m.workspace_id = $1 AND m.id = b.id ORDER BY b.n DESC",
        workspace,
        head,
        limit,
        room,
    )
    return [_message(row) for row in rows]


async def branch_ids(connection: Connection, workspace: UUID, head: UUID) -> bytes:
    """The ids of all messages up to this one, oldest first, 16 bytes each."""
    return await connection.fetchval(
        "WITH RECURSIVE branch AS ("
        " SELECT m.id, m.parent_id, 1 AS n FROM porch.messages m WHERE m.workspace_id = $1 AND m.id = $2"
        " UNION ALL SELECT m.id, m.parent_id, b.n + 1"
        " FROM branch b JOIN porch.messages m ON m.workspace_id = $1 AND m.id = b.parent_id)"
        " SELECT coalesce(string_agg(uuid_send(id), ''::bytea ORDER BY n DESC), '') FROM branch",
        workspace,
        head,
    )


async def read_messages(
    connection: Connection, workspace: UUID, messages: list[UUID], room: int
) -> list[Message]:
    """The first of these messages, in this order: as many as fill `room` bytes, and up to one that is not there."""
    rows = await connection.fetch(
        "WITH RECURSIVE page AS ("
        " SELECT 1 AS n, octet_length(m.parts::text)::bigint AS size,"
        "  m.id, m.parent_id, m.run_id, m.role, m.parts, m.created_at"
        " FROM porch.messages m WHERE m.workspace_id = $1 AND m.id = ($2::uuid[])[1]"
        " UNION ALL SELECT p.n + 1, p.size + octet_length(m.parts::text),"
        "  m.id, m.parent_id, m.run_id, m.role, m.parts, m.created_at"
        # The LIMIT keeps the planner from reading the whole workspace at every step to make a hash of it.
        " FROM page p CROSS JOIN LATERAL (SELECT * FROM porch.messages x"
        "  WHERE x.workspace_id = $1 AND x.id = ($2::uuid[])[p.n + 1] LIMIT 1) m"
        " WHERE p.size < $3)"
        " SELECT id, parent_id, run_id, role, parts, created_at FROM page ORDER BY n",
        workspace,
        messages,
        room,
    )
    return [_message(row) for row in rows]


async def list_messages(
    connection: Connection,
    workspace: UUID,
    conversation: UUID,
    after: UUID | None,
    limit: int,
    *,
    newest_first: bool,
) -> list[Message]:
    """Messages of all branches in the order they came, or newest first."""
    beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
    rows = await connection.fetch(
        "SELECT id, parent_id, run_id, role, parts, created_at FROM porch.messages"  # noqa: S608 - words from above
        f" WHERE workspace_id = $1 AND conversation_id = $2 AND ($3::uuid IS NULL OR id {beyond} $3)"
        f" ORDER BY id {order} LIMIT $4",
        workspace,
        conversation,
        after,
        limit,
    )
    return [_message(row) for row in rows]


def _conversation(row: Record) -> Conversation:
    return Conversation(**dict(row.items()))


def _message(row: Record) -> Message:
    values: dict[str, Any] = dict(row.items())
    return Message(
        id=format_id("msg", values["id"]),
        role=values["role"],
        parts=msgspec.json.decode(values["parts"], type=list[Part]),
        created_at=values["created_at"],
        parent=format_id("msg", values["parent_id"]) if values["parent_id"] else None,
        run=format_id("run", values["run_id"]) if values["run_id"] else None,
    )
