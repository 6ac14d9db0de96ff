"""Several people in one conversation: one that is open to the members of its workspace, and who said what in it."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from porch.agents.model import Conversation
from porch.contract.errors import Conflict
from porch.contract.ids import format_id, parse_id
from porch.contract.messages import Author, Message
from porch.contract.principal import Kind, Principal
from porch.storage.connection import Connection
from porch.storage.database import Database

GONE = "A former member"
VISITOR = "A visitor"


def is_own(principal: Principal, kind: str, participant: UUID) -> bool:
    """Whether the principal is the participant itself."""
    return (principal.kind, principal.id) == (kind, participant)


class Sight(NamedTuple):
    """Whose a conversation or a run of it is: its agent, its conversation, and kind and id of who takes part."""

    agent: UUID
    conversation: UUID
    kind: str
    participant: UUID


def is_keeper(principal: Principal, agent: UUID, kind: str, participant: UUID) -> bool:
    """Whether the principal reaches the agent, and is the participant or looks after all conversations."""
    administers = principal.kind == "user" and principal.allows("admin", "conversations")
    return principal.reaches(agent) and (administers or is_own(principal, kind, participant))


def may_keep(principal: Principal, conversation: Conversation) -> bool:
    """Whether it is the principal's own to rename, open, share and delete, or the principal administers them all."""
    whose = conversation.participant_kind, conversation.participant_id
    return is_keeper(principal, conversation.agent_id, *whose)


def may_see(principal: Principal, conversation: Conversation) -> bool:
    """Whether the principal may read it, and as far as its role goes take part."""
    joined = principal.kind == "user" and conversation.audience == "members"
    return (joined and principal.reaches(conversation.agent_id)) or may_keep(principal, conversation)


def may_open(conversation: Conversation) -> bool:
    """Whether it is one that can be opened to members: a member's, and no try of a draft."""
    return conversation.participant_kind == "user" and not conversation.draft


async def may_join(database: Database, principal: Principal, sight: Sight) -> bool:
    """`may_see` where the conversation itself was not read: whether it is open is asked if that decides."""
    if is_keeper(principal, sight.agent, sight.kind, sight.participant):
        return True
    if principal.kind != "user" or not principal.reaches(sight.agent):
        return False
    return await is_open(database, principal.workspace, sight.conversation)


async def is_open(database: Database, workspace: UUID, conversation: UUID) -> bool:
    """Whether a conversation is open to the members of its workspace."""
    async with database.tenant(workspace) as connection:
        found = await connection.fetchval(
            "SELECT audience = 'members' FROM porch.conversations"
            " WHERE workspace_id = $1 AND id = $2 AND deleted_at IS NULL",
            workspace,
            conversation,
        )
    return bool(found)


async def set_audience(
    connection: Connection, workspace: UUID, conversation: Conversation, audience: str
) -> None:
    """Opens it to the members of its workspace, or closes it to them. Raises Conflict for what cannot be opened."""
    if audience == "members" and not may_open(conversation):
        raise Conflict(
            "Only a member's conversation with a published agent can be opened to the others: this one tries a draft, "
            "or is a visitor's."
        )
    await connection.execute(
        "UPDATE porch.conversations SET audience = $3 WHERE workspace_id = $1 AND id = $2",
        workspace,
        conversation.id,
        audience,
    )


async def insert_author(
    connection: Connection, workspace: UUID, conversation: UUID, message: UUID, who: tuple[Kind, UUID, str]
) -> None:
    """Notes who said a message that is not its conversation's participant's."""
    kind, author, name = who
    await connection.execute(
        "INSERT INTO porch.message_authors (workspace_id, message_id, conversation_id, kind, author_id, name)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        workspace,
        message,
        conversation,
        kind,
        author,
        name,
    )


async def tell_authors(
    connection: Connection, principal: Principal, conversation: Conversation, messages: Sequence[Message]
) -> list[Message]:
    """The same messages, in which what people said names who said it."""
    said = [parse_id("msg", message.id) for message in messages if message.role == "user"]
    if not said:
        return list(messages)
    rows = await connection.fetch(
        "SELECT message_id, kind, author_id, name FROM porch.message_authors"
        " WHERE workspace_id = $1 AND message_id = ANY ($2)",
        principal.workspace,
        said,
    )
    kind, whose = conversation.participant_kind, conversation.participant_id
    others = {
        format_id("msg", row["message_id"]): _author(principal, row["kind"], row["author_id"], row["name"])
        for row in rows
    }
    participant = _author(principal, kind, whose, await _name(connection, principal, kind, whose))
    return [
        message
        if message.role != "user"
        else msgspec.structs.replace(message, author=others.get(message.id, participant))
        for message in messages
    ]


def _author(principal: Principal, kind: str, who: UUID, name: str) -> Author:
    prefix = {"user": "usr", "guest": "gst", "agent": "agt"}[kind]
    return Author(id=format_id(prefix, who), name=name, you=is_own(principal, kind, who))


async def _name(connection: Connection, principal: Principal, kind: str, who: UUID) -> str:
    if is_own(principal, kind, who):
        return principal.name
    if kind != "user":
        return VISITOR
    return await connection.fetchval("SELECT porch.member_name($1)", who) or GONE
