"""Conversations under names that clients give them: protocols whose clients choose the id begin theirs here.

The conversation's own id is derived from the participant, the agent and the client's name, so the same name finds
it again from any process, and nobody else's.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from porch.agents import conversation_store as store
from porch.agents.model import Agent, Conversation
from porch.agents.service import reach_agent
from porch.agents.together import may_see
from porch.contract.errors import Conflict, InvalidInput, NotFound
from porch.contract.ids import parse_id
from porch.contract.principal import Principal
from porch.contract.text import check_text
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.retrying import retried

MAX_NAME_BYTES = 512
# A deleted conversation keeps its id for ten minutes; a client that goes on under its name gets the next one.
GENERATIONS = 8


@dataclass(frozen=True, slots=True)
class Threads:
    """The conversations of a database by their clients' names."""

    database: Database

    async def find(self, principal: Principal, agent: str, name: str) -> Conversation | None:
        """The principal's conversation with an agent of this name, or of this id; None where there is none yet.

        Raises NotFound for an agent, or an id, out of reach.
        """
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "run")
            return await _find(connection, principal, found, _checked(name))

    @retried
    async def open(self, principal: Principal, agent: str, name: str) -> Conversation:
        """The same, begun where there is none yet."""
        name = _checked(name)
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "run")
            if conversation := await _find(connection, principal, found, name):
                return conversation
            for identifier in _identifiers(principal, found, name):
                await connection.execute(
                    "INSERT INTO porch.conversations (workspace_id, id, agent_id, participant_kind, participant_id)"
                    " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (workspace_id, id) DO NOTHING",
                    principal.workspace,
                    identifier,
                    found.id,
                    principal.kind,
                    principal.id,
                )
                if conversation := await store.read_conversation(connection, principal.workspace, identifier):
                    return conversation
        raise Conflict(
            f"The conversation {name[:80]!r} was deleted too often just now. Use another id for it."
        )


async def _find(connection: Connection, principal: Principal, agent: Agent, name: str) -> Conversation | None:
    if name.startswith("conv_"):
        found = await store.read_conversation(connection, principal.workspace, parse_id("conv", name))
        if found is None or found.agent_id != agent.id or not may_see(principal, found):
            raise NotFound(f"There is no conversation {name[:80]!r} with this agent here.")
        return found
    for identifier in _identifiers(principal, agent, name):
        if found := await store.read_conversation(connection, principal.workspace, identifier):
            return found
    return None


def _identifiers(principal: Principal, agent: Agent, name: str) -> Iterator[UUID]:
    """The ids that a name may have, by preference, as UUIDv8 (RFC 9562, section 5.8)."""
    for generation in range(GENERATIONS):
        seed = (
            principal.kind.encode(),
            principal.id.bytes,
            agent.id.bytes,
            bytes([generation]),
            name.encode(),
        )
        digest = int.from_bytes(hashlib.sha256(b"\0".join(seed)).digest()[:16], "big")
        yield UUID(int=digest & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62)


def _checked(name: str) -> str:
    if not name.strip():
        raise InvalidInput("The conversation's id is empty; give it one, a UUID for example.")
    return check_text(name, "The conversation's id", MAX_NAME_BYTES)
