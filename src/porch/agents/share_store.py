"""The SQL of shared links. A link's hash is looked up by a SECURITY DEFINER function; all else names the workspace."""

from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

from porch.agents.model import Share
from porch.contract.ids import new_uuid
from porch.contract.principal import Principal
from porch.storage.connection import Connection, Record
from porch.storage.database import Database

SHARE = "id, conversation_id, message_id, created_by, created_at"


@dataclass(frozen=True, slots=True)
class ShareTarget:
    """Where a link leads."""

    workspace: UUID
    handle: str
    conversation: UUID
    message: UUID
    created_at: datetime
    title: str


async def insert_share(
    connection: Connection,
    principal: Principal,
    conversation: UUID,
    message: UUID,
    title: str,
    digest: bytes,
) -> Share:
    """A new link to the branch that ends in the message, under the title that it has now."""
    row = await connection.fetchrow(
        "INSERT INTO porch.conversation_shares"  # noqa: S608 - constants
        " (workspace_id, id, conversation_id, message_id, title, hash, created_by)"
        f" VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {SHARE}",
        principal.workspace,
        new_uuid(),
        conversation,
        message,
        title,
        digest,
        principal.id,
    )
    return _share(cast("Record", row))


async def list_shares(connection: Connection, workspace: UUID, conversation: UUID, limit: int) -> list[Share]:
    """A conversation's links that are not revoked, newest first."""
    rows = await connection.fetch(
        f"SELECT {SHARE} FROM porch.conversation_shares"  # noqa: S608 - constants
        " WHERE workspace_id = $1 AND conversation_id = $2 AND revoked_at IS NULL ORDER BY id DESC LIMIT $3",
        workspace,
        conversation,
        limit,
    )
    return [_share(row) for row in rows]


async def revoke_share(connection: Connection, workspace: UUID, conversation: UUID, share: UUID) -> bool:
    """Closes a link; False when there is none that is open."""
    done = await connection.execute(
        "UPDATE porch.conversation_shares SET revoked_at = now()"
        " WHERE workspace_id = $1 AND conversation_id = $2 AND id = $3 AND revoked_at IS NULL",
        workspace,
        conversation,
        share,
    )
    return done == "UPDATE 1"


async def open_share(database: Database, digest: bytes) -> ShareTarget | None:
    """Where the link with this hash leads; None for one that is unknown or revoked."""
    async with database.system() as connection:
        row = await connection.fetchrow("SELECT * FROM porch.open_share($1)", digest)
    if row is None:
        return None
    return ShareTarget(
        workspace=row["workspace_id"],
        handle=row["handle"],
        conversation=row["conversation_id"],
        message=row["message_id"],
        created_at=row["created_at"],
        title=row["title"],
    )


def _share(row: Record) -> Share:
    return Share(**dict(row.items()))
