"""What one can do with agents: make and change drafts, publish versions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import msgspec

from porch.agents import store
from porch.agents.model import Agent, StaleRevision, Version
from porch.agents.obstacles import obstacle
from porch.contract.definition import HANDLE, Definition, content_hash, definition_value, parse_definition
from porch.contract.errors import Conflict, InvalidInput, NotFound
from porch.contract.ids import format_id, parse_id
from porch.contract.principal import Principal, Verb
from porch.contract.text import check_text
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.retrying import retried

MAX_DEFINITION_BYTES = 256 * 1024
MAX_NOTE_BYTES = 2000
# What is read at once of agents that are read all.
PAGE_AGENTS = 200

DefinitionCheck = Callable[[Definition, UUID], list[str]]
"""From a definition and its workspace to warnings, such as a key that is not set.

Raises InvalidInput for unknown models and tools.
"""

AgentChanged = Callable[[UUID, UUID], None]
"""Told of a workspace's agent that was changed, published or deleted."""


@dataclass(frozen=True, slots=True)
class Agents:
    """The agents of a database. `check` is asked before a definition is kept, and `changed` is told afterwards."""

    database: Database
    check: DefinitionCheck = lambda _definition, _workspace: []
    changed: AgentChanged = lambda _workspace, _agent: None

    @retried
    async def create(self, principal: Principal, definition: object) -> tuple[Agent, list[str]]:
        """A new agent from the JSON value of its definition, and warnings. Raises InvalidInput, Conflict."""
        principal.require("write", "agents")
        checked = read_definition(definition)
        warnings = self.check(checked, principal.workspace)
        async with self.database.tenant(principal.workspace) as connection:
            return await store.insert_agent(connection, principal.workspace, checked), warnings

    async def page(self, principal: Principal, *, before: UUID | None, limit: int) -> list[Agent]:
        """Agents, newest first."""
        principal.require("read", "agents")
        async with self.database.tenant(principal.workspace) as connection:
            return await store.list_agents(connection, principal.workspace, before, limit)

    async def runnable(self, principal: Principal) -> list[Agent]:
        """All agents that the principal may run, newest first."""
        found: list[Agent] = []
        before: UUID | None = None
        async with self.database.tenant(principal.workspace) as connection:
            while rows := await store.list_agents(connection, principal.workspace, before, PAGE_AGENTS):
                found += [row for row in rows if principal.allows("run", "agents", format_id("agt", row.id))]
                before = rows[-1].id
        return found

    async def read(self, principal: Principal, agent: str) -> Agent:
        """One agent by handle or id. Raises NotFound."""
        async with self.database.tenant(principal.workspace) as connection:
            return await reach_agent(connection, principal, agent, "read")

    async def meet(self, principal: Principal, agent: str) -> tuple[Agent, Definition]:
        """One agent for those who may talk to it, and the definition that answers. Raises NotFound."""
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "run")
            latest = await self._latest(connection, principal, found)
        return found, latest.definition if latest else found.draft

    async def published(self, principal: Principal, agents: Sequence[Agent]) -> dict[UUID, str]:
        """The content hash of the latest version of each of these agents that has one."""
        identifiers = [agent.id for agent in agents if agent.latest_version is not None]
        if not identifiers:
            return {}
        async with self.database.tenant(principal.workspace) as connection:
            return await store.latest_hashes(connection, principal.workspace, identifiers)

    async def replace(
        self, principal: Principal, agent: str, definition: object, revision: int | None
    ) -> tuple[Agent, list[str]]:
        """The agent with another draft. With `revision`, only on top of that one (StaleRevision)."""
        return await self._change(principal, agent, lambda _: definition, revision)

    async def patch(
        self, principal: Principal, agent: str, change: object, revision: int | None
    ) -> tuple[Agent, list[str]]:
        """The agent with its draft changed by a JSON merge patch (RFC 7396)."""
        if not isinstance(change, dict):
            raise InvalidInput("A change to a definition is a JSON object of the keys to change.")
        keys = cast("dict[str, object]", change)
        return await self._change(
            principal, agent, lambda draft: merge(definition_value(draft), keys), revision
        )

    @retried
    async def delete(self, principal: Principal, agent: str) -> None:
        """Removes the agent and all that belongs to it. Raises Conflict while a run is at work."""
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "write", lock=True)
            if reason := await store.agent_waits_for(connection, principal.workspace, found.id):
                raise Conflict(
                    obstacle(principal, reason, f"An answer by {found.handle!r}", "delete the agent")
                )
            await store.delete_agent(connection, principal.workspace, found.id)
        self.changed(principal.workspace, found.id)

    @retried
    async def publish(
        self, principal: Principal, agent: str, *, note: str = "", revision: int | None = None
    ) -> tuple[Agent, Version, bool, list[str]]:
        """The agent, its draft as a version, whether that is new, and warnings.

        A draft equal to the latest version answers that one.
        """
        note = check_text(note, "The note", MAX_NOTE_BYTES)
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "write", lock=True)
            check_revision(found, revision)
            warnings = self.check(found.draft, principal.workspace)
            latest = await self._latest(connection, principal, found)
            if latest is not None and latest.content_hash == content_hash(found.draft):
                return found, latest, False, warnings
            version = await store.insert_version(
                connection, principal.workspace, found, note=note, created_by=principal.id
            )
        self.changed(principal.workspace, found.id)
        return found, version, True, warnings

    async def versions(
        self, principal: Principal, agent: str, *, before: int | None, limit: int
    ) -> tuple[Agent, Sequence[Version]]:
        """The agent and its versions, newest first."""
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "read")
            versions = await store.list_versions(connection, principal.workspace, found.id, before, limit)
        return found, versions

    async def version(self, principal: Principal, agent: str, number: int) -> tuple[Agent, Version]:
        """One version. Raises NotFound."""
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "read")
            version = await store.read_version(connection, principal.workspace, found.id, number)
        if version is None:
            raise NotFound(f"{found.handle!r} has no version {number}; its latest is {found.latest_version}.")
        return found, version

    @retried
    async def _change(
        self, principal: Principal, agent: str, make: Callable[[Definition], object], revision: int | None
    ) -> tuple[Agent, list[str]]:
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "write", lock=True)
            check_revision(found, revision)
            checked = read_definition(make(found.draft))
            warnings = self.check(checked, principal.workspace)
            changed = await store.update_draft(connection, principal.workspace, found.id, checked)
        self.changed(principal.workspace, found.id)
        return changed, warnings

    async def _latest(self, connection: Connection, principal: Principal, agent: Agent) -> Version | None:
        if agent.latest_version is None:
            return None
        return await store.read_version(connection, principal.workspace, agent.id, agent.latest_version)


