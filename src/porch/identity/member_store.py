"""The SQL of who belongs to a workspace, and of invitations into it."""

from datetime import timedelta
from typing import cast
from uuid import UUID

import msgspec

from porch.identity.model import Invitation, Invited, Member
from porch.storage.connection import Connection, Record

COLUMNS = "id, role, created_by, created_at, expires_at"
OPEN = "used_at IS NULL AND revoked_at IS NULL AND expires_at > now()"


async def list_members(connection: Connection, after: UUID | None, limit: int) -> list[Member]:
    """Members of the transaction's workspace, from behind one of them on."""
    rows = await connection.fetch("SELECT * FROM porch.list_members($1, $2)", after, limit)
    return [msgspec.convert(dict(row.items()), Member) for row in rows]


async def change_member(connection: Connection, actor: UUID, user: UUID, role: str | None) -> str:
    """Another role in the transaction's workspace, or none at all; answers what `porch.change_member` does."""
    return cast("str", await connection.fetchval("SELECT porch.change_member($1, $2, $3)", actor, user, role))


async def belongs(connection: Connection, user: UUID, workspace: UUID) -> bool:
    """Whether somebody belongs to a workspace."""
    return bool(await connection.fetchval("SELECT porch.is_member($1, $2)", user, workspace))


async def insert_invitation(
    connection: Connection,
    workspace: UUID,
    invitation: UUID,
    digest: bytes,
    role: str,
    maker: UUID,
    lifetime: timedelta,
) -> Invitation:
    """A new invitation; `lifetime` counts from the database's now. What ended long ago is swept out on the way."""
    await connection.execute(
        "DELETE FROM porch.invitations WHERE workspace_id = $1 AND expires_at < now() - interval '30 days'",
        workspace,
    )
    row = await connection.fetchrow(
        "INSERT INTO porch.invitations (workspace_id, id, hash, role, created_by, expires_at)"  # noqa: S608 - constants
        f" VALUES ($1, $2, $3, $4, $5, now() + $6::interval) RETURNING {COLUMNS}",
        workspace,
        invitation,
        digest,
        role,
        maker,
        lifetime,
    )
    return msgspec.convert(dict(cast("Record", row).items()), Invitation)


async def list_invitations(
    connection: Connection, workspace: UUID, before: UUID | None, limit: int
) -> list[Invitation]:
    """Open ones, newest first, from behind one of them on."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM porch.invitations WHERE workspace_id = $1 AND {OPEN}"  # noqa: S608 - constants
        " AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        workspace,
        before,
        limit,
    )
    return [msgspec.convert(dict(row.items()), Invitation) for row in rows]


async def count_open(connection: Connection, workspace: UUID, most: int) -> int:
    """How many are open, counted up to `most`."""
    return cast(
        "int",
        await connection.fetchval(
            f"SELECT count(*) FROM (SELECT FROM porch.invitations WHERE workspace_id = $1 AND {OPEN}"  # noqa: S608
            " LIMIT $2) AS open",
            workspace,
            most,
        ),
    )


async def revoke_invitation(connection: Connection, workspace: UUID, invitation: UUID) -> bool:
    """Ends an open one; false where there is none of that id."""
    done = await connection.fetchval(
        f"UPDATE porch.invitations SET revoked_at = now() WHERE workspace_id = $1 AND id = $2 AND {OPEN}"  # noqa: S608
        " RETURNING true",
        workspace,
        invitation,
    )
    return bool(done)


async def read_invitation(connection: Connection, digest: bytes) -> Invited | None:
    """What it is for; no workspace is known yet."""
    row = await connection.fetchrow("SELECT * FROM porch.read_invitation($1)", digest)
    return msgspec.convert(dict(row.items()), Invited) if row else None


async def accept_invitation(connection: Connection, digest: bytes, user: UUID) -> UUID | None:
    """Uses it up: the workspace that was joined, None where it is not open or the person belongs there already."""
    return await connection.fetchval("SELECT porch.accept_invitation($1, $2)", digest, user)
