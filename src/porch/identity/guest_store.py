"""The SQL of guests and their tokens."""

from datetime import datetime, timedelta
from uuid import UUID

from porch.contract.ids import new_uuid
from porch.storage.connection import Connection, Record


async def find_guest(connection: Connection, digest: bytes) -> Record | None:
    """Who a guest's token stands for, before any workspace is known."""
    return await connection.fetchrow("SELECT * FROM porch.authenticate_guest($1)", digest)


async def knows_origin(connection: Connection, origin: str) -> bool:
    """Whether any workspace's agent is embedded in this site."""
    return await connection.fetchval("SELECT porch.knows_origin($1)", origin)


async def find_returning(
    connection: Connection, workspace: UUID, agent: UUID, digest: bytes, back: timedelta
) -> Record | None:
    """Guest and site of a token for this agent that has ended no longer than `back` ago."""
    return await connection.fetchrow(
        "SELECT t.guest_id, t.origin FROM porch.guest_tokens t"
        " JOIN porch.guests g ON g.workspace_id = t.workspace_id AND g.id = t.guest_id"
        " WHERE t.hash = $3 AND t.workspace_id = $1 AND g.agent_id = $2 AND t.expires_at > now() - $4::interval",
        workspace,
        agent,
        digest,
        back,
    )


async def insert_guest(
    connection: Connection, workspace: UUID, guest: UUID, agent: UUID, keep: timedelta
) -> None:
    """A new guest of an agent, who stays for `keep` without coming back."""
    await connection.execute(
        "INSERT INTO porch.guests (workspace_id, id, agent_id, kept_until)"
        " VALUES ($1, $2, $3, now() + $4::interval)",
        workspace,
        guest,
        agent,
        keep,
    )


async def keep_guest(connection: Connection, workspace: UUID, guest: UUID, keep: timedelta) -> bool:
    """Lets a guest stay for `keep` from now; False when it is gone."""
    return bool(
        await connection.fetchval(
            "UPDATE porch.guests SET kept_until = now() + $3::interval"
            " WHERE workspace_id = $1 AND id = $2 RETURNING true",
            workspace,
            guest,
            keep,
        )
    )


async def insert_token(
    connection: Connection, workspace: UUID, guest: UUID, digest: bytes, origin: str, lifetime: timedelta
) -> datetime:
    """A new token; answers until when it is good, by the database's clock."""
    return await connection.fetchval(
        "INSERT INTO porch.guest_tokens (workspace_id, id, guest_id, origin, hash, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, now() + $6::interval) RETURNING expires_at",
        workspace,
        new_uuid(),
        guest,
        origin,
        digest,
        lifetime,
    )


async def has_run_elsewhere(connection: Connection, workspace: UUID, guest: UUID, conversation: UUID) -> bool:
    """Whether the guest's last run is at work in another conversation than this one."""
    return await connection.fetchval(
        "SELECT EXISTS (SELECT FROM porch.guests g"
        " JOIN porch.runs r ON r.workspace_id = g.workspace_id AND r.id = g.last_run AND r.status = 'running'"
        " WHERE g.workspace_id = $1 AND g.id = $2 AND r.conversation_id <> $3)",
        workspace,
        guest,
        conversation,
    )


async def purge(connection: Connection, back: timedelta, limit: int) -> int:
    """Removes who will not come back; answers how many rows it looked at."""
    return await connection.fetchval("SELECT porch.purge_guests($1, $2)", back, limit)
