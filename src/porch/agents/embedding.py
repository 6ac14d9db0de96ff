"""Agents on other sites: which may embed one, and the visitors who come from there."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from porch.agents import embedding_store as store
from porch.agents import store as agents
from porch.agents.model import Agent
from porch.agents.service import reach_agent
from porch.contract.definition import HANDLE, Definition
from porch.contract.errors import Conflict, NotFound
from porch.contract.principal import Principal
from porch.identity.guests import Visit, admit
from porch.identity.lifecycle import follow_handle
from porch.identity.origins import OriginNotAllowed, parse_origins
from porch.storage.connection import Connection
from porch.storage.database import Database
from porch.storage.retrying import retried


class NotPublished(Conflict):
    """Raised when an agent is to be embedded that has no version: strangers are answered by one alone."""

    code = "not_published"


class NotEmbeddedThere(OriginNotAllowed):
    """Raised when a page asks for an agent that is embedded, but not in its site; for the site's owner to read."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A visit, and the agent as its latest version has it, in the workspace of this handle."""

    visit: Visit
    workspace: str
    agent: Agent
    definition: Definition


@dataclass(frozen=True, slots=True)
class Embedding:
    """The sites of a database's agents. Whoever serves must forget what it remembers of tokens and sites after a
    change."""

    database: Database

    async def read(self, principal: Principal, agent: str) -> tuple[Agent, list[str]]:
        """An agent and its origins. Raises NotFound, Forbidden."""
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "read")
            return found, await store.list_origins(connection, principal.workspace, found.id)

    @retried
    async def replace(
        self, principal: Principal, agent: str, origins: Sequence[str]
    ) -> tuple[Agent, list[str]]:
        """The agent with these origins and no others; guests of a site that is not among them are out at once.

        Raises InvalidInput for what is no origin, NotPublished, NotFound, Forbidden.
        """
        wanted = parse_origins(origins)
        async with self.database.tenant(principal.workspace) as connection:
            found = await reach_agent(connection, principal, agent, "write", lock=True)
            if wanted and found.latest_version is None:
                raise NotPublished(
                    f"{found.handle!r} has no published version, and visitors of other sites are answered by one "
                    "alone. Publish it, then embed it."
                )
            await store.replace_origins(connection, principal.workspace, found.id, wanted)
        return found, wanted

    @retried
    async def admit(
        self, ws: str, agent: str, origin: str | None, *, known_by: str | None, address: str | None
    ) -> Admitted:
        """Let a visitor of a site in, as whom a token says that it had before, if there is one.

        Raises NotFound for an agent that is not there or not embedded at all, NotEmbeddedThere, OriginNotAllowed
        for a token of another site, RateLimited.
        """
        led = await follow_handle(self.database, ws) if HANDLE.fullmatch(agent) else None
        if led is not None:
            workspace, ws = led
            async with self.database.tenant(workspace) as connection:
                found = await agents.find_agent(connection, workspace, identifier=None, handle=agent)
                origins = await store.list_origins(connection, workspace, found.id) if found else []
                if found and origins:
                    _check_site(f"@{ws}/{agent}", origin, origins)
                    assert origin
                    visit = await admit(
                        connection, workspace, found.id, origin, known_by=known_by, address=address
                    )
                    return Admitted(visit, ws, found, await _published(connection, workspace, found))
        raise NotFound(f"There is no agent '@{ws[:80]}/{agent[:80]}' here that other sites may embed.")


def _check_site(address: str, origin: str | None, origins: Sequence[str]) -> None:
    if origin is None:
        raise NotEmbeddedThere(
            f"{address!r} lets pages of certain sites in, and this request names none (it has no Origin)."
        )
    if origin not in origins:
        raise NotEmbeddedThere(
            f"The site {origin[:100]!r} may not embed {address!r}. Whoever owns the agent adds it on the agent's page, "
            "under Embed, spelled exactly so."
        )


async def _published(connection: Connection, workspace: UUID, agent: Agent) -> Definition:
    assert agent.latest_version is not None  # or it would have no origins
    version = await agents.read_version(connection, workspace, agent.id, agent.latest_version)
    assert version is not None  # versions stay
    return version.definition
