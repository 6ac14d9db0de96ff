"""The SQL of conversations and messages. Every statement names the workspace and runs in a transaction of it."""

from typing import Any, cast
from uuid import UUID

import msgspec

from porch.agents.model import Agent, Conversation
from porch.contract.ids import format_id, new_uuid
from porch.contract.messages import Message, Part
from porch.contract.principal import Principal
from porch.storage.connection import Connection, Record

SELECT = (
    "SELECT c.id, c.agent_id, a.handle AS agent_handle, c.participant_kind, c.participant_id, c.title,"
    " c.created_at, c.updated_at FROM porch.conversations c"
    " JOIN porch.agents a ON a.workspace_id = c.workspace_id AND a.id = c.agent_id"
    " WHERE c.workspace_id = $1"
)


async def insert_conversation(
    connection: Connection, principal: Principal, agent: Agent, title: str
) -> Conversation:
    """A new conversation of the principal with an agent of its workspace."""
    row = await connection.fetchrow(
        "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id, title)"
        " VALUES ($1, $2, $3, $4, $5, $6)"
        " RETURNING id, agent_id, participant_kind, participant_id, title, created_at, updated_at",
        principal.workspace,
        new_uuid(),
        agent.id,
        principal.kind,
        principal.id,
        title,
    )
    return Conversation(agent_handle=agent.handle, **dict(cast("Record", row).items()))


async def read_conversation(
    connection: Connection, workspace: UUID, conversation: UUID, *, lock: bool = False
) -> Conversation | None:
    """One conversation; `lock` keeps runs from starting in it till the transaction's end."""
    row = await connection.fetchrow(
        f"{SELECT} AND c.id = $2{' FOR UPDATE OF c' if lock else ''}", workspace, conversation
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
    """Conversations with an agent, newest first, of one participant or of all."""
    rows = await connection.fetch(
        f"{SELECT} AND c.agent_id = $2 AND ($3::uuid IS NULL OR c.participant_id = $3)"
        " AND ($4::uuid IS NULL OR c.id < $4) ORDER BY c.id DESC LIMIT $5",
        workspace,
        agent,
        participant,
        before,
        limit,
    )
    return [_conversation(row) for row in rows]


async def delete_conversation(connection: Connection, workspace: UUID, conversation: UUID) -> None:
    """Removes the conversation with its messages and runs."""
    await connection.execute(
        "DELETE FROM porch.conversations WHERE workspace_id = $1 AND id = $2", workspace, conversation
    )


async def conversation_is_busy(connection: Connection, workspace: UUID, conversation: UUID) -> bool:
    """Whether a run in it has not ended."""
    return await connection.fetchval(
        "SELECT EXISTS (SELECT FROM porch.runs WHERE workspace_id = $1 AND conversation_id = $2"
        " AND status IN ('running', 'paused'))",
        workspace,
        conversation,
    )


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
