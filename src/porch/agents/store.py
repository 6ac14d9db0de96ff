"""The SQL of agents and versions. Every statement names the workspace and runs in a transaction of it."""

from typing import Any, cast
from uuid import UUID

import msgspec

from porch.agents.model import Agent, Version
from porch.agents.obstacles import Reason
from porch.contract.definition import Definition, content_hash, encode_definition
from porch.contract.errors import Conflict
from porch.contract.ids import new_uuid
from porch.storage.connection import Connection, Record

AGENT = "id, handle, draft, revision, latest_version, created_at, updated_at"
UNIQUE_VIOLATION = "23505"
VERSION = "number, definition, content_hash, note, created_by, created_at"


async def insert_agent(connection: Connection, workspace: UUID, definition: Definition) -> Agent:
    """A new agent. Raises Conflict when the handle is taken."""
    with _taken(definition.name):
        row = await connection.fetchrow(
            "INSERT INTO porch.agents (workspace_id, id, handle, draft) VALUES ($1, $2, $3, $4)"  # noqa: S608 - constants
            f" RETURNING {AGENT}",
            workspace,
            new_uuid(),
            definition.name,
            encode_definition(definition),
        )
    return _agent(cast("Record", row))


async def update_draft(connection: Connection, workspace: UUID, agent: UUID, definition: Definition) -> Agent:
    """The agent with its next draft. Raises Conflict when the definition's name is another agent's."""
    with _taken(definition.name):
        row = await connection.fetchrow(
            "UPDATE porch.agents SET handle = $3, draft = $4, revision = revision + 1, updated_at = now()"  # noqa: S608
            f" WHERE workspace_id = $1 AND id = $2 RETURNING {AGENT}",
            workspace,
            agent,
            definition.name,
            encode_definition(definition),
        )
    return _agent(cast("Record", row))


async def find_agent(
    connection: Connection, workspace: UUID, *, identifier: UUID | None, handle: str, lock: bool = False
) -> Agent | None:
    """The agent with this id, or without one with this handle; `lock` holds it till the transaction's end."""
    row = await connection.fetchrow(
        f"SELECT {AGENT} FROM porch.agents WHERE workspace_id = $1"  # noqa: S608 - constants
        f" AND CASE WHEN $2::uuid IS NULL THEN handle = $3 ELSE id = $2 END{' FOR UPDATE' if lock else ''}",
        workspace,
        identifier,
        handle,
    )
    return _agent(row) if row else None


async def list_agents(
    connection: Connection, workspace: UUID, before: UUID | None, limit: int
) -> list[Agent]:
    """Agents, newest first."""
    rows = await connection.fetch(
        f"SELECT {AGENT} FROM porch.agents WHERE workspace_id = $1"  # noqa: S608 - constants
        " AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        workspace,
        before,
        limit,
    )
    return [_agent(row) for row in rows]


async def delete_agent(connection: Connection, workspace: UUID, agent: UUID) -> None:
    """Removes the agent with its versions, conversations and runs."""
    await connection.execute("DELETE FROM porch.agents WHERE workspace_id = $1 AND id = $2", workspace, agent)


async def agent_waits_for(connection: Connection, workspace: UUID, agent: UUID) -> Reason | None:
    """Why it has runs that have not ended, of several reasons one that needs a person; None where it has none."""
    return await connection.fetchval(
        "SELECT coalesce((SELECT CASE status WHEN 'paused' THEN coalesce(paused_for, 'answer') ELSE 'answer' END"
        "  FROM porch.runs WHERE workspace_id = $1 AND agent_id = $2 AND status IN ('running', 'paused')"
        "  ORDER BY (status = 'paused' AND paused_for = 'approval') IS TRUE DESC LIMIT 1),"
        " (SELECT 'answer' FROM porch.queued_runs q JOIN porch.conversations c"
        "  ON c.workspace_id = q.workspace_id AND c.id = q.conversation_id"
        "  WHERE c.workspace_id = $1 AND c.agent_id = $2 AND c.deleted_at IS NULL LIMIT 1))",
        workspace,
        agent,
    )


async def insert_version(
    connection: Connection, workspace: UUID, agent: Agent, *, note: str, created_by: UUID
) -> Version:
    """Publishes the draft as the next version. The agent's row must be locked."""
    number = (agent.latest_version or 0) + 1
    row = await connection.fetchrow(
        "INSERT INTO porch.agent_versions"  # noqa: S608 - constants
        " (workspace_id, agent_id, number, definition, content_hash, note, created_by)"
        f" VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {VERSION}",
        workspace,
        agent.id,
        number,
        encode_definition(agent.draft),
        content_hash(agent.draft),
        note,
        created_by,
    )
    await connection.execute(
        "UPDATE porch.agents SET latest_version = $3, updated_at = now() WHERE workspace_id = $1 AND id = $2",
        workspace,
        agent.id,
        number,
    )
    return _version(cast("Record", row))


async def read_version(connection: Connection, workspace: UUID, agent: UUID, number: int) -> Version | None:
    """One version."""
    row = await connection.fetchrow(
        f"SELECT {VERSION} FROM porch.agent_versions WHERE workspace_id = $1 AND agent_id = $2 AND number = $3",  # noqa: S608
        workspace,
        agent,
        number,
    )
    return _version(row) if row else None


async def list_versions(
    connection: Connection, workspace: UUID, agent: UUID, before: int | None, limit: int
) -> list[Version]:
    """Versions, newest first."""
    rows = await connection.fetch(
        f"SELECT {VERSION} FROM porch.agent_versions WHERE workspace_id = $1 AND agent_id = $2"  # noqa: S608 - constants
        " AND ($3::integer IS NULL OR number < $3) ORDER BY number DESC LIMIT $4",
        workspace,
        agent,
        before,
        limit,
    )
    return [_version(row) for row in rows]


async def latest_hashes(connection: Connection, workspace: UUID, agents: list[UUID]) -> dict[UUID, str]:
    """The content hash of each agent's latest version, by the agent's id."""
    rows = await connection.fetch(
        "SELECT v.agent_id, v.content_hash FROM porch.agent_versions v"
        " JOIN porch.agents a ON a.workspace_id = v.workspace_id AND a.id = v.agent_id"
        " WHERE v.workspace_id = $1 AND v.agent_id = ANY($2::uuid[]) AND v.number = a.latest_version",
        workspace,
        agents,
    )
    return {row["agent_id"]: row["content_hash"] for row in rows}


class _taken:  # noqa: N801 - used like a function, as a context manager
    def __init__(self, handle: str) -> None:
        self.handle = handle

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if getattr(error, "sqlstate", None) == UNIQUE_VIOLATION:
            raise Conflict(
                f"This workspace has an agent named {self.handle!r} already. Choose another name, or change that one."
            ) from error


def _agent(row: Record) -> Agent:
    return _convert(row, "draft", Agent)


def _version(row: Record) -> Version:
    return _convert(row, "definition", Version)


def _convert(row: Record, column: str, kind: Any) -> Any:
    values = dict(row.items())
    values[column] = msgspec.json.decode(values[column], type=Definition)
    return kind(**values)
