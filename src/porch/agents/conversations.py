"""What one can do with conversations and their messages.

A conversation is its participant's: others get NotFound, unless they hold `admin:conversations`.
"""

from dataclasses import dataclass
from uuid import UUID

from porch.agents import conversation_store as store
from porch.agents.model import Conversation
from porch.agents.service import reach_agent
from porch.contract.errors import Conflict, NotFound
from porch.contract.ids import parse_id
from porch.contract.messages import Message
from porch.contract.principal import Principal
from porch.contract.text import check_text
from porch.storage.connection import Connection
from porch.storage.database import Database

MAX_TITLE_BYTES = 400


@dataclass(frozen=True, slots=True)
class Conversations:
    """The conversations of a database."""

    database: Database

    async def create(self, principal: Principal, agent: str, title: str = "") -> Conversation:
        """A new conversation of the principal with an agent that it may run."""
        title = check_text(title.strip(), "The title", MAX_TITLE_BYTES)
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "run")
            return await store.insert_conversation(connection, principal, found, title)

    async def page(
        self, principal: Principal, agent: str, *, before: UUID | None, limit: int
    ) -> list[Conversation]:
        """Conversations with an agent, newest first: the principal's own, with `admin:conversations` all."""
        principal.require("read", "conversations")
        participant = None if principal.allows("admin", "conversations") else principal.id
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "read", "run")
            return await store.list_conversations(
                connection, principal.workspace, found.id, participant, before, limit
            )

    async def read(self, principal: Principal, conversation: str) -> Conversation:
        """One conversation by id. Raises NotFound."""
        principal.require("read", "conversations")
        async with self.database.tenant(principal.workspace) as connection:
            return await reach_conversation(connection, principal, conversation)

    async def delete(self, principal: Principal, conversation: str) -> None:
        """Removes a conversation with its messages and runs. Raises Conflict while a run is at work in it."""
        principal.require("write", "conversations")
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation, lock=True)
            if await store.conversation_is_busy(connection, principal.workspace, found.id):
                raise Conflict(
                    "A run is at work in this conversation. Cancel it or wait for its end, then delete."
                )
            await store.delete_conversation(connection, principal.workspace, found.id)

    async def messages(
        self, principal: Principal, conversation: str, *, after: UUID | None, limit: int, newest_first: bool
    ) -> list[Message]:
        """Messages of a conversation, all branches; each names its parent."""
        principal.require("read", "conversations")
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_conversation(connection, principal, conversation)
            return await store.list_messages(
                connection, principal.workspace, found.id, after, limit, newest_first=newest_first
            )


async def reach_conversation(
    connection: Connection, principal: Principal, named: str, *, lock: bool = False
) -> Conversation:
    """The conversation with this id, if it is the principal's or the principal administers them.

    Raises NotFound for all others.
    """
    found = await store.read_conversation(connection, principal.workspace, parse_id("conv", named), lock=lock)
    if found is not None:
        own = (found.participant_kind, found.participant_id) == (principal.kind, principal.id)
        if own or principal.allows("admin", "conversations"):
            return found
    raise NotFound(f"There is no conversation {named[:80]!r} here.")
