"""The SQL of the sites that embed agents. Every statement names the workspace and runs in a transaction of it."""

from collections.abc import Sequence
from uuid import UUID

from porch.storage.connection import Connection


async def list_origins(connection: Connection, workspace: UUID, agent: UUID) -> list[str]:
    """An agent's origins, in the order that they were given in."""
    rows = await connection.fetch(
        "SELECT origin FROM porch.agent_origins WHERE workspace_id = $1 AND agent_id = $2 ORDER BY place",
        workspace,
        agent,
    )
    return [row["origin"] for row in rows]


async def replace_origins(
    connection: Connection, workspace: UUID, agent: UUID, origins: Sequence[str]
) -> None:
    """Makes these an agent's origins."""
    await connection.execute(
        "DELETE FROM porch.agent_origins WHERE workspace_id = $1 AND agent_id = $2", workspace, agent
    )
    await connection.execute(
        "INSERT INTO porch.agent_origins (workspace_id, agent_id, origin, place)"
        " SELECT $1, $2, o.origin, o.place FROM unnest($3::text[]) WITH ORDINALITY AS o (origin, place)",
        workspace,
        agent,
        list(origins),
    )