async def reach_agent(
    connection: Connection, principal: Principal, named: str, *verbs: Verb, lock: bool = False
) -> Agent:
    """The agent that a path names by handle or id, if the principal may do one of `verbs` to it.

    Raises NotFound when there is none or its scopes reach others alone, Forbidden when they allow other verbs.
    """
    identifier = parse_id("agt", named) if named.startswith("agt_") else None
    found = None
    if identifier or HANDLE.fullmatch(named):
        found = await store.find_agent(
            connection, principal.workspace, identifier=identifier, handle=named, lock=lock
        )
    if found is not None:
        object_id = format_id("agt", found.id)
        if any(principal.allows(verb, "agents", object_id) for verb in verbs):
            return found
        if any(principal.allows(verb, "agents", object_id) for verb in KNOWING):
            principal.require(verbs[0], "agents", object_id)
    raise NotFound(f"There is no agent {named[:80]!r} in {principal.workspace_handle!r}.")


# Whoever may do one of these to an agent knows that it is there.
KNOWING: tuple[Verb, ...] = ("read", "run")


def read_definition(value: object) -> Definition:
    """A definition that can be kept, from its JSON value. Raises InvalidInput."""
    if not isinstance(value, dict):
        raise InvalidInput(
            "An agent's definition is a JSON object such as "
            '{"name": "helper", "instructions": "Be brief.", "model": "local:smollm2"}.'
        )
    definition = parse_definition(cast("dict[str, Any]", value))
    check_texts(cast("dict[str, object]", value), "")
    size = len(msgspec.json.encode(value))
    if size > MAX_DEFINITION_BYTES:
        raise InvalidInput(
            f"The definition is {size:,} bytes long; the limit is {MAX_DEFINITION_BYTES:,}. Shorten it."
        )
    return definition


def check_texts(value: object, pointer: str) -> None:
    """Raise InvalidInput for a text within a JSON value that cannot be stored, keys included."""
    if isinstance(value, str):
        check_text(value, f"The definition's {pointer or 'text'}", MAX_DEFINITION_BYTES)
    elif isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            check_text(key, f"A key in the definition's {pointer or 'top'}", MAX_DEFINITION_BYTES)
            check_texts(item, f"{pointer}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            check_texts(item, f"{pointer}/{index}")


def check_revision(agent: Agent, revision: int | None) -> None:
    """Raise StaleRevision when the caller has seen another revision of the draft."""
    if revision is not None and revision != agent.revision:
        raise StaleRevision(
            f"The draft of {agent.handle!r} is at revision {agent.revision}, and If-Match names {revision}. "
            "Read it again, apply the change to that, and send it with its ETag."
        )


def merge(target: object, patch: object) -> object:
    """A JSON merge patch applied: null removes a key, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(cast("dict[str, object]", target)) if isinstance(target, dict) else {}
    for key, value in cast("dict[str, object]", patch).items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result
